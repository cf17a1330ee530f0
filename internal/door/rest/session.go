package rest

import (
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Session is one device's stay.
type Session struct {
	Session    string           `json:"session" doc:"The session's public id, the same for every watcher." example:"Q0rYb1cKTo2mFqS4kq1pCA"`
	Phase      string           `json:"phase,omitempty" enum:"created,live,lost" doc:"With view=true in a list of sessions: created (not connected yet), live, or lost (its link is gone, it may come back)."`
	Device     Device           `json:"device"`
	Status     string           `json:"status" enum:"online,away,busy" doc:"Readiness." example:"busy"`
	RichText   *Value           `json:"rich_text,omitempty" doc:"A text for people, or a reference into the catalogue of messages."`
	TextLocale string           `json:"rich_text_locale,omitempty" doc:"With locale: the locale of the message that made rich_text; missing for other texts." example:"pt"`
	Properties map[string]Value `json:"properties,omitempty" doc:"Named values."`
	Invisible  bool             `json:"invisible,omitempty" doc:"With view=true: others see it as offline."`
	Since      Stamp            `json:"since,omitzero" doc:"When it opened."`
	Updated    Stamp            `json:"updated,omitzero" doc:"When its status became current."`
	Revision   uint64           `json:"revision" doc:"Grows with each status."`
	StaleSince Stamp            `json:"stale_since,omitzero" doc:"Of one session that was asked for: of several nodes the one that has it is not heard since then."`
	Expires    Stamp            `json:"expires,omitzero" doc:"With view=true in a list of sessions: when it goes away by itself, if it is created or set by a server."`
}

// Device is what the user holds.
type Device struct {
	Platform string `json:"platform,omitempty" maxLength:"64" doc:"Such as ios, android, web." example:"ios"`
	Product  string `json:"product,omitempty" maxLength:"64" doc:"Which product of the app." example:"chat"`
	Locale   string `json:"locale,omitempty" maxLength:"64" doc:"BCP 47." example:"en-US"`
	Version  string `json:"version,omitempty" maxLength:"64" doc:"Of the device's software." example:"5.2.1"`
}

// deviceOf leaves out what only the node may know: its id and its address.
func deviceOf(d *presence.Device) Device {
	return Device{Platform: d.Platform, Product: d.Product, Locale: d.Locale, Version: d.Version}
}

// sessionOf tells a session of a picture.
func sessionOf(v *presence.View, truth bool) Session {
	f := v.Face(truth)
	s := Session{
		Session: v.Public.String(), Device: deviceOf(v.Device),
		Since: Stamp(f.Since), Updated: Stamp(f.Updated), Revision: f.Revision,
		Invisible: truth && v.Status != nil && v.Status.Invisible,
	}
	s.tell(v.Status)
	return s
}

// sessionAs tells a session of the table.
func sessionAs(t *tracker.Session, truth bool) Session {
	f := &t.Shown
	if truth {
		f = &t.True
	}
	s := Session{
		Session: t.Public.String(), Device: deviceOf(&t.Device), Since: Stamp(f.Since), Updated: Stamp(f.Updated), Revision: f.Revision,
	}
	s.tell(t.Status)
	if truth {
		s.Phase, s.Expires = t.Phase.String(), Stamp(t.Until)
		s.Invisible = t.Status != nil && t.Status.Invisible
	}
	return s
}

// exampleSession is a session for the description.
func exampleSession() map[string]any {
	return map[string]any{
		"session": "Q0rYb1cKTo2mFqS4kq1pCA", "device": map[string]any{"platform": "ios", "locale": "en-US"},
		"status": "busy", "rich_text": "In a meeting", "since": "2026-05-04T10:20:30.400Z", "updated": "2026-05-04T10:21:00.000Z", "revision": 4,
	}
}
