package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Webhook is how one of the app's webhooks is doing.
type Webhook struct {
	Name   string `json:"name"`
	Node   string `json:"node,omitempty"` // of several nodes the one that serves it
	Format string `json:"format"`
	Host   string `json:"host"` // of its address
	// Doing is one word: "live", "behind", "waiting", "paused", "gone" or "stopped".
	Doing    string `json:"doing"`
	Position string `json:"position,omitempty"` // up to here everything was delivered or became a dead letter
	Lanes    int    `json:"lanes"`
	Waiting  int    `json:"waiting"` // events that were read and are not delivered
	Unread   bool   `json:"unread"`  // there are more
	// LagSeconds is how long the oldest event waits that is not delivered.
	LagSeconds float64 `json:"lag_seconds"`
	InFlight   int     `json:"in_flight"`
	Breaker    string  `json:"breaker"` // "closed", "open" or "half-open"
	// PauseSeconds is how long an open breaker stays so.
	PauseSeconds float64 `json:"pause_seconds,omitempty"`
	// Delivered, Attempts, Failures and Gaps count since the node that serves it started.
	Delivered   uint64    `json:"delivered"`
	Attempts    uint64    `json:"attempts"`
	Failures    uint64    `json:"failures"`
	Gaps        uint64    `json:"gaps"`
	Dead        int       `json:"dead"` // dead letters
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Replays     []Replay  `json:"replays"`
}

// Replay is how a replay is doing.
type Replay struct {
	ID       string    `json:"replay"`
	Doing    string    `json:"doing"` // "running", "done", "cancelled" or "failed"
	From     string    `json:"from"`
	To       string    `json:"to"`
	At       string    `json:"at"`
	Events   uint64    `json:"events"`   // delivered
	Failed   uint64    `json:"failed"`   // given up
	Progress float64   `json:"progress"` // about, 0 to 1
	Begun    time.Time `json:"begun"`
	Ended    time.Time `json:"ended,omitzero"`
	Error    string    `json:"error,omitempty"`
}

// DeadLetter is an event that a webhook gave up.
type DeadLetter struct {
	ID       string    `json:"id"`
	Event    Event     `json:"event"`
	Died     time.Time `json:"died"`
	Attempts int       `json:"attempts"`
	Why      string    `json:"why"`
}

// Resent is what came of sending dead letters again.
type Resent struct {
	Sent   int            `json:"sent"`
	Failed int            `json:"failed"`
	Older  []string       `json:"older"` // not tried: older than the user's newest event
	Errors map[string]int `json:"errors"`
	// Unfinished: there was no time for all of them; call again.
	Unfinished bool `json:"unfinished,omitempty"`
}

// Webhooks lists the app's webhooks.
func (b *Backend) Webhooks(ctx context.Context) ([]Webhook, error) {
	var answer struct {
		Webhooks []Webhook `json:"webhooks"`
	}
	err := b.call(ctx, http.MethodGet, b.path("webhooks"), nil, &answer)
	return answer.Webhooks, err
}

// Webhook returns how one is doing; an error's Reason is WEBHOOK_UNKNOWN when
// the app has none of that name.
func (b *Backend) Webhook(ctx context.Context, name string) (Webhook, error) {
	var w Webhook
	err := b.call(ctx, http.MethodGet, b.path("webhooks", name), nil, &w)
	return w, err
}

// DeadLetters calls f with each dead letter of a webhook, the oldest first, and
// returns its first error.
func (b *Backend) DeadLetters(ctx context.Context, name string, f func(DeadLetter) error) error {
	query := url.Values{"limit": {"1000"}}
	for {
		var answer struct {
			Letters []DeadLetter `json:"letters"`
			Next    string       `json:"next"`
		}
		if err := b.call(ctx, http.MethodGet, b.path("webhooks", name, "dead")+"?"+query.Encode(), nil, &answer); err != nil {
			return err
		}
		for _, l := range answer.Letters {
			if err := f(l); err != nil {
				return err
			}
		}
		if answer.Next == "" {
			return nil
		}
		query.Set("next", answer.Next)
	}
}

// ReplayFrom says where a replay begins; one of the two.
type ReplayFrom struct {
	Position string    // tell what is behind it
	Time     time.Time // tell what happened then or later
}

// Replay has a webhook told again what happened, up to now. It returns at once;
// [Backend.Webhook] says how far it is.
func (b *Backend) Replay(ctx context.Context, name string, from ReplayFrom) (Replay, error) {
	ask := map[string]any{}
	if from.Position != "" {
		ask["position"] = from.Position
	}
	if !from.Time.IsZero() {
		ask["time"] = from.Time.UTC().Format(time.RFC3339Nano)
	}
	var r Replay
	err := b.call(ctx, http.MethodPost, b.path("webhooks", name, "replay"), ask, &r)
	return r, err
}

// CancelReplay ends a replay and returns how far it came.
func (b *Backend) CancelReplay(ctx context.Context, name, replay string) (Replay, error) {
	var r Replay
	err := b.call(ctx, http.MethodDelete, b.path("webhooks", name, "replays", replay), nil, &r)
	return r, err
}

// Resend sends dead letters again: those of ids, or all when there are none.
// With force also those that are older than their user's newest event.
func (b *Backend) Resend(ctx context.Context, name string, force bool, ids ...string) (Resent, error) {
	ask := map[string]any{"force": force}
	if len(ids) > 0 {
		ask["ids"] = ids
	} else {
		ask["all"] = true
	}
	var r Resent
	err := b.call(ctx, http.MethodPost, b.path("webhooks", name, "resend"), ask, &r)
	return r, err
}

// Event is one change of presence, as webhooks of the native format are told it.
// It is the truth; what others see of it stands beside it.
type Event struct {
	Position string    `json:"position"` // orders everything
	ID       string    `json:"event_id"` // the same in repeats
	Seq      uint64    `json:"user_seq"` // the user's number of the event
	Kind     string    `json:"kind"`     // "opened", "closed", "hidden", "shown", "custom" or "erased"
	Reason   string    `json:"reason,omitempty"`
	Time     time.Time `json:"time"`
	User     string    `json:"user"`
	// Session is missing when the user was erased.
	Session   *EventSession `json:"session,omitempty"`
	Replaces  []string      `json:"replaces,omitempty"` // sessions that the policy closed for this one
	Invisible bool          `json:"invisible"`

	Available         bool      `json:"available"`
	WasAvailable      bool      `json:"was_available"`
	ShownAvailable    bool      `json:"shown_available"`
	ShownWasAvailable bool      `json:"shown_was_available"`
	FirstSession      bool      `json:"first_session,omitempty"`
	LastSession       bool      `json:"last_session,omitempty"`
	LastSeen          time.Time `json:"last_seen,omitzero"`
	ShownLastSeen     time.Time `json:"shown_last_seen,omitzero"`
}

// EventSession is the session of an event, as it is after it.
type EventSession struct {
	ID       string       `json:"id"`
	OpenedAt time.Time    `json:"opened_at"`
	Device   EventDevice  `json:"device"`
	Status   *EventStatus `json:"status,omitempty"`
}

// EventDevice is what the user holds.
type EventDevice struct {
	Platform string `json:"platform,omitempty"`
	Product  string `json:"product,omitempty"`
	Locale   string `json:"locale,omitempty"`
	ID       string `json:"id,omitempty"`
	Version  string `json:"version,omitempty"`
	Addr     string `json:"addr,omitempty"`
	Door     string `json:"door,omitempty"` // the interface that it came in by
}

// EventStatus is what a session said of itself. Text and properties are as they
// came: text, numbers, true and false, or references as maps.
type EventStatus struct {
	Show       Show           `json:"show"`
	Text       any            `json:"text,omitempty"`
	Properties map[string]any `json:"properties,omitempty"`
}

// UnmarshalJSON reads a status; integers stay integers of 64 bits.
func (s *EventStatus) UnmarshalJSON(b []byte) error {
	type plain EventStatus
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode((*plain)(s)); err != nil {
		return err
	}
	s.Text = numbersOf(s.Text)
	for k, v := range s.Properties {
		s.Properties[k] = numbersOf(v)
	}
	return nil
}

// numbersOf makes Go's numbers of those of JSON, inside references too.
func numbersOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, one := range v {
			v[k] = numbersOf(one)
		}
	case json.Number:
		return propertyOf(v)
	}
	return v
}

// Gap says that what happened between two positions is no longer known.
type Gap struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Changes is what happened behind a position.
type Changes struct {
	Events []Event `json:"events"`
	Gap    *Gap    `json:"gap,omitempty"` // take a snapshot before going on
	Next   string  `json:"next"`          // ask with this next
	More   bool    `json:"more"`          // there is more already
}

// ChangesAfter says which changes to fetch.
type ChangesAfter struct {
	// Position of the last one that is known; "" begins with the oldest there is,
	// "now" gives nothing but the position to go on with.
	Position string
	Limit    int           // 0: 100; at most 1,000
	Wait     time.Duration // while there is nothing; at most 30 s
}

// Changes fetches what happened behind a position.
func (b *Backend) Changes(ctx context.Context, after ChangesAfter) (Changes, error) {
	query := url.Values{}
	if after.Position != "" {
		query.Set("after", after.Position)
	}
	if after.Limit > 0 {
		query.Set("limit", strconv.Itoa(after.Limit))
	}
	if after.Wait > 0 {
		query.Set("wait", strconv.Itoa(max(1, int(after.Wait/time.Second))))
	}
	var c Changes
	err := b.waiting().call(ctx, http.MethodGet, b.path("changes")+"?"+query.Encode(), nil, &c)
	return c, err
}

// waiting is b with patience for calls that wait: the caller's context bounds
// them.
func (b *Backend) waiting() *Backend {
	if b.http.Timeout == 0 {
		return b
	}
	patient := *b
	client := *b.http
	client.Timeout = 0
	patient.http = &client
	return &patient
}

// History calls f with what happened to a user in the last 30 days, the newest
// first, until there is no more or f returns an error, which it returns.
func (b *Backend) History(ctx context.Context, user string, f func(Event) error) error {
	query := url.Values{"limit": {"1000"}}
	for {
		var answer struct {
			Events []Event `json:"events"`
			Next   string  `json:"next"`
		}
		if err := b.call(ctx, http.MethodGet, b.path("users", user, "history")+"?"+query.Encode(), nil, &answer); err != nil {
			return err
		}
		for _, e := range answer.Events {
			if err := f(e); err != nil {
				return err
			}
		}
		if answer.Next == "" {
			return nil
		}
		query.Set("next", answer.Next)
	}
}

// SnapshotUser is one user of a snapshot.
type SnapshotUser struct {
	User           string            `json:"user"`
	Seq            uint64            `json:"user_seq"` // number of the user's newest event
	Available      bool              `json:"available"`
	ShownAvailable bool              `json:"shown_available"` // as others see it
	LastSeen       time.Time         `json:"last_seen,omitzero"`
	ShownLastSeen  time.Time         `json:"shown_last_seen,omitzero"`
	Sessions       []SnapshotSession `json:"sessions,omitempty"`
}

// SnapshotSession is an open session.
type SnapshotSession struct {
	EventSession
	Invisible bool `json:"invisible,omitempty"`
}

// SnapshotOf says which snapshot is wanted; the zero value is everybody, now.
type SnapshotOf struct {
	Position string // as it was there
	Online   bool   // only users who have an open session
}

// ErrBrokenOff is what a snapshot that is not whole ends with.
var ErrBrokenOff = errors.New("porchlight: the snapshot broke off before its end; fetch it again")

// Snapshot calls f with everybody's presence at one position, which it returns:
// [Backend.Changes] from there tells the rest. It reads while f runs, so there
// may be any number of users. The caller's context bounds it.
func (b *Backend) Snapshot(ctx context.Context, of SnapshotOf, f func(SnapshotUser) error) (position string, err error) {
	query := url.Values{}
	if of.Position != "" {
		query.Set("at", of.Position)
	}
	if of.Online {
		query.Set("online", "true")
	}
	body, err := b.waiting().stream(ctx, b.path("snapshot")+"?"+query.Encode())
	if err != nil {
		return "", err
	}
	defer body.Close()
	lines := json.NewDecoder(body)
	for {
		var line struct {
			Type, Position, Code, Detail string
			SnapshotUser
		}
		if err := lines.Decode(&line); err != nil {
			if ctx.Err() != nil {
				return position, ctx.Err()
			}
			return position, ErrBrokenOff
		}
		switch line.Type {
		case "snapshot":
			position = line.Position
		case "user":
			if err := f(line.SnapshotUser); err != nil {
				return position, err
			}
		case "error":
			return position, &Error{Code: CodeUnavailable, Reason: Reason(line.Code), Detail: line.Detail, cause: ErrBrokenOff}
		case "end":
			return position, nil
		}
	}
}
