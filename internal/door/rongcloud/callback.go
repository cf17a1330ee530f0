package rongcloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// How an endpoint is served (the document's section "respond to the callback").
// What it leaves open is ours: the pauses between attempts, what "a large number
// of time-outs in a short time" is, and how many events go together.
const (
	answerLimit  = 5 * time.Second
	attempts     = 3
	firstPause   = 500 * time.Millisecond
	secondPause  = time.Second
	manyTimeouts = 10 // in a row; or half of
	ofAttempts   = 20 // within
	shortTime    = 30 * time.Second
	pause        = time.Minute
	batchEvents  = 100
	batchLinger  = 200 * time.Millisecond
	// mostAnswer is read of an answer, which is ignored but for its status.
	mostAnswer = 1 << 20
)

// CallbackConfig is what the callback of an app needs. Key and Secret are
// required.
type CallbackConfig struct {
	Key    string // the App Key
	Secret string // the App Secret
	// LastOnly tells that a connection went offline only if the user has no other
	// left (the vendor's switch "notify all offline states", off).
	LastOnly bool
	// Style is StyleSeed, or StyleSignTimestamp for receivers of before 2021.
	Style string
}

// The styles of the signature's parameters; "" is StyleSeed.
const (
	StyleSeed          = "seed"          // appKey, timestamp, nonce, signature
	StyleSignTimestamp = "signTimestamp" // signTimestamp, nonce, signature
)

// Callback is the format of status events. Make it with NewCallback.
type Callback struct{ cfg CallbackConfig }

// NewCallback checks the configuration.
func NewCallback(cfg CallbackConfig) (*Callback, error) {
	switch {
	case cfg.Key == "" || cfg.Secret == "":
		return nil, errors.New("the callback of RongCloud is signed with the app's App Key and App Secret, and one is missing")
	case cfg.Style != "" && cfg.Style != StyleSeed && cfg.Style != StyleSignTimestamp:
		return nil, fmt.Errorf("unknown signature style %.32q; use %s or %s", cfg.Style, StyleSeed, StyleSignTimestamp)
	}
	return &Callback{cfg}, nil
}

var _ webhook.URLChecker = (*Callback)(nil)

// Format names the callback without its secret, whatever the verb.
func (c *Callback) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "RongCloud callback of App Key %s (secret not shown)", c.cfg.Key)
}

// LogValue is the same, for log/slog.
func (c *Callback) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Name is the word for it in configurations.
func (c *Callback) Name() string { return "rongcloud" }

// Policy is the document's: 5 s, twice more, a minute's pause.
func (c *Callback) Policy() webhook.Policy {
	return webhook.Policy{
		View: webhook.Shown, Batch: webhook.Batch{Events: batchEvents, Linger: batchLinger},
		Timeout: answerLimit, MaxAnswer: mostAnswer,
		Retry: webhook.Retry{Attempts: attempts, First: firstPause, Most: secondPause},
		Breaker: webhook.Breaker{
			Consecutive: manyTimeouts, Share: 50, Attempts: ofAttempts, Window: shortTime, TimeoutsOnly: true, Pause: pause,
		},
	}
}

// The values of an event's status. They are text.
const (
	cameOnline  = "0"
	wentOffline = "1"
	loggedOut   = "2"
)

// status is what the interface calls the event; "" is nothing it knows.
func status(e *webhook.Event) string {
	switch e.Kind {
	case presence.RecordOpened, presence.RecordShown:
		return cameOnline
	case presence.RecordHidden:
		return wentOffline
	case presence.RecordClosed:
		if e.Reason == presence.ReasonLogout {
			return loggedOut
		}
		return wentOffline
	}
	return ""
}

// Wants says whether the event is told: connections come, go and log out.
func (c *Callback) Wants(e *webhook.Event) bool {
	switch status(e) {
	case "":
		return false
	case wentOffline:
		// One that another one replaces leaves that one behind.
		return !c.cfg.LastOnly || e.First && !e.OpeningFollows
	}
	return true
}

// event is one entry of the body, with the fields in the document's order.
type event struct {
	User    string `json:"userid"`
	Status  string `json:"status"`
	OS      string `json:"os"`
	Time    int64  `json:"time"` // ms
	Client  string `json:"clientIp"`
	Session string `json:"sessionId"`
}

// Request writes one attempt: nonce, time and signature are its own, the body is
// the delivery's.
func (c *Callback) Request(d *webhook.Delivery, a webhook.Attempt) (webhook.Request, error) {
	body, err := bodyOf(d.Events)
	if err != nil {
		return webhook.Request{}, err
	}
	return webhook.Request{
		URL: c.signedURL(a.URL, newNonce(), a.Time), Body: body,
		Header: http.Header{"Content-Type": {"application/json"}},
	}, nil
}

// bodyOf writes an array, also of one event.
func bodyOf(events []webhook.Event) ([]byte, error) {
	list := make([]event, len(events))
	for i := range events {
		e := &events[i]
		s := &e.Session
		list[i] = event{
			User: string(e.User.ID), Status: status(e), OS: osOf(&s.Device), Time: int64(e.Time),
			Client: clientIP(s.Device.Addr), Session: s.Public.String(),
		}
	}
	return encode(list)
}

func encode(list []event) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(list); err != nil {
		return nil, fmt.Errorf("write the events: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// clientIP is an address with its port, IPv6 as [address]:port; "" where none is
// known, such as of what a server says of a user.
func clientIP(addr string) string {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return addr
	}
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()).String()
}

// Judge takes 200 for delivered and nothing else. The body does not count.
func (c *Callback) Judge(a outbound.Answer) webhook.Verdict {
	if a.Status == http.StatusOK {
		return webhook.Verdict{Outcome: webhook.Delivered}
	}
	return webhook.Verdict{Outcome: webhook.Failed, Detail: fmt.Sprintf("status %d, want 200", a.Status)}
}

// CheckURL refuses an address that already has one of the parameters that are
// put on, or that would not arrive as it is written.
func (c *Callback) CheckURL(address string) error { return checkURL(address, c.parameters()) }
