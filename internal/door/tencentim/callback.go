package tencentim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// How an endpoint is served. The time for an answer is the vendor's; how often is
// tried again, where that is switched on, is ours.
const (
	answerLimit = 2 * time.Second
	// together is how close a login and a logout of one device count as received
	// at the same time: then the logout alone is told.
	together = 100 * time.Millisecond
	// attempts and the pause between them, where a second try is switched on.
	attempts = 2
	pause    = 500 * time.Millisecond
)

// commandName is the callback's, in its URL and in its body.
const commandName = "State.StateChange"

// Profiles of the callback: the document of 2020, byte for byte, and what later
// documents add to it; "" is the first.
const (
	Profile2020 = "2020"
	Profile2025 = "2025"
)

// CallbackConfig is what the callback of an app needs. ID is required.
type CallbackConfig struct {
	ID      int64 // SDKAppID
	Profile string
	// Token signs the time of each request, when it is not empty.
	Token string
	// Retry tries once more when there was no answer in time; with Profile2025.
	Retry bool
}

// Callback is the format State.StateChange. Make it with NewCallback.
type Callback struct{ cfg CallbackConfig }

// NewCallback checks the configuration.
func NewCallback(cfg CallbackConfig) (*Callback, error) {
	if cfg.Profile == "" {
		cfg.Profile = Profile2020
	}
	switch {
	case cfg.ID <= 0:
		return nil, errors.New("the callback of Tencent IM carries the app's SDKAppID, and there is none")
	case cfg.Profile != Profile2020 && cfg.Profile != Profile2025:
		return nil, fmt.Errorf("unknown profile %.32q; use %s or %s", cfg.Profile, Profile2020, Profile2025)
	case cfg.Retry && cfg.Profile == Profile2020:
		return nil, fmt.Errorf("the profile %s tries nothing again; use %s", Profile2020, Profile2025)
	}
	return &Callback{cfg}, nil
}

var (
	_ webhook.Holder     = (*Callback)(nil)
	_ webhook.URLChecker = (*Callback)(nil)
)

// Format names the callback without its token, whatever the verb.
func (c *Callback) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "Tencent IM callback of SDKAppID %d, profile %s (token not shown)", c.cfg.ID, c.cfg.Profile)
}

// LogValue is the same, for log/slog.
func (c *Callback) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Name is the word for it in configurations.
func (c *Callback) Name() string { return "tencentim" }

// Policy: one event to a request, 2 s, and no second try unless it is switched on.
func (c *Callback) Policy() webhook.Policy {
	p := webhook.Policy{View: webhook.Shown, Batch: webhook.Batch{Events: 1}, Timeout: answerLimit, Retry: webhook.Retry{Attempts: 1}}
	if c.cfg.Retry {
		p.Retry = webhook.Retry{Attempts: attempts, First: pause, Most: pause}
	}
	return p
}

func (c *Callback) later() bool { return c.cfg.Profile == Profile2025 }

// change is what happened, in the interface's words.
type change struct{ action, reason string }

// The actions with their reasons.
var (
	login        = change{"Login", "Register"}
	logout       = change{"Logout", "Unregister"}
	linkClose    = change{"Disconnect", "LinkClose"}
	timeOut      = change{"Disconnect", "TimeOut"}
	customStatus = change{"CustomStatusChange", "SetCustomStatus"}
)

// changeOf is the table of design §4; the zero change is nothing the interface
// knows.
func (c *Callback) changeOf(e *webhook.Event) change {
	switch e.Kind {
	case presence.RecordOpened, presence.RecordShown:
		return login
	case presence.RecordHidden:
		return linkClose
	case presence.RecordCustom:
		if c.later() {
			return customStatus
		}
	case presence.RecordClosed:
		switch e.Reason {
		case presence.ReasonLogout, presence.ReasonReplaced, presence.ReasonDropped:
			return logout
		case presence.ReasonTimedOut, presence.ReasonExpired:
			return timeOut
		}
		return linkClose
	}
	return change{}
}

// Wants says whether the event is told. Later profiles tell of a replaced device
// in the login that replaced it, and of a link that the same device replaced not
// at all.
func (c *Callback) Wants(e *webhook.Event) bool {
	if c.later() && e.OpeningFollows {
		return false
	}
	return c.changeOf(e) != change{}
}

// Hold keeps a login back: a logout may come with it.
func (c *Callback) Hold(e *webhook.Event) time.Duration {
	if c.changeOf(e) == login {
		return together
	}
	return 0
}

// Voids reports that later is the logout of the device whose login e is, and that
// both came together.
func (c *Callback) Voids(e, later *webhook.Event) bool {
	if c.changeOf(e) != login || later.Kind != presence.RecordClosed || later.Reason != presence.ReasonLogout {
		return false
	}
	a, b := &e.Session, &later.Session
	same := a.ID == b.ID || a.Device.ID != "" && a.Device.ID == b.Device.ID
	return same && later.Time >= e.Time && later.Time.Sub(e.Time) <= together
}

// about is the Info of a body, with its fields in the document's order.
type about struct {
	Action  string
	Account string `json:"To_Account"`
	Reason  string
	Custom  *string `json:"CustomStatus,omitempty"`
}

// kickedDevice is a device that the login's one replaced.
type kickedDevice struct{ Platform string }

// body is one change, with its fields in the documents' order.
type body struct {
	Command string `json:"CallbackCommand"`
	Time    int64  `json:"EventTime,omitempty"` // ms
	Info    about
	Kicked  []kickedDevice `json:"KickedDevice,omitempty"`
}

// Request writes one attempt.
func (c *Callback) Request(d *webhook.Delivery, a webhook.Attempt) (webhook.Request, error) {
	if len(d.Events) != 1 {
		return webhook.Request{}, fmt.Errorf("a request of this callback has one event, not %d", len(d.Events))
	}
	e := &d.Events[0]
	text, err := c.bodyOf(e)
	if err != nil {
		return webhook.Request{}, err
	}
	return webhook.Request{URL: c.signedURL(a.URL, e, a.Time), Body: text, Header: http.Header{"Content-Type": {"application/json"}}}, nil
}

func (c *Callback) bodyOf(e *webhook.Event) ([]byte, error) {
	what := c.changeOf(e)
	b := body{Command: commandName, Info: about{Action: what.action, Account: string(e.User.ID), Reason: what.reason}}
	if c.later() {
		b.Time = int64(e.Time)
		for i := range e.Replaced {
			if was := &e.Replaced[i].Device; was.ID == "" || was.ID != e.Session.Device.ID {
				b.Kicked = append(b.Kicked, kickedDevice{wordsOf(was.Platform, was.Door).kicked})
			}
		}
	}
	if what == customStatus {
		text := customText(e.Session.Status)
		b.Info.Custom = &text
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b); err != nil {
		return nil, fmt.Errorf("write the change: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// customText is a status as the one text that the interface has: the literal, or
// what stands in for a reference.
func customText(s *presence.Status) string {
	switch {
	case s == nil:
		return ""
	case s.Text.Kind == presence.KindText:
		return s.Text.Text
	case s.Text.Kind == presence.KindRef && s.Text.Ref.Fallback != "":
		return s.Text.Ref.Fallback
	case s.Text.Kind == presence.KindRef:
		return s.Text.Ref.Token
	}
	return ""
}

// Judge takes status 200 with JSON for an answer, whatever its content type. What
// the answer says changes nothing, the event has happened; it is kept for people.
func (c *Callback) Judge(a outbound.Answer) webhook.Verdict {
	if a.Status != http.StatusOK {
		return webhook.Verdict{Outcome: webhook.Refused, Detail: fmt.Sprintf("status %d, want 200", a.Status)}
	}
	if !json.Valid(a.Body) {
		return webhook.Verdict{Outcome: webhook.Refused, Detail: `the answer is not JSON; want {"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`}
	}
	v := webhook.Verdict{Outcome: webhook.Delivered}
	var said struct {
		Status string `json:"ActionStatus"`
		Code   int    `json:"ErrorCode"`
	}
	if json.Unmarshal(a.Body, &said) == nil && (said.Code != 0 || said.Status == "FAIL") {
		v.Detail = fmt.Sprintf("the receiver says that it failed, with ErrorCode %d", said.Code)
	}
	return v
}

// CheckURL refuses an address that already has one of the parameters that are put
// on, or that would not arrive as it is written.
func (c *Callback) CheckURL(address string) error { return checkURL(address) }
