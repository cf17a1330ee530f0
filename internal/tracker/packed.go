package tracker

import (
	"slices"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A node holds the users of all nodes. Those whose sessions are all with others,
// and nothing of whom is under way, are kept as a few bytes each; who changes, or
// is asked for, is made whole for as long as that takes.

// packed is a user in few bytes: flags, the owners of his sessions, then the rest.
type packed string

// Flags of a user.
const (
	packedAvailable = 1 << iota // others see him as available
	packedForgets               // the fold has of him what it forgets one day
	packedLate                  // user.lateShown stands behind last seen
)

// Flags of a session in it.
const (
	packedSame   = 1 << iota // shown is as truth
	packedServed             // ttl and until follow
	packedFolded             // ids and device are those of the fold's session of the index that follows
)

// known returns the named user of the shard, or nil. The lock is held.
func (sh *shard) known(name presence.User) *user {
	if u := sh.users[name]; u != nil || sh.peers == nil {
		return u
	}
	return sh.wake(name)
}

// wake makes a packed user whole and puts him into the table; nil when there is
// none. The lock is held.
func (sh *shard) wake(name presence.User) *user {
	p, ok := sh.peers.packed[name]
	if !ok {
		return nil
	}
	u := sh.unpack(name, p)
	delete(sh.peers.packed, name)
	for _, s := range u.sessions {
		s.life.timer.Fire = func() { sh.peers.fire(s) }
	}
	sh.users[name] = u
	return u
}

// peek is known for who only reads: he stays packed.
func (sh *shard) peek(name presence.User) *user {
	if u := sh.users[name]; u != nil || sh.peers == nil {
		return u
	}
	if p, ok := sh.peers.packed[name]; ok {
		return sh.unpack(name, p)
	}
	return nil
}

// rest packs a user if nothing of him is under way here. The lock is held; u is
// not good any more after it.
func (t *Tracker) rest(sh *shard, u *user) {
	if sh.users[u.name] != u || u.erasing != nil || u.withheld > 0 || u.empty() {
		return
	}
	for _, s := range u.sessions {
		if !s.foreign || !s.phase.Open() || s.pending != nil || s.held || s.dead || s.burst.timer != nil {
			return
		}
	}
	sh.peers.scratch = u.pack(sh.peers.scratch[:0])
	delete(sh.users, u.name)
	// A key of its own: the name may share its bytes with a whole message.
	sh.peers.packed[presence.User{App: u.tally.app, ID: presence.UserID(strings.Clone(string(u.name.ID)))}] = packed(sh.peers.scratch)
}

// restOf is rest by name.
func (t *Tracker) restOf(sh *shard, name presence.User) {
	if u := sh.users[name]; u != nil {
		t.rest(sh, u)
	}
}

// restAll packs everybody of a shard who can be, and forgets what the fold of each
// need not know any more. Who is packed is not put among the others for that: the
// table would keep the room.
func (t *Tracker) restAll(sh *shard) {
	now := t.now()
	for _, u := range sh.users {
		u.folded.Forget(now)
		t.rest(sh, u)
	}
	for name, p := range sh.peers.packed {
		if p[0]&packedForgets == 0 {
			continue
		}
		u := sh.unpack(name, p)
		u.folded.Forget(now)
		sh.peers.scratch = u.pack(sh.peers.scratch[:0])
		if string(sh.peers.scratch) != string(p) {
			sh.peers.packed[name] = packed(sh.peers.scratch)
		}
	}
}

// packedOf lists the packed users who have sessions of a node. The lock is held.
func (sh *shard) packedOf(incarnation uint64) (names []presence.User) {
	for name, p := range sh.peers.packed {
		if p.ofOwner(incarnation) {
			names = append(names, name)
		}
	}
	return names
}

// ofOwner reports whether any session of a packed user is a node's; of nobody, none is.
func (p packed) ofOwner(incarnation uint64) bool {
	if p == "" {
		return false
	}
	count, at := p.number(1)
	for ; count > 0; count-- {
		var owner uint64
		if owner, at = p.number(at); owner == incarnation {
			return true
		}
	}
	return false
}

// number reads the number at a place, and returns the place behind it: a sweep looks
// at everybody, so nothing is copied.
func (p packed) number(at int) (n uint64, next int) {
	for shift := 0; ; shift += 7 {
		c := p[at]
		at++
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n, at
		}
	}
}

func (p packed) available() bool { return p[0]&packedAvailable != 0 }

// wakeOf makes the users whole who have sessions of a node, or all with 0.
func (sh *shard) wakeOf(incarnation uint64) {
	for name, p := range sh.peers.packed {
		if incarnation == 0 || p.ofOwner(incarnation) {
			sh.wake(name)
		}
	}
}

// forgets reports whether the fold has of him what it forgets one day: anything but
// open sessions.
func (u *user) forgets() bool {
	return u.folded.Erased != 0 || len(u.folded.Absent) > 0 ||
		slices.ContainsFunc(u.folded.Sessions, func(f presence.FoldedSession) bool { return f.Phase != presence.FoldOpen })
}

func (u *user) pack(b []byte) []byte {
	flags := byte(0)
	if u.available {
		flags = packedAvailable
	}
	if u.forgets() {
		flags |= packedForgets
	}
	if u.lateShown != 0 && !u.available { // else the next end tells it
		flags |= packedLate
	}
	b = presence.AppendNumber(append(b, flags), uint64(len(u.sessions)))
	for _, s := range u.sessions {
		b = presence.AppendNumber(b, s.epoch.Incarnation)
	}
	for _, n := range [...]uint64{uint64(u.version), uint64(u.floor), uint64(u.veiled), uint64(u.seen), uint64(u.shown)} {
		b = presence.AppendNumber(b, n)
	}
	if flags&packedLate != 0 {
		b = presence.AppendNumber(b, uint64(u.lateShown))
	}
	b = presence.AppendFolded(b, presence.User{}, &u.folded)
	for _, s := range u.sessions {
		b = s.pack(b)
	}
	return b
}

func (s *session) pack(b []byte) []byte {
	flags, index := byte(0), 0
	if s.truth == s.shown {
		flags |= packedSame
	}
	if s.life.ttl > 0 {
		flags |= packedServed
	}
	for i := range s.user.folded.Sessions {
		if f := &s.user.folded.Sessions[i]; f.ID == s.id && f.Public == s.public && f.Device == *s.device {
			flags, index = flags|packedFolded, i
		}
	}
	b = append(b, flags)
	if flags&packedFolded != 0 {
		b = presence.AppendNumber(b, uint64(index))
	} else {
		d := s.device
		b = append(append(b, s.id[:]...), s.public[:]...)
		b = appendTexts(b, d.Platform, d.Product, d.Locale, d.ID, d.Version, d.Addr, d.Door)
	}
	b = presence.AppendNumber(b, uint64(s.epoch.Counter))
	b = presence.AppendNumber(b, s.revision)
	b = packFace(b, &s.truth)
	if flags&packedSame == 0 {
		b = packFace(b, &s.shown)
	}
	if flags&packedServed != 0 {
		b = presence.AppendNumber(presence.AppendNumber(b, uint64(s.life.ttl.Milliseconds())), uint64(s.few().until))
	}
	if s.status == nil {
		return presence.AppendNumber(b, 0)
	}
	var room [128]byte // most statuses are shorter
	status := presence.AppendStatus(room[:0], s.status)
	return append(presence.AppendNumber(b, uint64(len(status))), status...)
}

// packFace appends a face with this node's versions; it is of an open session.
func packFace(b []byte, f *presence.Face) []byte {
	for _, n := range [...]uint64{uint64(f.Opened), uint64(f.Changed), uint64(f.Closed), uint64(f.Reason), f.Revision, uint64(f.Since), uint64(f.Updated - f.Since)} {
		b = presence.AppendNumber(b, n)
	}
	if f.Closed != 0 {
		b = presence.AppendNumber(b, uint64(f.ClosedAt))
	}
	return b
}

// unpack makes a user whole, outside the table. The lock is held.
func (sh *shard) unpack(name presence.User, p packed) *user {
	sh.peers.scratch = append(sh.peers.scratch[:0], p[1:]...)
	r := reader{b: sh.peers.scratch} // nothing keeps any of it
	var owners [8]uint64
	list := owners[:0]
	for range r.number() {
		list = append(list, r.number())
	}
	u := &user{name: name, tally: sh.tallies.app(name.App), available: p.available()}
	u.version, u.floor, u.veiled = uint32(r.number()), uint32(r.number()), uint32(r.number())
	u.seen, u.shown = presence.Time(r.number()), presence.Time(r.number())
	if p[0]&packedLate != 0 {
		u.lateShown = uint32(r.number())
	}
	if r.err == nil {
		var f *presence.Folded
		if _, f, r.b, r.err = presence.ParseFolded(r.b); r.err == nil {
			u.folded = *f
		}
	}
	for _, owner := range list {
		if r.err == nil {
			u.sessions = append(u.sessions, r.session(u, owner))
		}
	}
	return u // newest paints him if anybody looks: who changes is painted anyway
}

// session reads what session.pack wrote.
func (r *reader) session(u *user, owner uint64) *session {
	s := &session{user: u, foreign: true, phase: presence.PhaseLive}
	var flags [1]byte
	r.bytes(flags[:])
	if flags[0]&packedFolded != 0 {
		f := &u.folded.Sessions[r.number()]
		device := f.Device
		s.id, s.public, s.device = f.ID, f.Public, &device
	} else {
		d := &presence.Device{}
		r.bytes(s.id[:])
		r.bytes(s.public[:])
		r.texts(&d.Platform, &d.Product, &d.Locale, &d.ID, &d.Version, &d.Addr, &d.Door)
		s.device = d
	}
	s.epoch = presence.Epoch{Counter: uint32(r.number()), Incarnation: owner}
	s.revision = r.number()
	s.truth = r.packedFace()
	if s.shown = s.truth; flags[0]&packedSame == 0 {
		s.shown = r.packedFace()
	}
	if flags[0]&packedServed != 0 {
		s.life.ttl = time.Duration(r.number()) * time.Millisecond
		s.seldom().until = presence.Time(r.number())
	}
	if status := r.part(); len(status) > 0 {
		s.status, r.err = presence.ParseStatus(status)
	}
	return s
}

func (r *reader) packedFace() (f presence.Face) {
	f.Opened, f.Changed, f.Closed = uint32(r.number()), uint32(r.number()), uint32(r.number())
	f.Reason, f.Revision = presence.Reason(r.number()), r.number()
	f.Since = presence.Time(r.number())
	f.Updated = f.Since + presence.Time(r.number())
	if f.Closed != 0 {
		f.ClosedAt = presence.Time(r.number())
	}
	return f
}
