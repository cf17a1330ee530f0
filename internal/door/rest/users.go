package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// maxBatch is the most users of one query.
const maxBatch = 1000

// OfUser is the user in the path.
type OfUser struct {
	ID string `path:"id" doc:"The user's id, percent-encoded." example:"alice"`
}

// Resolve refuses what cannot be a user's id.
func (u *OfUser) Resolve(huma.Context) []error { return checkUser("path.id", u.ID) }

// of is the full name.
func (u *OfUser) of(ctx context.Context) presence.User {
	return presence.User{App: requestOf(ctx).key.app, ID: presence.UserID(u.ID)}
}

func checkUser(at, id string) []error {
	if presence.ValidUserID(id) {
		return nil
	}
	return []error{&huma.ErrorDetail{Location: at, Message: fmt.Sprintf("a user id is 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)}}
}

// View says how much is told, and in which language.
type View struct {
	Truth  bool   `query:"view" doc:"Tell the truth, not what others see."`
	Locale string `query:"locale" maxLength:"64" doc:"Make texts of references, for a reader of this locale; without it they come as they are." example:"pt-BR"`
}

// Resolve refuses what is no locale.
func (v *View) Resolve(huma.Context) []error { return checkLocale("query.locale", v.Locale) }

// User is one user's presence.
type User struct {
	User         string    `json:"user" doc:"The user's id." example:"alice"`
	Available    bool      `json:"available" doc:"Any session is open."`
	Availability string    `json:"availability" enum:"unavailable,away,online,busy" doc:"What all sessions add up to: busy on one wins, away only if all are away."`
	Invisible    bool      `json:"invisible,omitempty" doc:"With view=true: others see less than this."`
	LastSeen     Stamp     `json:"last_seen,omitzero" doc:"When the user was last available, unless that is now; missing when never."`
	StaleSince   Stamp     `json:"stale_since,omitzero" doc:"Of several nodes the one that knows the user is not heard since then: this is what was known last."`
	Unknown      bool      `json:"unknown,omitempty" doc:"With stale_since: nothing is known of the user here, and the node that is not heard may know him."`
	Sessions     []Session `json:"sessions" nullable:"false" doc:"The open sessions, the oldest first."`
}

// userAs tells a picture as others see it, or in truth.
func userAs(p *presence.Presence, truth bool) User {
	u := User{User: string(p.User.ID), Availability: p.Available(truth).String(), Sessions: []Session{}}
	u.Available = p.Available(truth) != presence.Unavailable
	stale, unknown := p.Staleness()
	u.StaleSince, u.Unknown = Stamp(stale), unknown
	if !u.Available {
		u.LastSeen = Stamp(p.Seen(truth))
	}
	for _, v := range p.Sessions {
		if v.Face(truth).Open() {
			s := sessionOf(v, truth)
			u.Invisible = u.Invisible || s.Invisible
			u.Sessions = append(u.Sessions, s)
		}
	}
	return u
}

type getUserIn struct {
	OfUser
	View
}

type userOut struct{ Body User }

// Query asks for many users.
type Query struct {
	Users []string `json:"users" nullable:"false" minItems:"1" doc:"User ids, up to 1,000." example:"[\"alice\",\"bob\"]"`
	View  bool     `json:"view,omitempty" doc:"Tell the truth, not what others see."`
	// Locale is View's.
	Locale string `json:"locale,omitempty" maxLength:"64" doc:"Make texts of references, for a reader of this locale; without it they come as they are." example:"pt-BR"`
}

// Resolve refuses what is no locale.
func (q *Query) Resolve(huma.Context) []error { return checkLocale("body.locale", q.Locale) }

// Users are the answer to a Query.
type Users struct {
	Users []User `json:"users" nullable:"false" doc:"One entry for each id that was asked for, in that order."`
}

type (
	queryIn  struct{ Body Query }
	queryOut struct{ Body Users }
)

func (d *Door) registerUsers() {
	register(d, operation{
		id: "getUser", method: http.MethodGet, path: "/users/{id}", tag: "users",
		summary: "Read a user's presence",
		text:    "A user never heard of is one who is not available and was never seen; there is no 404.",
		answers: exampleUser("alice"),
	}, d.getUser)
	register(d, operation{
		id: "queryUsers", method: http.MethodPost, path: "/users/query", tag: "users",
		summary: "Read many users' presences",
		text:    "Like getUser for up to 1,000 users at once. It changes nothing.",
		asks:    map[string]any{"users": []string{"alice", "bob"}}, answers: map[string]any{"users": []any{exampleUser("alice"), exampleUser("bob")}},
		faults: []fault.Kind{fault.LimitBatch}, body: 512 << 10,
	}, d.queryUsers)
}

func (d *Door) getUser(ctx context.Context, in *getUserIn) (*userOut, error) {
	user := in.of(ctx)
	out := &userOut{userAs(d.cfg.Tracker.Presence(user), in.Truth)}
	d.translate(user.App, in.Locale, out.Body.Sessions)
	return out, nil
}

func (d *Door) queryUsers(ctx context.Context, in *queryIn) (*queryOut, error) {
	if n := len(in.Body.Users); n > maxBatch {
		return nil, fault.New(fault.LimitBatch, "%d users were asked for; a query has at most %d: ask in several", n, maxBatch)
	}
	app := requestOf(ctx).key.app
	out := &queryOut{}
	out.Body.Users = make([]User, 0, len(in.Body.Users))
	for i, id := range in.Body.Users {
		if !presence.ValidUserID(id) {
			return nil, invalidUser(fmt.Sprintf("body.users[%d]", i))
		}
		p := d.cfg.Tracker.Presence(presence.User{App: app, ID: presence.UserID(id)})
		u := userAs(p, in.Body.View)
		d.translate(app, in.Body.Locale, u.Sessions)
		out.Body.Users = append(out.Body.Users, u)
	}
	return out, nil
}

func invalidUser(at string) error {
	return fault.Invalid(at, "a user id is 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
}

// exampleUser is a user for the description.
func exampleUser(id string) map[string]any {
	return map[string]any{
		"user": id, "available": true, "availability": "busy",
		"sessions": []any{exampleSession()},
	}
}
