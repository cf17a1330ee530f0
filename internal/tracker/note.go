package tracker

import (
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// A note is what the checkpoint keeps of an open session besides the fold: the
// log does not have it. It is written at most a second after it changed.
type note struct {
	ref      Ref
	epoch    presence.Epoch
	revision uint64
	status   *presence.Status
	updated  presence.Time // when status became current
	lost     presence.Time // when its node was last alive, if it was lost with it; else 0
	watches  []presence.UserID
	friends  bool // the friends subscription stands
	// A server set it: how long it is good, and until when; else 0.
	ttl   time.Duration
	until presence.Time
	// same: watches and friends are left out, they are what the session's last
	// note says. Most notes tell of a new status, and lists are long.
	same bool
}

// Flags of a written note.
const (
	noteFriends = 1 << iota
	noteSame
	noteServed // ttl and until follow
)

// olderThan reports whether o has a newer status.
func (n *note) olderThan(o *note) bool {
	if c := n.epoch.Compare(o.epoch); c != 0 {
		return c < 0
	}
	return n.revision < o.revision
}

// Versions of what is written; a reader refuses what it does not know.
const (
	noteVersion = 2
	// leastVersion is read as well: it lacks what later ones added.
	leastVersion = 1
)

var errTold = errors.New("tracker: of an unknown form; it was sent by another version of Porchlight")

var errCut = errors.New("tracker: checkpoint is cut short")

func (n *note) append(dst []byte) []byte {
	dst = presence.AppendText(dst, string(n.ref.User.App))
	dst = presence.AppendText(dst, string(n.ref.User.ID))
	dst = append(dst, n.ref.Session[:]...)
	dst = presence.AppendNumber(dst, uint64(n.epoch.Counter))
	dst = presence.AppendNumber(dst, n.epoch.Incarnation)
	dst = presence.AppendNumber(dst, n.revision)
	dst = presence.AppendText(dst, string(presence.AppendStatus(nil, n.status)))
	dst = presence.AppendNumber(dst, uint64(n.updated))
	dst = presence.AppendNumber(dst, uint64(n.lost))
	flags := uint64(0)
	if n.friends {
		flags |= noteFriends
	}
	if n.same {
		flags |= noteSame
	}
	if n.ttl > 0 {
		flags |= noteServed
	}
	dst = presence.AppendNumber(dst, flags)
	if n.ttl > 0 {
		dst = presence.AppendNumber(dst, uint64(n.ttl.Milliseconds()))
		dst = presence.AppendNumber(dst, uint64(n.until))
	}
	if n.same {
		return dst
	}
	watches := n.watches[:fitting(n.watches)]
	dst = presence.AppendNumber(dst, uint64(len(watches)))
	for _, w := range watches {
		dst = presence.AppendText(dst, string(w))
	}
	return dst
}

// noteWatches is how many bytes of a note its watches take at most: one that is longer
// than a message of the store (8 MiB) would be tried for ever, and all notes with it. Who
// comes back to what is noted is told to watch anew, so the rest is missing for a moment.
const noteWatches = 4 << 20

// fitting is how many of the first fit into that.
func fitting(watches []presence.UserID) int {
	const length = 2 // bytes before each: ids have 128 at most
	room := noteWatches
	for i, w := range watches {
		if room -= length + len(w); room < 0 {
			return i
		}
	}
	return len(watches)
}

// reader walks bytes and keeps the first error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) text() (s string) {
	if r.err == nil {
		s, r.b, r.err = presence.ParseText(r.b)
	}
	return s
}

// part is text that is read on at once: it is part of what is read.
func (r *reader) part() (b []byte) {
	n := r.number()
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = errCut
	}
	if r.err == nil {
		b, r.b = r.b[:n], r.b[n:]
	}
	return b
}

func (r *reader) number() (n uint64) {
	if r.err == nil {
		n, r.b, r.err = presence.ParseNumber(r.b)
	}
	return n
}

func (r *reader) bytes(dst []byte) {
	if r.err == nil && len(r.b) < len(dst) {
		r.err = errCut
	}
	if r.err == nil {
		r.b = r.b[copy(dst, r.b):]
	}
}

// note reads one note.
func (r *reader) note() (n note) {
	n.ref.User.App = presence.AppID(r.text())
	n.ref.User.ID = presence.UserID(r.text())
	r.bytes(n.ref.Session[:])
	n.epoch.Counter = uint32(r.number())
	n.epoch.Incarnation = r.number()
	n.revision = r.number()
	status := r.text()
	if r.err == nil {
		n.status, r.err = presence.ParseStatus([]byte(status))
	}
	n.updated = presence.Time(r.number())
	n.lost = presence.Time(r.number())
	flags := r.number()
	n.friends, n.same = flags&noteFriends != 0, flags&noteSame != 0
	if flags&noteServed != 0 {
		n.ttl, n.until = time.Duration(r.number())*time.Millisecond, presence.Time(r.number())
	}
	if n.same {
		return n
	}
	count := r.number()
	if r.err == nil && count > uint64(len(r.b)) {
		r.err = errCut
	}
	for range count {
		if r.err != nil {
			break
		}
		n.watches = append(n.watches, presence.UserID(r.text()))
	}
	return n
}

// appendNotes begins a message of notes: when the node was last alive, and the
// notes themselves follow until the end.
func appendNotes(dst []byte, alive presence.Time) []byte {
	dst = append(dst, noteVersion)
	return presence.AppendNumber(dst, uint64(alive))
}

// parseNotes reads what appendNotes began.
func parseNotes(b []byte) (alive presence.Time, notes []note, err error) {
	alive, r := notesHead(b)
	if r.err != nil {
		return 0, nil, r.err
	}
	notes, err = parseNoteList(r.b)
	return alive, notes, err
}

// notesHead reads when the node was last alive, and leaves the notes.
func notesHead(b []byte) (alive presence.Time, r reader) {
	if len(b) == 0 || b[0] < leastVersion || b[0] > noteVersion {
		r.err = fmt.Errorf("tracker: checkpoint note of an unknown version; it was written by a newer Porchlight")
		return 0, r
	}
	r.b = b[1:]
	alive = presence.Time(r.number())
	return alive, r
}

// firstNote reads when the node was last alive, and whose the first note is; false
// when there is none.
func firstNote(b []byte) (alive presence.Time, name presence.User, any bool, err error) {
	alive, r := notesHead(b)
	if r.err != nil || len(r.b) == 0 {
		return alive, name, false, r.err
	}
	name.App, name.ID = presence.AppID(r.text()), presence.UserID(r.text())
	return alive, name, r.err == nil, r.err
}

// parseShard reads a shard: its users' folds, then the notes of their open
// sessions.
func parseShard(b []byte) (users map[presence.User]*presence.Folded, notes []note, err error) {
	users = map[presence.User]*presence.Folded{}
	rest, err := store.ParseShard(b, func(name presence.User, f *presence.Folded) error {
		users[name] = f
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	notes, err = parseNoteList(rest)
	return users, notes, err
}

// parseNoteList reads notes until the end.
func parseNoteList(b []byte) (notes []note, err error) {
	r := reader{b: b}
	for r.err == nil && len(r.b) > 0 {
		if n := r.note(); r.err == nil {
			notes = append(notes, n)
		}
	}
	return notes, r.err
}
