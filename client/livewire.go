package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Translation between the messages of the live door (docs/interfaces/live.md)
// and this package's values. What is received may be anything.

// liveRequest is any message to the server.
type liveRequest struct {
	T         string      `json:"t"`
	ID        uint64      `json:"id,omitzero"`
	Token     string      `json:"token,omitempty"`
	Resume    string      `json:"resume,omitempty"`
	After     *uint64     `json:"after,omitempty"`
	Device    *liveDevice `json:"device,omitempty"`
	Status    *liveStatus `json:"status,omitempty"`
	Clear     []string    `json:"clear,omitempty"`
	ClearText bool        `json:"clear_text,omitempty"`
	Users     []string    `json:"users,omitempty"`
	Friends   bool        `json:"friends,omitempty"`
	Sessions  bool        `json:"sessions,omitempty"`
	Locale    string      `json:"locale,omitempty"`
	Mode      string      `json:"mode,omitempty"`

	Notifications bool `json:"notifications,omitempty"` // hello
	Topics        bool `json:"topics,omitempty"`        // hello

	// attributes
	User   string        `json:"user,omitempty"`
	Set    []liveSetting `json:"set,omitempty"`
	Remove []string      `json:"remove,omitempty"`
}

type liveDevice struct {
	Platform string `json:"platform,omitempty"`
	Product  string `json:"product,omitempty"`
	Locale   string `json:"locale,omitempty"`
	ID       string `json:"id,omitempty"`
	Version  string `json:"version,omitempty"`
}

func toLiveDevice(d Device) *liveDevice {
	return &liveDevice{d.Platform, d.Product, d.Locale, d.ID, d.Version}
}

type liveStatus struct {
	Show       Show           `json:"show,omitempty"`
	Text       any            `json:"text,omitempty"` // a string or a liveRef
	Properties map[string]any `json:"properties,omitempty"`
	Invisible  *bool          `json:"invisible,omitempty"`
}

type liveRef struct {
	Token    string         `json:"token"`
	Args     map[string]any `json:"args,omitempty"`
	Fallback string         `json:"fallback,omitempty"`
}

// liveNumber is written so that it stays a number and becomes no integer.
type liveNumber float64

func (n liveNumber) MarshalJSON() ([]byte, error) {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, invalid("status.properties", fmt.Sprintf("%v cannot be sent to the live door", f))
	}
	b := strconv.AppendFloat(nil, f, 'g', -1, 64)
	if !bytes.ContainsAny(b, ".e") {
		b = append(b, ".0"...)
	}
	return b, nil
}

// toLiveStatus expects a status that passed check.
func toLiveStatus(s Status) liveStatus {
	return liveStatus{Show: s.Show, Text: toLiveText(s.Text, s.Template), Properties: toLiveValues(s.Properties), Invisible: &s.Invisible}
}

func toLivePatch(p Patch) liveRequest {
	return liveRequest{T: "patch", Clear: p.ClearProperties, ClearText: p.ClearText, Status: &liveStatus{
		Show: p.Show, Text: toLiveText(p.Text, p.Template), Properties: toLiveValues(p.Properties), Invisible: p.Invisible,
	}}
}

func toLiveText(text string, template *Ref) any {
	switch {
	case template != nil:
		return toLiveRef(*template)
	case text != "":
		return text
	}
	return nil
}

func toLiveRef(r Ref) liveRef {
	return liveRef{Token: r.Token, Args: toLiveValues(r.Args), Fallback: r.Fallback}
}

func toLiveValues(values map[string]any) map[string]any {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]any, len(values))
	for k, v := range values {
		switch v := v.(type) {
		case Ref:
			out[k] = toLiveRef(v)
		case *Ref:
			out[k] = toLiveRef(*v)
		default:
			p, _ := plain(v)
			if f, ok := p.(float64); ok {
				p = liveNumber(f)
			}
			out[k] = p
		}
	}
	return out
}

// liveMessage is any message of the server.
type liveMessage struct {
	T  string  `json:"t"`
	ID *uint64 `json:"id"`

	// welcome
	Session   string  `json:"session"`
	Resume    string  `json:"resume"`
	Resumed   bool    `json:"resumed"`
	Resync    bool    `json:"resync"`
	Heartbeat float64 `json:"heartbeat"`
	Limits    struct {
		Batch int `json:"batch"`
	} `json:"limits"`

	Q uint64     `json:"q"` // and of n
	N []liveNote `json:"n"`

	M []liveMessageOf `json:"m"` // m, topic

	Missed     bool            `json:"missed"`     // topic
	Attributes []liveAttribute `json:"attributes"` // ok
	Changed    int             `json:"changed"`    // ok

	// ok
	Rejected []string   `json:"rejected"`
	Still    []string   `json:"still"`
	Users    []liveUser `json:"users"`

	// error and bye
	Reason string `json:"reason"`
	Detail string `json:"message"`
	Fields []struct {
		Path string `json:"path"`
		Rule string `json:"message"`
	} `json:"fields"`
	RetryAfter float64 `json:"retry_after"`
	Why        string  `json:"why"`
}

// liveNote is one entry of n.
type liveNote struct {
	U       string           `json:"u"`
	K       string           `json:"k"`
	On      bool             `json:"on"`
	Seen    float64          `json:"seen"`
	Stale   float64          `json:"stale"`
	At      float64          `json:"at"`
	S       *liveUserSession `json:"s"`
	User    string           `json:"user"`    // done
	Friends bool             `json:"friends"` // done
	Why     string           `json:"why"`     // ended
}

type liveUserSession struct {
	ID         string         `json:"id"`
	Platform   string         `json:"platform"`
	Product    string         `json:"product"`
	Show       Show           `json:"show"`
	Text       string         `json:"text"`
	Locale     string         `json:"locale"`
	Properties map[string]any `json:"properties"`
	Rev        uint64         `json:"rev"`
	Since      float64        `json:"since"`
	At         float64        `json:"at"`
	Why        string         `json:"why"`
}

// liveUser is one user of an answer to get.
type liveUser struct {
	U        string             `json:"u"`
	On       bool               `json:"on"`
	Seen     float64            `json:"seen"`
	Stale    float64            `json:"stale"`
	Unknown  bool               `json:"unknown"`
	Sessions []*liveUserSession `json:"sessions"`
}

// ms reads a duration; nothing negative or too long comes out.
func ms(n float64) time.Duration {
	return time.Duration(min(max(n, 0), 1e12)) * time.Millisecond
}

// at reads a time; 0 is none.
func at(n float64) time.Time {
	if n <= 0 || n > 1e15 {
		return time.Time{}
	}
	return time.UnixMilli(int64(n)).UTC()
}

var liveKinds = map[string]noteKind{"current": noteCurrent, "opened": noteOpened, "updated": noteUpdated, "closed": noteClosed}

var liveCloseReasons = map[string]CloseReason{
	"CLIENT": ClosedByUser, "DISCONNECTED": ClosedByDisconnect, "HEARTBEAT": ClosedByHeartbeat,
	"SUPERSEDED": ClosedBySupersession, "ADMIN": ClosedByAdmin, "EXPIRED": ClosedByExpiry,
}

var liveClosings = map[string]closingReason{
	"REPLACED_STREAM": closingReplaced, "SESSION_CLOSED": closingSession, "SLOW": closingSlow, "SLOW_CONSUMER": closingSlow,
	"DRAINING": closingDraining, "TOKEN_EXPIRED": closingToken,
}

// frames makes frames of an n. The last of its entries has the number q.
func (m *liveMessage) frames() []frame {
	out := make([]frame, 0, len(m.N))
	for i := range m.N {
		f := m.N[i].frame()
		if behind := uint64(len(m.N) - 1 - i); m.Q > behind {
			f.sequence = m.Q - behind
		}
		out = append(out, f)
	}
	return out
}

func (n *liveNote) frame() frame {
	switch n.K {
	case "done":
		return frame{settled: &settled{user: n.User, friends: n.Friends}}
	case "ended":
		return frame{ended: &endedWatch{user: n.U, unfriended: n.Why == "NO_LONGER_FRIEND"}}
	}
	kind, known := liveKinds[n.K]
	if !known && n.K != "none" || n.U == "" {
		return frame{} // newer than we are
	}
	note := &notification{user: n.U, available: n.On, lastSeen: at(n.Seen), staleSince: at(n.Stale), at: at(n.At)}
	if n.S != nil && known {
		s := n.S.session()
		note.session, note.kind, note.reason = &s, kind, liveCloseReasons[n.S.Why]
	}
	return frame{notification: note}
}

func (s *liveUserSession) session() UserSession {
	show := s.Show
	if checkShow(show) != nil || show == "" {
		show = Online
	}
	return UserSession{
		ID: s.ID, Platform: s.Platform, Product: s.Product, Show: show, Text: s.Text, Locale: s.Locale,
		Properties: fromLiveValues(s.Properties), Revision: s.Rev, ConnectedAt: at(s.Since), UpdatedAt: at(s.At),
	}
}

// fromLiveValues leaves out what has no kind this program knows.
func fromLiveValues(values map[string]any) map[string]any {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]any, len(values))
	for k, v := range values {
		switch v := v.(type) {
		case string, bool:
			out[k] = v
		case json.Number:
			if n, err := v.Int64(); err == nil {
				out[k] = n
			} else if f, err := v.Float64(); err == nil {
				out[k] = f
			}
		}
	}
	return out
}

func fromLiveUsers(users []liveUser) []Presence {
	out := make([]Presence, 0, len(users))
	for _, u := range users {
		p := Presence{User: u.U, Available: u.On, LastSeen: at(u.Seen), StaleSince: at(u.Stale), Unknown: u.Unknown}
		for _, s := range u.Sessions {
			if s != nil {
				p.Sessions = append(p.Sessions, s.session())
			}
		}
		out = append(out, p)
	}
	return out
}

// closing reads a bye; nil when a fault is its reason.
func (m *liveMessage) closing() *closing {
	reason, ok := liveClosings[m.Reason]
	if !ok {
		return nil
	}
	return &closing{reason: reason, retryAfter: ms(m.RetryAfter), session: liveCloseReasons[m.Why]}
}
