// Package cloudevents is the native webhook in the envelope of CloudEvents 1.0
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), over
// its HTTP binding: one event for each request in structured mode, or a batch.
// What is told, how patiently and how it is signed is as in package native; the
// data of each event is native.Event.
//
//	POST /events
//	content-type: application/cloudevents+json
//	webhook-id, webhook-timestamp, webhook-signature: as native
//
//	{"specversion":"1.0","id":"<event_id>","source":"/apps/demo","type":"dev.porchlight.presence.opened",
//	 "subject":"alice","time":"…","sequence":"00000000000000000007","datacontenttype":"application/json","data":{…}}
package cloudevents

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

// Name is the word for the format in configurations.
const Name = "cloudevents"

// TypePrefix stands before the kind of a change, or "gap", in an event's type.
const TypePrefix = "dev.porchlight.presence."

// The media types of the two modes.
const (
	typeStructured = "application/cloudevents+json"
	typeBatched    = "application/cloudevents-batch+json"
)

// Config is what an endpoint's format is made of.
type Config struct {
	// Secrets: see native.Config.
	Secrets []string
	// IncludeCustom tells of changes of custom statuses too.
	IncludeCustom bool
	// Batched sends many events in a request; otherwise each has its own.
	Batched bool
}

// Format hides the secrets from every verb.
func (Config) Format(f fmt.State, _ rune) { io.WriteString(f, "cloudevents webhook") }

// LogValue hides them from log/slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Format is the format of one endpoint. Make it with New.
type Format struct {
	signer          *native.Signer
	custom, batched bool
}

var _ webhook.Format = (*Format)(nil)

// New returns a format, or says which of the secrets is none.
func New(cfg Config) (*Format, error) {
	signer, err := native.NewSigner(cfg.Secrets)
	if err != nil {
		return nil, err
	}
	return &Format{signer: signer, custom: cfg.IncludeCustom, batched: cfg.Batched}, nil
}

// Format hides the keys from every verb.
func (*Format) Format(f fmt.State, _ rune) { io.WriteString(f, "cloudevents webhook") }

// Name implements webhook.Format.
func (*Format) Name() string { return Name }

// Policy implements webhook.Format.
func (c *Format) Policy() webhook.Policy {
	p := native.Policy()
	if !c.batched {
		p.Batch = webhook.Batch{Events: 1}
	}
	return p
}

// Wants implements webhook.Format.
func (c *Format) Wants(e *webhook.Event) bool { return c.custom || e.Kind != presence.RecordCustom }

// Judge implements webhook.Format.
func (*Format) Judge(a outbound.Answer) webhook.Verdict { return native.Judge(a, time.Now()) }

// envelope is one event. Replay and Resent are extensions of ours, Sequence is
// the documented one: it rises with the user's number of the change.
type envelope struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject,omitempty"`
	Time            string `json:"time,omitempty"`
	Sequence        string `json:"sequence,omitempty"`
	Replay          string `json:"replay,omitempty"`
	Resent          bool   `json:"resent,omitempty"`
	DataContentType string `json:"datacontenttype"`
	Data            any    `json:"data"`
}

// Request implements webhook.Format.
func (c *Format) Request(d *webhook.Delivery, a webhook.Attempt) (webhook.Request, error) {
	var events []envelope
	if d.Gap != nil {
		events = []envelope{gap(d)}
	}
	for i := range d.Events {
		events = append(events, event(d, &d.Events[i]))
	}
	var body any = events
	kind := typeBatched
	if !c.batched {
		if len(events) != 1 {
			return webhook.Request{}, errors.New("structured mode carries one event")
		}
		body, kind = events[0], typeStructured
	}
	b, err := json.Marshal(body)
	if err != nil {
		return webhook.Request{}, err
	}
	h := http.Header{}
	h.Set("Content-Type", kind)
	h.Set("Accept", "application/json")
	c.signer.Sign(h, native.Message{ID: d.ID, Time: a.Time, Body: b})
	return webhook.Request{URL: a.URL, Header: h, Body: b}, nil
}

func event(d *webhook.Delivery, e *webhook.Event) envelope {
	data := native.EventOf(e)
	return envelope{
		SpecVersion: "1.0", ID: data.ID, Source: source(d), Type: TypePrefix + data.Kind, Subject: data.User, Time: data.Time,
		Sequence: fmt.Sprintf("%020d", data.Seq), Replay: d.Replay, Resent: d.Resent, DataContentType: "application/json", Data: data,
	}
}

func gap(d *webhook.Delivery) envelope {
	data := native.BodyOf(d).Gap
	return envelope{
		SpecVersion: "1.0", ID: d.ID, Source: source(d), Type: TypePrefix + "gap", Time: data.Time,
		Replay: d.Replay, DataContentType: "application/json", Data: data,
	}
}

// source is a URI reference: event ids are unique within it.
func source(d *webhook.Delivery) string { return "/apps/" + url.PathEscape(string(d.App)) }
