// Package httpsource asks an app's backend for friend lists over HTTP. The
// request is signed as Standard Webhooks are, the answer is JSON, in pages if
// the backend likes; docs/interfaces/friends-source.md is the contract. It
// keeps nothing: how long an answer is good and what happens while there is
// none is package roster's affair, and whom may be called is package outbound's.
package httpsource

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/roster"
)

const (
	defaultTimeout = 2 * time.Second
	defaultMost    = 10_000

	// maxAnswer bounds one page: 10,000 ids of 128 bytes, each byte escaped, fit.
	maxAnswer = 8 << 20

	// maxNext bounds the token of the next page, which is sent back as it came.
	maxNext = 1024

	// wholeSecret stands before a secret in the form of Standard Webhooks.
	wholeSecret = "whsec_"

	// requestType tells the backend what is asked, should one address serve more.
	requestType = "friends.list"
)

// Config says whom to ask. URL and Secret are required.
type Config struct {
	URL    string
	Secret string // as text, or whsec_ and base64
	// Timeout bounds the asking for one list, all pages together; 2 s if zero.
	Timeout time.Duration
	// Most is how many friends are of interest: with more the rest is not asked
	// for. 10,000 if zero.
	Most         int
	AllowPrivate bool // see outbound.Config
}

// Format hides the secret from every verb, and the address, which may hold one.
func (Config) Format(f fmt.State, _ rune) { io.WriteString(f, "friend lists over HTTP") }

// LogValue hides them from log/slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Source is a roster.Source over HTTP. Make it with New.
type Source struct {
	url     string
	key     []byte
	timeout time.Duration
	most    int
	client  *outbound.Client
}

var _ roster.Source = (*Source)(nil)

// New returns a source. It fails when the secret is none.
func New(cfg Config) (*Source, error) {
	if cfg.URL == "" || cfg.Secret == "" {
		return nil, errors.New("a URL and a secret are needed to ask a backend for friend lists")
	}
	s := &Source{url: cfg.URL, key: []byte(cfg.Secret), timeout: cfg.Timeout, most: cfg.Most}
	if coded, ok := strings.CutPrefix(cfg.Secret, wholeSecret); ok {
		key, err := base64.StdEncoding.DecodeString(coded)
		if err != nil || len(key) == 0 {
			return nil, fmt.Errorf("the secret begins with %s, but what follows is not base64", wholeSecret)
		}
		s.key = key
	}
	if s.timeout <= 0 {
		s.timeout = defaultTimeout
	}
	if s.most <= 0 {
		s.most = defaultMost
	}
	s.client = outbound.New(outbound.Config{Timeout: s.timeout, MaxAnswer: maxAnswer, AllowPrivate: cfg.AllowPrivate})
	return s, nil
}

// Format hides the key from every verb.
func (*Source) Format(f fmt.State, _ rune) { io.WriteString(f, "friend lists over HTTP") }

// Close lets go of connections.
func (s *Source) Close() { s.client.Close() }

// question is the body of a request.
type question struct {
	Type string          `json:"type"`
	App  presence.AppID  `json:"app"`
	User presence.UserID `json:"user"`
	Next string          `json:"next,omitempty"`
}

// Friends implements roster.Source. A list with more than Config.Most friends
// may be cut, but never to fewer than one more than that.
func (s *Source) Friends(ctx context.Context, user presence.User) ([]presence.UserID, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var friends []presence.UserID
	q := question{Type: requestType, App: user.App, User: user.ID}
	for {
		page, err := s.ask(ctx, q)
		if err != nil {
			return nil, err
		}
		if friends = append(friends, page.friends...); page.next == "" || len(friends) > s.most {
			return friends, nil
		}
		if len(page.friends) == 0 || page.next == q.Next {
			return nil, errors.New("a page without friends, or the same page, says that there are more")
		}
		q.Next = page.next
	}
}

func (s *Source) ask(ctx context.Context, q question) (page, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return page{}, err
	}
	answer, err := s.client.Post(ctx, s.url, s.sign("friends_"+rand.Text(), time.Now(), body), body)
	if err != nil {
		return page{}, err
	}
	if answer.Status != http.StatusOK {
		return page{}, fmt.Errorf("answered with status %d, want 200 (also for a user without friends; redirects are not followed)", answer.Status)
	}
	return parsePage(answer.Body)
}

// sign makes the headers of a request (Standard Webhooks: the signed content is
// id.timestamp.body).
func (s *Source) sign(id string, now time.Time, body []byte) http.Header {
	at := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, s.key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json")
	h.Set("User-Agent", "Porchlight")
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", at)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return h
}

// page is a part of a list.
type page struct {
	friends []presence.UserID
	next    string
}

// parsePage reads one answer. It refuses what is not certainly a list: a
// backend's page of errors must not empty anybody's.
func parsePage(b []byte) (page, error) {
	if !utf8.Valid(b) {
		return page{}, errors.New("the answer is not UTF-8")
	}
	var a struct {
		Friends *[]presence.UserID `json:"friends"`
		Next    string             `json:"next"`
	}
	if err := json.Unmarshal(b, &a); err != nil {
		var where *json.SyntaxError
		if errors.As(err, &where) {
			return page{}, fmt.Errorf("the answer is not JSON (at byte %d)", where.Offset)
		}
		return page{}, errors.New(`the answer is not {"friends": ["…"], "next": "…"}: a field has another type`)
	}
	switch {
	case a.Friends == nil:
		return page{}, errors.New(`the answer has no "friends"; of a user without friends it is []`)
	case len(a.Next) > maxNext:
		return page{}, fmt.Errorf(`"next" has %d bytes; at most %d are allowed`, len(a.Next), maxNext)
	}
	for i, id := range *a.Friends {
		if !presence.ValidUserID(string(id)) {
			return page{}, fmt.Errorf("friends[%d] is no user id (1 to %d bytes of UTF-8 without control characters)", i, presence.MaxUserID)
		}
	}
	return page{*a.Friends, a.Next}, nil
}
