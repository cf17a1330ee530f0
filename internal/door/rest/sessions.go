package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// OfSession is the session in the path.
type OfSession struct {
	SID string `path:"sid" doc:"The session's public id." example:"Q0rYb1cKTo2mFqS4kq1pCA"`

	public presence.PublicID
}

// Resolve refuses what cannot be a session's id.
func (s *OfSession) Resolve(huma.Context) []error {
	var err error
	if s.public, err = presence.ParsePublicID(s.SID); err != nil {
		return []error{&huma.ErrorDetail{Location: "path.sid", Message: err.Error()}}
	}
	return nil
}

type sessionsIn struct {
	OfUser
	View
}

// Sessions are a user's sessions.
type Sessions struct {
	Sessions   []Session `json:"sessions" nullable:"false" doc:"The oldest first."`
	StaleSince Stamp     `json:"stale_since,omitzero" doc:"Of several nodes the one that knows the user is not heard since then: these are those that were known last."`
	Unknown    bool      `json:"unknown,omitempty" doc:"With stale_since: nothing is known of the user here, and the node that is not heard may know him."`
}

type sessionsOut struct{ Body Sessions }

type sessionIn struct {
	OfUser
	OfSession
	View
}

type sessionOut struct{ Body Session }

type dropIn struct {
	OfUser
	Revoke bool `query:"revoke_tokens" doc:"Make void the access tokens that the user has, too."`
}

type dropOneIn struct {
	OfUser
	OfSession
}

// Dropped says what a drop did.
type Dropped struct {
	Dropped int   `json:"dropped" doc:"How many sessions were not closed before." example:"1"`
	Before  Stamp `json:"revoked_before,omitzero" doc:"With revoke_tokens: access tokens issued before it are refused with JWT_EXPIRED."`
}

type dropOut struct{ Body Dropped }

func (d *Door) registerSessions() {
	register(d, operation{
		id: "listSessions", method: http.MethodGet, path: "/users/{id}/sessions", tag: "sessions",
		summary: "List a user's sessions",
		text:    "The open sessions as others see them; with view=true all that are not closed, those that are only created or invisible too, with their phase.",
		answers: map[string]any{"sessions": []any{exampleSession()}},
	}, d.listSessions)
	register(d, operation{
		id: "getSession", method: http.MethodGet, path: "/users/{id}/sessions/{sid}", tag: "sessions",
		summary: "Read one session", text: "404 SESSION_GONE when listSessions with the same view would not have it.",
		answers: exampleSession(), faults: []fault.Kind{fault.SessionGone, fault.NodeUnavailable},
	}, d.getSession)
	register(d, operation{
		id: "dropSessions", method: http.MethodDelete, path: "/users/{id}/sessions", tag: "sessions",
		summary: "Drop all sessions of a user",
		text: "They close with the reason dropped, their connections end, and nothing resumes them; sessions that closed a moment ago cannot come back either. The user may make new ones, unless revoke_tokens says that he needs a new access token for it: " +
			"those issued before now are void then, though they have not expired, until the user is erased. Sent again it drops what came since.",
		answers: map[string]any{"dropped": 2}, faults: []fault.Kind{fault.LogUnavailable, fault.NodeUnavailable},
	}, d.dropSessions)
	register(d, operation{
		id: "dropSession", method: http.MethodDelete, path: "/users/{id}/sessions/{sid}", tag: "sessions",
		summary: "Drop one session", text: "As dropSessions for one. A session that is closed or unknown is answered with 200 and dropped 0.",
		answers: map[string]any{"dropped": 1}, faults: []fault.Kind{fault.LogUnavailable, fault.NodeUnavailable},
	}, d.dropSession)
}

// visible lists a user's sessions, in truth or as others see them, in the
// language that was asked for.
func (d *Door) visible(user presence.User, view View) []Session {
	list := []Session{}
	for _, s := range d.cfg.Tracker.Sessions(user) {
		if view.Truth || s.Shown.Open() {
			list = append(list, sessionAs(&s, view.Truth))
		}
	}
	d.translate(user.App, view.Locale, list)
	return list
}

func (d *Door) listSessions(ctx context.Context, in *sessionsIn) (*sessionsOut, error) {
	out := &sessionsOut{}
	user := in.of(ctx)
	stale, unknown := d.cfg.Tracker.Presence(user).Staleness()
	out.Body = Sessions{Sessions: d.visible(user, in.View), StaleSince: Stamp(stale), Unknown: unknown}
	return out, nil
}

func (d *Door) getSession(ctx context.Context, in *sessionIn) (*sessionOut, error) {
	user := in.of(ctx)
	stale, unknown := d.cfg.Tracker.Presence(user).Staleness()
	for _, s := range d.visible(user, in.View) {
		if s.Session == in.SID {
			s.StaleSince = Stamp(stale)
			return &sessionOut{s}, nil
		}
	}
	if unknown {
		return nil, fault.Retry(fault.NodeUnavailable, time.Second, "nothing is known of the user here, and a node that may know him is not heard; try again")
	}
	return nil, fault.New(fault.SessionGone, "the user has no such session; it may have closed")
}

func (d *Door) dropSessions(ctx context.Context, in *dropIn) (*dropOut, error) {
	user := in.of(ctx)
	var before presence.Time
	// Before tokens are void: by now the user may have been given others.
	if err := d.cfg.Tracker.Takes(); err != nil {
		return nil, err
	}
	if in.Revoke { // first, or the devices would be back before it holds
		var err error
		if before, err = d.cfg.Revocations.Revoke(ctx, user); err != nil {
			return nil, err
		}
		d.note(ctx, "revoked access tokens", "user", user.ID)
	}
	out, err := d.drop(ctx, user, nil)
	if err == nil {
		out.Body.Before = Stamp(before)
	}
	return out, err
}

func (d *Door) dropSession(ctx context.Context, in *dropOneIn) (*dropOut, error) {
	return d.drop(ctx, in.of(ctx), &in.public)
}

func (d *Door) drop(ctx context.Context, user presence.User, which *presence.PublicID) (*dropOut, error) {
	n, err := d.cfg.Tracker.Drop(ctx, user, which)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		d.note(ctx, "dropped sessions", "user", user.ID, "sessions", n)
	}
	out := &dropOut{}
	out.Body.Dropped = n
	return out, nil
}

// note logs what a server key did that somebody may ask about later.
func (d *Door) note(ctx context.Context, what string, with ...any) {
	req := requestOf(ctx)
	d.log.InfoContext(ctx, what, append([]any{"app", req.key.app, "key", req.key.id, "request", req.id}, with...)...)
}
