package hub

import (
	"slices"
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
	// Stale, when not 0, is since when a node is not heard that may know the user, of
	// whom nothing is known here: he may be available.
	Stale  presence.Time
	Locale string // what Encoder.Locale said of the watcher's
}

// Body is a notification in a door's dialect: bytes, in the form that the door's
// transport takes them. Nothing may change it.
type Body any

// Encoder turns a notification into a door's dialect. Its result is shared
// among all watchers with the same encoder, locale and side. Encoders are
// compared by identity: use one per door.
type Encoder interface {
	// Encode returns the notification in the door's dialect; n is good for the call.
	Encode(n *Notification) Body
	// Locale says in which locale a watcher with the given one (BCP 47) is told:
	// watchers with the same answer share what is encoded. The answer is good
	// until Hub.Forget.
	Locale(app presence.AppID, locale string) string
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

// encodedSlots bounds what a target remembers: two sessions in several locales.
const encodedSlots = 16

// encoded remembers the last encoded forms of a target.
type encoded struct {
	mu    sync.Mutex // guards all below
	forms []form
	next  int    // the slot to overwrite when full
	of    uint32 // version of the picture they were last needed for
	age   uint32 // Hub.age when they were made
}

type form struct {
	key  encodedKey
	body Body
}

// is compares what differs most first: it runs once for each delivery.
func (k *encodedKey) is(o *encodedKey) bool {
	return k.view == o.view && k.kind == o.kind && k.own == o.own && k.available == o.available &&
		k.seen == o.seen && k.locale == o.locale && k.encoder == o.encoder
}

// get returns n encoded, from memory if another watcher needed the same; a nil
// e has no memory. age is Hub.age when n.Locale was found.
func (e *encoded) get(enc Encoder, n Notification, age uint32) Body {
	if e == nil {
		one := n
		return enc.Encode(&one)
	}
	key := encodedKey{enc, n.View, 0, n.Kind, n.Own, n.Available, n.Locale}
	if !n.Available {
		key.seen = n.Presence.Seen(n.Own)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if age != e.age {
		if int32(age-e.age) < 0 {
			// Overtaken by Forget: its locale may mean something else by now.
			one := n
			return enc.Encode(&one)
		}
		e.forms, e.next, e.age = nil, 0, age
	}
	for i := range e.forms {
		if e.forms[i].key.is(&key) {
			return e.forms[i].body
		}
	}
	// Under the lock on purpose: the other watchers of this change wait for
	// this body instead of making their own. The copy keeps n, of which there is
	// one for each delivery, off the heap.
	one := n
	f := form{key, enc.Encode(&one)}
	if e.of != n.Presence.Version {
		e.of = n.Presence.Version
		e.forget(n.Presence)
	}
	if i := e.former(&key); i >= 0 {
		e.forms[i] = f
	} else if len(e.forms) < encodedSlots {
		e.forms = append(e.forms, f)
	} else {
		e.forms[e.next] = f
		e.next = (e.next + 1) % encodedSlots
	}
	return f.body
}

// former finds what the same watchers were told of the same state of a session in
// another way, such as its opening: who comes later is told of the present, and
// a form for each way would be most of what an idle target costs. The lock is held.
func (e *encoded) former(k *encodedKey) int {
	return slices.IndexFunc(e.forms, func(f form) bool {
		same := f.key
		same.kind = k.kind
		return k.view != nil && same.is(k)
	})
}

// forget drops the forms of sessions as they no longer are: a slow watcher that
// still needs one has it made again. The lock is held.
func (e *encoded) forget(p *presence.Presence) {
	e.next = 0
	e.forms = slices.DeleteFunc(e.forms, func(f form) bool {
		return f.key.view == nil || !slices.Contains(p.Sessions, f.key.view)
	})
}

// rest drops all forms.
func (e *encoded) rest() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forms, e.next = nil, 0
}
