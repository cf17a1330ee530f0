package client

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Presence is the full picture of one user. Values are the caller's own:
// changing one changes nothing here.
type Presence struct {
	User      string `json:"user"`
	Available bool   `json:"available"` // at least one session is open (and not hidden from us)
	// LastSeen is when the user was last available. It may stay behind while
	// Available, and is zero for a user who never was.
	LastSeen time.Time     `json:"last_seen,omitzero"`
	Sessions []UserSession `json:"sessions,omitempty"` // oldest connection first
	// Attributes are values of the user, shared by all sessions: string, bool,
	// float64, []any and map[string]any.
	Attributes map[string]any `json:"attributes,omitempty"`
	// StaleSince, when set, is since when this may be old: the link is lost, the
	// user was not told of yet since it came back, or the server itself does not
	// hear the node that knows the user.
	StaleSince time.Time `json:"stale_since,omitzero"`
	// Unknown: the server cannot say now (a part of it is silent). Query only.
	Unknown bool `json:"unknown,omitempty"`
	// Invisible: others see less than this. Backend.Query with truth only.
	Invisible bool `json:"invisible,omitempty"`
}

// UserSession is one session of a watched user.
type UserSession struct {
	ID       string `json:"id"` // public: the same for everybody
	Platform string `json:"platform,omitempty"`
	Product  string `json:"product,omitempty"`
	Show     Show   `json:"status"`
	Text     string `json:"text,omitempty"`   // in the language of Device.Locale as far as there is one
	Locale   string `json:"locale,omitempty"` // the language that Text is really in
	// Properties hold string, bool, int64 and float64 values.
	Properties map[string]any `json:"properties,omitempty"`
	// Revision grows with each status of the session on one connection of ours.
	Revision    uint64    `json:"revision"`
	ConnectedAt time.Time `json:"connected_at,omitzero"`
	UpdatedAt   time.Time `json:"updated_at,omitzero"`
}

// Session returns the session of the given public id.
func (p *Presence) Session(id string) (UserSession, bool) {
	for _, s := range p.Sessions {
		if s.ID == id {
			return s, true
		}
	}
	return UserSession{}, false
}

// clone makes a copy that shares nothing a caller could change, save values
// inside Attributes.
func (p Presence) clone() Presence {
	p.Sessions = slices.Clone(p.Sessions)
	for i := range p.Sessions {
		p.Sessions[i].Properties = maps.Clone(p.Sessions[i].Properties)
	}
	p.Attributes = maps.Clone(p.Attributes)
	return p
}

// same reports whether s and o tell a reader the same. The revision does not
// count: it may restart on another node.
func (s UserSession) same(o UserSession) bool {
	s.Revision, o.Revision = 0, 0
	return reflect.DeepEqual(s, o)
}

// oldestFirst is the order of Presence.Sessions.
func oldestFirst(a, b UserSession) int {
	if c := a.ConnectedAt.Compare(b.ConnectedAt); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}
