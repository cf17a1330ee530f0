package mozpresence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// Bounds of calls.
const (
	maxBody   = 1 << 20
	mostQuery = 200 // uids of one query

	// answerLimit is how long a peer may take to read an answer.
	answerLimit = 30 * time.Second
)

// answer answers a call in JSON, whatever becomes of it.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, method string, do func() (any, error)) {
	began, code := time.Now(), "OK"
	status, body := http.StatusOK, []byte(nil)
	refused := func(no *refusal, items []receipt) {
		code, status = strconv.Itoa(no.no), statusOf(no.no)
		body = no.appendKO([]byte{'{'})
		if items != nil {
			list, _ := json.Marshal(items) // texts and numbers
			body = append(append(body, `,"items":`...), list...)
		}
		body = append(body, '}')
		if no.after > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((no.after+time.Second-1)/time.Second)))
		}
	}
	func() {
		defer d.recovered(method, func() { refused(refuse(errInternal, internalText), nil) })
		v, err := do()
		var bad *badItems
		switch {
		case errors.As(err, &bad):
			refused(bad.first, bad.items)
		case err != nil:
			refused(d.refusalOf(method, err), nil)
		default:
			body, _ = json.Marshal(v) // texts and numbers
		}
	}()
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerLimit)) // where there is none (tests) it is no loss
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body)
	d.called(method, code, time.Since(began))
}

// admit finds the publisher that calls, and takes a call of its rate.
func (d *Door) admit(r *http.Request, method, id string) (publisher.Publisher, error) {
	if r.Method != method {
		return publisher.Publisher{}, refuse(errJSON, "this address takes %s", method)
	}
	key := bearer(r)
	if key == "" {
		return publisher.Publisher{}, refuse(errKey, "the API key is missing; send Authorization: Bearer KEY")
	}
	p, err := d.cfg.Publishers.Check(r.Context(), id, key)
	if err != nil {
		return p, err
	}
	if _, served := d.app(p.App); !served {
		return p, publisher.ErrNone
	}
	if !d.calls.allow(id, time.Now()) {
		return p, slowDown(time.Second, "more than %d calls a second", callsPerSecond)
	}
	return p, nil
}

// ack is the answer to a POST.
type ack struct {
	Result    string    `json:"result"`
	QueueSize int       `json:"queue_size"`
	Items     []receipt `json:"items,omitempty"` // of more than one
}

// receipt is what became of an item.
type receipt struct {
	UserID    string `json:"userid"`
	Result    string `json:"result"`
	QueueSize int    `json:"queue_size,omitempty"`
	Errno     int    `json:"errno,omitempty"`
	Error     string `json:"error,omitempty"`
}

// badItems refuses a list of which some are bad: nothing of it was stored.
type badItems struct {
	first *refusal
	items []receipt
}

func (b *badItems) Error() string { return b.first.Error() }

// post stores notifications, all or none.
func (d *Door) post(w http.ResponseWriter, r *http.Request, id string) (any, error) {
	p, err := d.admit(r, http.MethodPost, id)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, refuse(errTooLong, "the body is longer than %d bytes", maxBody)
	} else if err != nil {
		return nil, refuse(errJSON, "the body did not arrive whole")
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // the body is here: what follows may take longer
	items, no := parseItems(body)
	if no != nil {
		return nil, no
	}
	notes := make([]note, len(items))
	actions := make([]string, len(items))
	for i := range items {
		notes[i], actions[i] = items[i].note, items[i].action()
	}
	return d.put(r.Context(), p, notes, actions)
}

// put checks all notes before it stores any.
func (d *Door) put(ctx context.Context, p publisher.Publisher, notes []note, actions []string) (ack, error) {
	app, _ := d.app(p.App)
	list := make([]mailbox.Item, len(notes))
	receipts := make([]receipt, len(notes))
	var bad *badItems
	for i := range notes {
		n := &notes[i]
		receipts[i] = receipt{UserID: shortened(n.userid()), Result: "OK"}
		no := n.check(actions[i])
		var g publisher.Grant
		if no == nil {
			var err error
			if g, err = d.cfg.Publishers.Lookup(ctx, p.ID, n.userid()); err != nil {
				if no = d.refusalOf("notification", err); no.no != errNoUser {
					return ack{}, no
				}
			}
		}
		if no != nil {
			receipts[i] = receipt{UserID: receipts[i].UserID, Result: "KO", Errno: no.no, Error: no.text}
			if bad == nil {
				bad = &badItems{first: no}
				if len(notes) > 1 {
					bad.first = refuse(no.no, "item %d: %s", i, no.text)
				}
			}
			continue
		}
		list[i] = mailbox.Item{
			User: g.User, Publisher: p.ID, ID: n.ID, Alias: g.UID, Source: n.Source, Text: n.Message, Action: actions[i], TTL: n.ttl(app.QueueTTL),
		}
	}
	if bad != nil {
		for i := range receipts {
			if receipts[i].Result == "OK" {
				receipts[i].Result = "not stored"
			}
		}
		bad.items = receipts
		return ack{}, bad
	}
	sizes, err := d.cfg.Mailboxes.Put(ctx, list)
	if err != nil {
		return ack{}, err
	}
	if err := d.still(ctx, list); err != nil {
		return ack{}, err
	}
	for i, s := range sizes {
		receipts[i].QueueSize = s.Size
	}
	a := ack{Result: "OK", QueueSize: sizes[len(sizes)-1].Size}
	if len(receipts) > 1 {
		a.Items = receipts
	}
	return a, nil
}

// still takes back what was stored for a user who revoked meanwhile: his
// revocation may have emptied the queue just before.
func (d *Door) still(ctx context.Context, list []mailbox.Item) error {
	for i := range list {
		it := &list[i]
		if _, err := d.cfg.Publishers.Lookup(ctx, it.Publisher, it.Alias); errors.Is(err, publisher.ErrNoGrant) {
			if err := d.cfg.Mailboxes.Purge(ctx, it.User, it.Publisher); err != nil {
				return err
			}
		}
	}
	return nil
}

// shortened is what is repeated of a userid that may be anything.
func shortened(s string) string {
	if len(s) > publisher.UIDLength {
		return strings.ToValidUTF8(s[:publisher.UIDLength], "") + "…"
	}
	return s
}

// pair is [uid, status].
type pair [2]string

// query answers how users are now. Of a uid that is none it says offline: it does
// not tell who there is.
func (d *Door) query(r *http.Request, id string) (any, error) {
	p, err := d.admit(r, http.MethodGet, id)
	if err != nil {
		return nil, err
	}
	var uids []string
	for _, v := range r.URL.Query()["uid"] {
		uids = append(uids, strings.Split(v, ",")...)
	}
	uids = slices.DeleteFunc(uids, func(s string) bool { return s == "" })
	switch {
	case len(uids) == 0:
		return nil, refuse(errEmpty, "name users: ?uid=UID,UID")
	case len(uids) > mostQuery:
		return nil, refuse(errTooLong, "%d uids; at most %d are allowed", len(uids), mostQuery)
	}
	list := make([]pair, len(uids))
	for i, uid := range uids {
		list[i] = pair{shortened(uid), statusOffline}
		g, err := d.cfg.Publishers.Lookup(r.Context(), p.ID, uid)
		if err == nil {
			p := d.cfg.Tracker.Presence(g.User)
			if _, unknown := p.Staleness(); unknown {
				return nil, slowDown(time.Second, "uid %d: nothing is known of the user here, and a node that may know him is not heard; try again", i)
			}
			list[i][1] = word(p.Available(false))
		} else if !errors.Is(err, publisher.ErrNoGrant) {
			return nil, fmt.Errorf("uid %d: %w", i, err)
		}
	}
	return list, nil
}

// statusNow is a user as publishers see him now.
func (d *Door) statusNow(user presence.User) string {
	return word(d.cfg.Tracker.Presence(user).Available(false))
}

// word is an availability in this interface's words: away and busy are both
// "unavailable", the one that it has.
func word(a presence.Availability) string {
	switch a {
	case presence.Unavailable:
		return statusOffline
	case presence.AvailableOnline:
		return statusOnline
	}
	return statusUnavailable
}
