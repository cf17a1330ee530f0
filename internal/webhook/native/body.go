package native

import (
	"strings"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// Body is one request's.
type Body struct {
	Type     string         `json:"type" doc:"presence.changes, or presence.gap"`
	App      presence.AppID `json:"app" doc:"whose users these are"`
	Endpoint string         `json:"endpoint" doc:"the endpoint's name in the configuration"`
	Replay   string         `json:"replay,omitempty" doc:"id of the replay that these are of; absent on live delivery"`
	Resent   bool           `json:"resent,omitempty" doc:"these are dead letters that were sent again"`
	Events   []Event        `json:"events,omitempty" doc:"in order"`
	Gap      *Gap           `json:"gap,omitempty" doc:"what can no longer be told"`
}

// Gap says that what happened after From, up to and with To, can no longer be
// told.
type Gap struct {
	From string `json:"from" doc:"position after which nothing is known"`
	To   string `json:"to" doc:"position after which everything follows; a snapshot at it or later has what was missed"`
	Time string `json:"time" doc:"when that was seen"`
}

// Event is one change, in truth.
type Event struct {
	Position  string   `json:"position" doc:"where the change stands in the log; opaque; orders everything; what changes?after= takes"`
	ID        string   `json:"event_id" doc:"names the change; the same in repeats, replays and answers"`
	Seq       uint64   `json:"user_seq" doc:"the user's number of the change: without a hole, from 1, and from 1 again after the user was erased"`
	Kind      string   `json:"kind" enum:"opened,closed,hidden,shown,custom,erased" doc:"what happened"`
	Reason    string   `json:"reason,omitempty" enum:"opened,logout,left,link_lost,timed_out,replaced,dropped,expired,node_lost,hidden,shown" doc:"why"`
	Time      string   `json:"time" doc:"when it happened"`
	User      string   `json:"user" doc:"who"`
	Session   *Session `json:"session,omitempty" doc:"which session, as it is after the change; absent on erased"`
	Replaces  []string `json:"replaces,omitempty" doc:"ids of the sessions that the policy closed for this one; their closed come just before"`
	Invisible bool     `json:"invisible" doc:"others do not see the session"`

	Available         bool   `json:"available" doc:"is the user available after the change, in truth"`
	WasAvailable      bool   `json:"was_available" doc:"and before it"`
	ShownAvailable    bool   `json:"shown_available" doc:"is the user available after the change, as others see it"`
	ShownWasAvailable bool   `json:"shown_was_available" doc:"and before it"`
	First             bool   `json:"first_session,omitempty" doc:"opened while no other session was open"`
	Last              bool   `json:"last_session,omitempty" doc:"closed, and no other session stays open"`
	LastSeen          string `json:"last_seen,omitempty" doc:"when the user was last seen, in truth"`
	ShownLastSeen     string `json:"shown_last_seen,omitempty" doc:"the same as others may know it"`
}

// Session is one device's stay.
type Session struct {
	ID       string  `json:"id" doc:"the id that watchers see as well"`
	OpenedAt string  `json:"opened_at" doc:"when it opened"`
	Device   Device  `json:"device" doc:"what the user holds"`
	Status   *Status `json:"status,omitempty" doc:"the status that it opened with, or the newest custom one"`
}

// Device is what the user holds.
type Device struct {
	Platform string `json:"platform,omitempty" doc:"such as ios, android, web"`
	Product  string `json:"product,omitempty" doc:"which product of the app"`
	Locale   string `json:"locale,omitempty" doc:"such as en-US"`
	ID       string `json:"id,omitempty" doc:"the device's own id"`
	Version  string `json:"version,omitempty" doc:"of its software"`
	Addr     string `json:"addr,omitempty" doc:"ip:port it speaks from"`
	Door     string `json:"door,omitempty" doc:"the interface it came in by"`
}

// Status is what the session said about itself.
type Status struct {
	Show       string         `json:"show" enum:"online,away,busy" doc:"readiness"`
	Text       any            `json:"text,omitempty" doc:"text, or a reference {token, args, fallback} that each reader sees in his language"`
	Properties map[string]any `json:"properties,omitempty" doc:"named values: text, numbers, true and false, references"`
}

// Reference points at an entry of a catalogue of texts.
type Reference struct {
	Token    string         `json:"token"`
	Args     map[string]any `json:"args,omitempty"`
	Fallback string         `json:"fallback,omitempty"`
}

// BodyOf is the body of a delivery.
func BodyOf(d *webhook.Delivery) Body {
	b := Body{Type: TypeChanges, App: d.App, Endpoint: d.Endpoint, Replay: d.Replay, Resent: d.Resent}
	if d.Gap != nil {
		b.Type = TypeGap
		b.Gap = &Gap{From: d.Gap.From.String(), To: d.Gap.To.String(), Time: stamp(d.Gap.Time)}
		return b
	}
	b.Events = make([]Event, len(d.Events))
	for i := range d.Events {
		b.Events[i] = EventOf(&d.Events[i])
	}
	return b
}

// EventOf is one change as the format tells it.
func EventOf(e *webhook.Event) Event {
	out := Event{
		Position: e.Position.String(), ID: e.ID, Seq: e.Seq, Kind: e.Kind.String(), Reason: word(e.Reason), Time: stamp(e.Time),
		User: string(e.User.ID), Invisible: e.Session.Hidden,
		Available: e.After, WasAvailable: e.Before, ShownAvailable: e.ShownAfter, ShownWasAvailable: e.ShownBefore,
		First: e.First && e.Kind == presence.RecordOpened, Last: e.First && e.Kind == presence.RecordClosed,
		LastSeen: stamp(e.LastSeen), ShownLastSeen: stamp(e.Shown),
	}
	for _, id := range e.Replaces {
		out.Replaces = append(out.Replaces, id.String())
	}
	if e.Kind != presence.RecordErased {
		s := SessionOf(&e.Session)
		out.Session = &s
	}
	return out
}

// SessionOf is one session as the format tells it.
func SessionOf(s *presence.FoldedSession) Session {
	return Session{ID: s.Public.String(), OpenedAt: stamp(s.OpenedAt), Device: deviceOf(&s.Device), Status: statusOf(s.Status)}
}

// word is a reason as one word: the words of the core have spaces.
func word(r presence.Reason) string { return strings.ReplaceAll(r.String(), " ", "_") }

// stamp is a time to the millisecond, "" for never.
func stamp(t presence.Time) string {
	if t == 0 {
		return ""
	}
	return t.Time().Format("2006-01-02T15:04:05.000Z07:00")
}

func deviceOf(d *presence.Device) Device {
	return Device{Platform: d.Platform, Product: d.Product, Locale: d.Locale, ID: d.OwnID(), Version: d.Version, Addr: d.Addr, Door: d.Door}
}

func statusOf(s *presence.Status) *Status {
	if s == nil {
		return nil
	}
	return &Status{Show: s.Show.String(), Text: value(&s.Text), Properties: values(s.Properties)}
}

func values(ps []presence.Property) map[string]any {
	if len(ps) == 0 {
		return nil
	}
	all := make(map[string]any, len(ps))
	for i := range ps {
		all[ps[i].Key] = value(&ps[i].Value)
	}
	return all
}

func value(v *presence.Value) any {
	switch v.Kind {
	case presence.KindText:
		return v.Text
	case presence.KindInteger:
		return v.Integer
	case presence.KindNumber:
		return v.Number
	case presence.KindFlag:
		return v.Flag
	case presence.KindRef:
		if v.Ref != nil {
			return Reference{Token: v.Ref.Token, Args: values(v.Ref.Args), Fallback: v.Ref.Fallback}
		}
	}
	return nil
}
