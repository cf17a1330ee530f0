package live

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// encoder makes the notifications of a batch. The hub calls it once per change,
// locale and side.
type encoder struct{ texts *localize.Set }

var _ hub.Encoder = (*encoder)(nil)

// Encode returns one object of a frame's list, as []byte.
func (e *encoder) Encode(n *hub.Notification) hub.Body {
	var room [512]byte // what is kept has no more room than it needs
	return bytes.Clone(e.notification(room[:0], n))
}

// Locale is that of the catalogues which decides what a watcher reads, so that
// watchers in a hundred locales share as many texts as there are.
func (e *encoder) Locale(app presence.AppID, locale string) string {
	return e.texts.Locale(app, locale)
}

// kindNames are the hub's kinds on the wire.
var kindNames = [...]string{
	hub.KindNone: "none", hub.KindCurrent: "current", hub.KindOpened: "opened", hub.KindUpdated: "updated", hub.KindClosed: "closed",
}

// notification appends what a watcher is told (protocol note A5.3, A5.4): the last
// seen only with the user's last session gone, the session unless there is none.
func (e *encoder) notification(b []byte, n *hub.Notification) []byte {
	b = append(b, `{"u":`...)
	b = appendText(b, string(n.Presence.User.ID))
	b = append(b, `,"k":"`...)
	b = append(b, kindNames[n.Kind]...)
	b = append(b, `","on":`...)
	b = strconv.AppendBool(b, n.Available)
	var seen presence.Time
	if !n.Available {
		seen = n.Presence.Seen(n.Own)
		b = appendTime(b, "seen", seen)
	}
	if n.View == nil {
		b = appendTime(b, "at", seen)
		b = appendTime(b, "stale", n.Stale)
		return append(b, '}')
	}
	f := n.View.Face(n.Own)
	at := f.Updated
	if n.Kind == hub.KindClosed {
		at = f.ClosedAt
	}
	b = appendTime(b, "at", at)
	b = append(b, `,"s":`...)
	b = session(b, n.View, f, n.Kind == hub.KindClosed, e.texts.Reader(n.Presence.User.App, n.Locale))
	return append(b, '}')
}

// session appends SESSION: one session as a viewer of one locale sees it.
func session(b []byte, v *presence.View, f *presence.Face, closed bool, r localize.Reader) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, v.Public.String()...)
	b = append(b, '"')
	b = appendField(b, "platform", v.Device.Platform)
	b = appendField(b, "product", v.Device.Product)
	if !closed {
		b = said(b, v, r)
	}
	b = append(b, `,"rev":`...)
	b = strconv.AppendUint(b, f.Revision, 10)
	b = appendTime(b, "since", f.Since)
	b = appendTime(b, "at", f.Updated)
	if closed {
		b = appendField(b, "why", closeReason(f.Reason))
	}
	return append(b, '}')
}

// said appends what a session says of its user.
func said(b []byte, v *presence.View, r localize.Reader) []byte {
	s := v.Status
	if s == nil {
		s = &presence.Status{}
	}
	b = append(b, `,"show":"`...)
	b = append(b, s.Show.String()...)
	b = append(b, '"')
	text, locale := r.Text(&s.Text, v.Device.Product)
	b = appendField(b, "text", text)
	b = appendField(b, "locale", locale)
	if len(s.Properties) == 0 {
		return b
	}
	b = append(b, `,"properties":{`...)
	for i := range s.Properties {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s.Properties[i].Key)
		b = append(b, ':')
		b = appendValue(b, &s.Properties[i].Value, v.Device.Product, r)
	}
	return append(b, '}')
}

// appendValue appends a property's value, of a session of the product; references
// become text.
func appendValue(b []byte, v *presence.Value, product string, r localize.Reader) []byte {
	switch v.Kind {
	case presence.KindInteger:
		return strconv.AppendInt(b, v.Integer, 10)
	case presence.KindNumber:
		return appendNumber(b, v.Number)
	case presence.KindFlag:
		return strconv.AppendBool(b, v.Flag)
	}
	text, _ := r.Text(v, product)
	return appendText(b, text)
}

// appendNumber writes a number so that it is read as one again: 5.0, not 5.
func appendNumber(b []byte, n float64) []byte {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return append(b, "null"...) // JSON has no such numbers
	}
	from := len(b)
	b = strconv.AppendFloat(b, n, 'g', -1, 64)
	for _, c := range b[from:] {
		if c == '.' || c == 'e' {
			return b
		}
	}
	return append(b, ".0"...)
}

// closeReason is the IsOnline column of the design's table of reasons (§4).
func closeReason(r presence.Reason) string {
	switch r {
	case presence.ReasonLogout, presence.ReasonLeft, presence.ReasonHidden:
		return "CLIENT"
	case presence.ReasonLinkLost, presence.ReasonNodeLost:
		return "DISCONNECTED"
	case presence.ReasonTimedOut:
		return "HEARTBEAT"
	case presence.ReasonReplaced:
		return "SUPERSEDED"
	case presence.ReasonDropped:
		return "ADMIN"
	case presence.ReasonExpired:
		return "EXPIRED"
	}
	return ""
}

// mark appends a word of the hub that stands among notifications.
func mark(b []byte, m *hub.Mark) []byte {
	if m.Scope == hub.ScopeEnded {
		b = append(b, `{"k":"ended","u":`...)
		b = appendText(b, m.User)
		if m.Reason == hub.EndUnfriended {
			return append(b, `,"why":"NO_LONGER_FRIEND"}`...)
		}
		return append(b, `,"why":"UNSUBSCRIBED"}`...)
	}
	b = append(b, `{"k":"done",`...)
	switch m.Scope {
	case hub.ScopeUser:
		b = append(b, `"user":`...)
		b = appendText(b, m.User)
	case hub.ScopeFriends:
		b = append(b, `"friends":true`...)
	default:
		b = append(b, `"all":true`...)
	}
	b = append(b, `,"users":`...)
	b = strconv.AppendInt(b, int64(m.Users), 10)
	return append(b, '}')
}

// appendTime appends a key and a time in milliseconds since 1970; never is left
// out.
func appendTime(b []byte, key string, t presence.Time) []byte {
	if t == 0 {
		return b
	}
	b = appendKey(b, key)
	return strconv.AppendInt(b, int64(t), 10)
}

// appendField appends a key and a text; an empty one is left out.
func appendField(b []byte, key, text string) []byte {
	if text == "" {
		return b
	}
	return appendText(appendKey(b, key), text)
}

// appendKey appends a key that is not an object's first.
func appendKey(b []byte, key string) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	return append(b, `":`...)
}

const hexDigits = "0123456789abcdef"

// appendText appends a JSON text. What is not UTF-8 becomes U+FFFD.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(b, s[from:i]...)
				b = append(b, "\ufffd"...)
				from = i + size
			}
			i += size
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
