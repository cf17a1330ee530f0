package rest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// maxName bounds the name of a presence that a server sets, in bytes.
const maxName = 64

// OfPresence is the presence that a server sets, beside its user.
type OfPresence struct {
	Name string `query:"name" default:"server" doc:"Tells the user's presences that servers set apart: 1 to 64 bytes." example:"desk-phone"`
}

// Resolve refuses what cannot be a name.
func (p *OfPresence) Resolve(huma.Context) []error {
	if len(p.Name) <= maxName && presence.ValidUserID(p.Name) {
		return nil
	}
	return []error{&huma.ErrorDetail{Location: "query.name", Message: fmt.Sprintf("1 to %d bytes of UTF-8 without control characters", maxName)}}
}

type putPresenceIn struct {
	OfUser
	OfPresence
	Body ServedPresence
}

// ServedPresence is what a server says of a user.
type ServedPresence struct {
	Status
	TTL    int     `json:"ttl" minimum:"1" maximum:"86400" doc:"Seconds until it ends unless it is put again." example:"300"`
	Device *Device `json:"device,omitempty" doc:"As which device it is shown."`
}

// PutPresence says what became of it.
type PutPresence struct {
	Session  string `json:"session" doc:"The session's public id; it stays the same while the presence is put again." example:"Q0rYb1cKTo2mFqS4kq1pCA"`
	Opened   bool   `json:"opened" doc:"It was not there before."`
	Revision uint64 `json:"revision" doc:"Grows with each status; the same status again keeps it." example:"1"`
	Updated  Stamp  `json:"updated" doc:"When the status became current."`
	Expires  Stamp  `json:"expires" doc:"When it ends unless it is put again."`
}

type putPresenceOut struct{ Body PutPresence }

type removePresenceIn struct {
	OfUser
	OfPresence
}

// RemovedPresence says what a removal did.
type RemovedPresence struct {
	Removed bool `json:"removed" doc:"It was there."`
}

type removePresenceOut struct{ Body RemovedPresence }

func (d *Door) registerPresence() {
	register(d, operation{
		id: "putPresence", method: http.MethodPut, path: "/users/{id}/presence", tag: "presence",
		summary: "Set a presence for a user",
		text: "For bots, desk phones and everything that does not speak to Porchlight itself: a session that the server speaks for. " +
			"It is open until its ttl ends or removePresence, whatever happens to the server; put it again in time to go on. " +
			"The same name goes on with the same session; the whole status is replaced, and the same status again changes nothing but the time. " +
			"It ends no session of a device; under the policies single and one_per_platform a device's new session ends it. " +
			"It is answered when it is on disk: it survives a restart with what is left of its ttl.",
		asks:    map[string]any{"status": "busy", "rich_text": "In a meeting", "ttl": 300, "device": map[string]any{"platform": "desk"}},
		answers: map[string]any{"session": "Q0rYb1cKTo2mFqS4kq1pCA", "opened": true, "revision": 1, "updated": "2026-05-04T10:20:30.400Z", "expires": "2026-05-04T10:25:30.400Z"},
		faults:  []fault.Kind{fault.LimitSessions, fault.LogUnavailable, fault.Draining, fault.NodeUnavailable},
	}, d.putPresence)
	register(d, operation{
		id: "removePresence", method: http.MethodDelete, path: "/users/{id}/presence", tag: "presence",
		summary: "Remove a presence that a server set",
		text:    "Others see its user leave. What is not there is answered with 200 and removed false.",
		answers: map[string]any{"removed": true}, faults: []fault.Kind{fault.LogUnavailable, fault.NodeUnavailable},
	}, d.removePresence)
}

func (d *Door) putPresence(ctx context.Context, in *putPresenceIn) (*putPresenceOut, error) {
	status, err := statusFrom("body", &in.Body.Status)
	if err != nil {
		return nil, err
	}
	p := tracker.PutParams{User: in.of(ctx), Name: in.Name, Status: status, TTL: time.Duration(in.Body.TTL) * time.Second}
	if v := in.Body.Device; v != nil {
		p.Device = presence.Device{Platform: v.Platform, Product: v.Product, Locale: v.Locale, Version: v.Version}
	}
	put, err := d.cfg.Tracker.PutPresence(ctx, p)
	if err != nil {
		return nil, err
	}
	out := &putPresenceOut{}
	b := &out.Body
	b.Session, b.Opened, b.Revision, b.Updated, b.Expires = put.Public.String(), put.Opened, put.Revision, Stamp(put.At), Stamp(put.Until)
	return out, nil
}

func (d *Door) removePresence(ctx context.Context, in *removePresenceIn) (*removePresenceOut, error) {
	was, err := d.cfg.Tracker.RemovePresence(ctx, in.of(ctx), in.Name)
	if err != nil {
		return nil, err
	}
	out := &removePresenceOut{}
	out.Body.Removed = was
	return out, nil
}
