package hub

import (
	"sync"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Kind says what a notification tells of a session.
type Kind uint8

// The kinds (protocol note A4, SessionNotification.kind).
const (
	KindNone    Kind = iota // no session: the user is fully offline
	KindCurrent             // part of a snapshot
	KindOpened
	KindUpdated
	KindClosed
)

// Notification is one change on its way to one kind of watcher.
type Notification struct {
	Presence *presence.Presence
	View     *presence.View // nil with KindNone
	Kind     Kind
	Own      bool // the watcher is the same user: he sees invisible sessions
	// Available is the user-level flag after it.
	Available bool
	Locale    string // of the watcher, BCP 47
}

// Encoder turns a notification into a door's dialect. Its result is shared
// among all watchers with the same encoder, locale and side, so neither may
// change it. Encoders are compared by identity: use one per door.
type Encoder interface {
	Encode(*Notification) []byte
}

// encodedKey names one encoded form. A View is never changed, so its address
// stands for the session's (epoch, revision).
type encodedKey struct {
	encoder   Encoder
	view      *presence.View
	seen      presence.Time // last seen, when it is told
	kind      Kind
	own       bool
	available bool
	locale    string
}

// encodedSlots bounds what a target remembers: two sessions in a few locales.
const encodedSlots = 8

// encoded remembers the last encoded forms of a target.
type encoded struct {
	mu    sync.Mutex // guards all below
	forms []form
	next  int // the slot to overwrite when full
}

type form struct {
	key   encodedKey
	bytes []byte
}

// get returns n encoded, from memory if another watcher needed the same.
func (e *encoded) get(enc Encoder, n *Notification) []byte {
	key := encodedKey{enc, n.View, 0, n.Kind, n.Own, n.Available, n.Locale}
	if !n.Available {
		key.seen = n.Presence.Seen(n.Own)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.forms {
		if e.forms[i].key == key {
			return e.forms[i].bytes
		}
	}
	// Under the lock on purpose: the other watchers of this change wait for
	// these bytes instead of making their own.
	f := form{key, enc.Encode(n)}
	if len(e.forms) < encodedSlots {
		e.forms = append(e.forms, f)
	} else {
		e.forms[e.next] = f
		e.next = (e.next + 1) % encodedSlots
	}
	return f.bytes
}
