// Package native is the webhook format to build truth on: every change in
// truth, numbered, in JSON batches signed as Standard Webhooks are
// (https://www.standardwebhooks.com). docs/interfaces/webhooks.md is the
// contract. It decides how a request looks and what an answer means; when what
// is sent is package webhook's affair.
//
//	POST /hooks/presence
//	content-type: application/json
//	webhook-id: msg_6b0f…          the same for all attempts
//	webhook-timestamp: 1767225600  of this attempt, in seconds
//	webhook-signature: v1,<base64> v1,<base64>   one for each secret
//
//	{"type":"presence.changes","app":"demo","endpoint":"main","events":[{…},{…}]}
package native

import (
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

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// Name is the word for the format in configurations.
const Name = "native"

// The types of bodies.
const (
	TypeChanges = "presence.changes"
	TypeGap     = "presence.gap"
)

// What the format asks of the mechanism.
const (
	batchEvents = 100
	// batchLinger keeps the way from a change to its request far below the 50 ms
	// that are promised, and lets what comes together go together.
	batchLinger = 10 * time.Millisecond
	timeout     = 10 * time.Second
	// firstPause doubles up to mostPause, so that a receiver that is back is tried
	// within five minutes; after a week an event is given up.
	firstPause = time.Second
	mostPause  = 5 * time.Minute
	giveUp     = 7 * 24 * time.Hour
	// consecutive failures of several lanes pause the endpoint.
	consecutive = 10
	pause       = 30 * time.Second
)

// Policy is how endpoints of the format, and of formats with the same promises,
// are served.
func Policy() webhook.Policy {
	return webhook.Policy{
		View:    webhook.Truth,
		Batch:   webhook.Batch{Events: batchEvents, Linger: batchLinger},
		Timeout: timeout,
		Retry:   webhook.Retry{First: firstPause, Most: mostPause, For: giveUp},
		Breaker: webhook.Breaker{Consecutive: consecutive, Pause: pause},
		Gaps:    true,
	}
}

// Config is what an endpoint's format is made of.
type Config struct {
	// Secrets sign each request, all of them, so that a receiver may know any of
	// them while they are changed. As text, or whsec_ and base64. At least one.
	Secrets []string
	// IncludeCustom tells of changes of custom statuses too.
	IncludeCustom bool
}

// Format hides the secrets from every verb.
func (Config) Format(f fmt.State, _ rune) { io.WriteString(f, "native webhook") }

// LogValue hides them from log/slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Format is the native format of one endpoint. Make it with New.
type Format struct {
	signer *Signer
	custom bool
}

var _ webhook.Format = (*Format)(nil)

// New returns a format, or says which of the secrets is none.
func New(cfg Config) (*Format, error) {
	signer, err := NewSigner(cfg.Secrets)
	if err != nil {
		return nil, err
	}
	return &Format{signer: signer, custom: cfg.IncludeCustom}, nil
}

// Format hides the keys from every verb.
func (*Format) Format(f fmt.State, _ rune) { io.WriteString(f, "native webhook") }

// Name implements webhook.Format.
func (*Format) Name() string { return Name }

// Policy implements webhook.Format.
func (*Format) Policy() webhook.Policy { return Policy() }

// Wants implements webhook.Format.
func (n *Format) Wants(e *webhook.Event) bool { return n.custom || e.Kind != presence.RecordCustom }

// Request implements webhook.Format.
func (n *Format) Request(d *webhook.Delivery, a webhook.Attempt) (webhook.Request, error) {
	body, err := json.Marshal(BodyOf(d))
	if err != nil {
		return webhook.Request{}, err
	}
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json")
	n.signer.Sign(h, Message{ID: d.ID, Time: a.Time, Body: body})
	return webhook.Request{URL: a.URL, Header: h, Body: body}, nil
}

// Judge implements webhook.Format.
func (*Format) Judge(a outbound.Answer) webhook.Verdict { return Judge(a, time.Now()) }

// Judge says what an answer means to a sender of Standard Webhooks: 2xx is
// delivered, 410 ends it, everything else is a failure that is worth another
// try: an address that is wrong today is mended tomorrow, and a week is long.
func Judge(a outbound.Answer, now time.Time) webhook.Verdict {
	v := webhook.Verdict{Detail: "status " + strconv.Itoa(a.Status)}
	switch {
	case a.Status >= 200 && a.Status < 300:
		return webhook.Verdict{Outcome: webhook.Delivered} // a word would count as a complaint
	case a.Status == http.StatusGone:
		v.Outcome = webhook.Gone
	default:
		v.Outcome = webhook.Failed
		v.RetryAfter = retryAfter(a.Header.Get("Retry-After"), now)
		if a.Status >= 300 && a.Status < 400 {
			v.Detail += " (redirects are not followed)"
		}
	}
	return v
}

// retryAfter reads seconds or a date (RFC 9110 §10.2.3); what is neither, or
// past, is none.
func retryAfter(s string, now time.Time) time.Duration {
	if s == "" {
		return 0
	}
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

const (
	wholeSecret = "whsec_"
	leastSecret = 16 // bytes
)

// Signer makes the headers of Standard Webhooks with one or more secrets.
type Signer struct{ keys [][]byte }

// NewSigner returns a signer, or says which secret is none.
func NewSigner(secrets []string) (*Signer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("secrets: at least one is needed to sign with")
	}
	s := &Signer{}
	for i, secret := range secrets {
		key := []byte(secret)
		if coded, ok := strings.CutPrefix(secret, wholeSecret); ok {
			var err error
			if key, err = base64.StdEncoding.DecodeString(coded); err != nil {
				return nil, fmt.Errorf("secrets[%d]: it begins with %s, but what follows is not base64", i, wholeSecret)
			}
		}
		if len(key) < leastSecret {
			return nil, fmt.Errorf("secrets[%d]: %d bytes are too few; at least %d are needed (openssl rand -base64 32)", i, len(key), leastSecret)
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

// Format hides the keys from every verb.
func (*Signer) Format(f fmt.State, _ rune) { io.WriteString(f, "signer of webhooks") }
