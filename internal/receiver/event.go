package receiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
)

// Event is one event that a request had.
type Event struct {
	Kind string    `json:"kind"`
	User string    `json:"user,omitempty"`
	At   time.Time `json:"time,omitzero"`      // when it happened, as the sender says
	Seq  uint64    `json:"user_seq,omitempty"` // the user's number
	// Position is where it stands in the log.
	Position string          `json:"position,omitempty"`
	Note     string          `json:"note,omitempty"` // repeat, a gap, wrong order
	Raw      json.RawMessage `json:"raw"`            // as it came
	Text     string          `json:"-"`              // the rest in words
	ID       string          `json:"-"`              // tells repeats
}

// present leaves out what is empty.
func present(words ...string) []string {
	kept := words[:0:0]
	for _, w := range words {
		if w != "" && w != "session " {
			kept = append(kept, w)
		}
	}
	return kept
}

// read reads the body into got.
func (r *Receiver) read(got *Request, req *http.Request, body []byte) (err error) {
	var list []Event
	switch r.cfg.Format {
	case RongCloud:
		list, err = readRongCloud(req.URL.Query(), body)
	case TencentIM:
		list, err = readTencentIM(req.URL.Query(), body)
	case CloudEvents:
		list, err = readCloudEvents(req.Header.Get("Content-Type"), body)
	default:
		list, err = readNative(got, body)
	}
	got.Events = append(got.Events, list...)
	return err
}

// nativeBody is what the native format sends.
type nativeBody struct {
	Type   string            `json:"type"`
	Replay string            `json:"replay"`
	Resent bool              `json:"resent"`
	Events []json.RawMessage `json:"events"`
	Gap    gap               `json:"gap"`
}

type gap struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// nativeEvent is one of its events, and the data of a CloudEvent.
type nativeEvent struct {
	ID        string    `json:"event_id"`
	Position  string    `json:"position"`
	Seq       uint64    `json:"user_seq"`
	User      string    `json:"user"`
	Kind      string    `json:"kind"`
	Time      time.Time `json:"time"`
	Reason    string    `json:"reason"`
	Invisible bool      `json:"invisible"`
	Session   struct {
		Device struct {
			Platform string `json:"platform"`
			Product  string `json:"product"`
		} `json:"device"`
		Status struct {
			Show string `json:"show"`
		} `json:"status"`
	} `json:"session"`
	Replaces []string `json:"replaces"`
	Before   bool     `json:"was_available"`
	After    bool     `json:"available"`
}

func readNative(got *Request, body []byte) ([]Event, error) {
	var b nativeBody
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, fmt.Errorf("the body is no JSON object: %w", err)
	}
	got.Replay, got.Resent = b.Replay, b.Resent
	switch {
	case b.Type == "presence.gap":
		return []Event{b.Gap.event(body)}, nil
	case b.Type != "presence.changes" || len(b.Events) == 0:
		return nil, fmt.Errorf("the body has type %.40q and %d events; want presence.changes with events, or presence.gap. Does the sender's endpoint have another format? Then give --format", b.Type, len(b.Events))
	}
	var list []Event
	for i, raw := range b.Events {
		e, err := readEvent(raw, raw)
		if err != nil {
			return list, fmt.Errorf("event %d: %w", i, err)
		}
		list = append(list, e)
	}
	return list, nil
}

func (g gap) event(raw json.RawMessage) Event {
	return Event{Kind: "gap", Text: "what happened after " + g.From + " up to " + g.To + " is no longer in the log: fetch a snapshot", Raw: raw}
}

// readEvent reads what both of our own formats say of a fact.
func readEvent(data, raw json.RawMessage) (Event, error) {
	var e nativeEvent
	if err := json.Unmarshal(data, &e); err != nil {
		return Event{}, fmt.Errorf("cannot be read: %w", err)
	}
	if e.ID == "" || e.Position == "" {
		return Event{}, errors.New("event_id or position is missing")
	}
	return Event{
		Kind: e.Kind, User: e.User, At: e.Time, Seq: e.Seq, ID: e.ID, Position: e.Position, Raw: raw, Text: strings.Join(e.words(), ", "),
	}, nil
}

// words tell what is worth a glance.
func (e *nativeEvent) words() []string {
	d := e.Session.Device
	words := present(strings.TrimSpace(d.Platform+" "+d.Product), e.Session.Status.Show)
	if e.Reason != e.Kind {
		words = append(words, present(e.Reason)...)
	}
	if n := len(e.Replaces); n > 0 {
		words = append(words, "replaces "+count(n, "session"))
	}
	if e.Invisible {
		words = append(words, "invisible")
	}
	switch {
	case e.After && !e.Before:
		words = append(words, "now available")
	case e.Before && !e.After:
		words = append(words, "now gone")
	}
	return words
}

// readCloudEvents reads the structured and the batched mode.
func readCloudEvents(contentType string, body []byte) ([]Event, error) {
	kind, _, _ := mime.ParseMediaType(contentType)
	all := []json.RawMessage{body}
	switch kind {
	case "application/cloudevents+json":
	case "application/cloudevents-batch+json":
		if err := json.Unmarshal(body, &all); err != nil {
			return nil, fmt.Errorf("the body is no JSON array: %w", err)
		}
	default:
		return nil, fmt.Errorf("Content-Type is %.64q; structured events are application/cloudevents+json and batches application/cloudevents-batch+json", contentType)
	}
	var list []Event
	for i, raw := range all {
		e, err := readCloudEvent(raw)
		if err != nil {
			return list, fmt.Errorf("event %d: %w", i, err)
		}
		list = append(list, e)
	}
	return list, nil
}

func readCloudEvent(raw json.RawMessage) (Event, error) {
	var c struct {
		Version string          `json:"specversion"`
		ID      string          `json:"id"`
		Type    string          `json:"type"`
		Source  string          `json:"source"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return Event{}, fmt.Errorf("cannot be read: %w", err)
	}
	if c.Version != "1.0" || c.ID == "" || c.Type == "" || c.Source == "" {
		return Event{}, errors.New("specversion 1.0, id, type and source are not all there")
	}
	if strings.HasSuffix(c.Type, ".gap") {
		var g gap
		err := json.Unmarshal(c.Data, &g)
		return g.event(raw), err
	}
	return readEvent(c.Data, raw)
}
