package tracker

import (
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// told is one session as its owner tells other nodes of it: all that they need
// to show it, and to go on with it when the owner is gone. Applied twice, or after
// a newer one, it changes nothing.
type told struct {
	ref      Ref
	public   presence.PublicID
	epoch    presence.Epoch
	revision uint64
	status   *presence.Status // nil: the default, or closed
	device   presence.Device
	// truth and shown have their versions as 0 or 1 only: those are each node's own.
	truth, shown presence.Face
	seen, veiled presence.Time // the user's last seen, in truth and as others may know it
	ttl          time.Duration // a server set it; else 0
	until        presence.Time
	held         bool // another node is about to take it over: no grace ends meanwhile
	created      bool // nobody sees it yet; only in the answer to who takes it over
}

// toldVersion stands in front of each. A node that does not know it passes over
// the session until it is upgraded; the log still tells it who is there.
const toldVersion = 1

// Flags of a told session, and of a face in it.
const (
	toldSame   = 1 << iota // shown is as truth
	toldServed             // ttl and until follow
	toldHeld
	toldCreated

	faceEver   = 1 << 0
	faceClosed = 1 << 1
)

func (m *told) closed() bool { return m.truth.Closed != 0 }

func (m *told) hidden() bool { return m.status != nil && m.status.Invisible }

func (m *told) append(dst []byte) []byte {
	flags := byte(0)
	if m.truth == m.shown {
		flags |= toldSame
	}
	if m.ttl > 0 {
		flags |= toldServed
	}
	if m.held {
		flags |= toldHeld
	}
	if m.created {
		flags |= toldCreated
	}
	dst = append(dst, toldVersion, flags)
	dst = appendTexts(dst, string(m.ref.User.App), string(m.ref.User.ID))
	dst = append(append(dst, m.ref.Session[:]...), m.public[:]...)
	dst = presence.AppendNumber(dst, uint64(m.epoch.Counter))
	dst = presence.AppendNumber(dst, m.epoch.Incarnation)
	dst = presence.AppendNumber(dst, m.revision)
	dst = presence.AppendNumber(dst, uint64(m.seen))
	dst = presence.AppendNumber(dst, uint64(m.veiled))
	dst = appendFace(dst, &m.truth)
	if m.truth != m.shown {
		dst = appendFace(dst, &m.shown)
	}
	if m.ttl > 0 {
		dst = presence.AppendNumber(dst, uint64(m.ttl.Milliseconds()))
		dst = presence.AppendNumber(dst, uint64(m.until))
	}
	d := &m.device
	dst = appendTexts(dst, d.Platform, d.Product, d.Locale, d.ID, d.Version, d.Addr, d.Door)
	return presence.AppendStatus(dst, m.status)
}

func appendFace(dst []byte, f *presence.Face) []byte {
	flags := byte(0)
	if f.Opened != 0 {
		flags |= faceEver
	}
	if f.Closed != 0 {
		flags |= faceClosed
	}
	dst = append(dst, flags)
	dst = presence.AppendNumber(dst, f.Revision)
	dst = presence.AppendNumber(dst, uint64(f.Since))
	dst = presence.AppendNumber(dst, uint64(f.Updated))
	if f.Closed != 0 {
		dst = append(presence.AppendNumber(dst, uint64(f.ClosedAt)), byte(f.Reason))
	}
	return dst
}

// parseTold reads what append wrote; what it returns keeps nothing of b.
func parseTold(b []byte) (m told, err error) {
	r := reader{b: b}
	var head [2]byte
	r.bytes(head[:])
	if r.err == nil && (head[0] != toldVersion || head[1] >= toldCreated<<1) {
		return m, errTold
	}
	r.texts((*string)(&m.ref.User.App), (*string)(&m.ref.User.ID))
	if r.err == nil && (len(m.ref.User.App) > presence.MaxAppID || len(m.ref.User.ID) > presence.MaxUserID || m.ref.User.ID == "") {
		return m, errTold
	}
	r.bytes(m.ref.Session[:])
	r.bytes(m.public[:])
	m.epoch.Counter = uint32(r.number())
	m.epoch.Incarnation = r.number()
	m.revision = r.number()
	m.seen, m.veiled = presence.Time(r.number()), presence.Time(r.number())
	m.truth = r.face()
	if m.shown = m.truth; head[1]&toldSame == 0 {
		m.shown = r.face()
	}
	if head[1]&toldServed != 0 {
		m.ttl, m.until = time.Duration(r.number())*time.Millisecond, presence.Time(r.number())
	}
	m.held, m.created = head[1]&toldHeld != 0, head[1]&toldCreated != 0
	d := &m.device
	r.texts(&d.Platform, &d.Product, &d.Locale, &d.ID, &d.Version, &d.Addr, &d.Door)
	if r.err != nil {
		return m, r.err
	}
	m.status, err = presence.ParseStatus(r.b)
	return m, err
}

func (r *reader) face() (f presence.Face) {
	var one [1]byte
	r.bytes(one[:])
	flags := one[0]
	if flags > faceEver|faceClosed {
		r.err = errTold
	}
	f.Revision = r.number()
	f.Since, f.Updated = presence.Time(r.number()), presence.Time(r.number())
	if flags&faceEver != 0 {
		f.Opened, f.Changed = 1, 1
	}
	if flags&faceClosed != 0 {
		f.Closed, f.ClosedAt = 1, presence.Time(r.number())
		r.bytes(one[:])
		f.Reason = presence.Reason(one[0])
	}
	return f
}

// flat is a face as it is told: without this node's versions.
func flat(f presence.Face) presence.Face {
	if f.Opened != 0 {
		f.Opened, f.Changed = 1, 1
	} else {
		f.Changed = 0
	}
	if f.Closed != 0 {
		f.Closed = 1
	} else {
		f.ClosedAt, f.Reason = 0, 0
	}
	return f
}

// appendTexts appends the lengths of all texts and then their bytes, so that
// reader.texts can read them back with one allocation.
func appendTexts(dst []byte, texts ...string) []byte {
	for _, s := range texts {
		dst = presence.AppendNumber(dst, uint64(len(s)))
	}
	for _, s := range texts {
		dst = append(dst, s...)
	}
	return dst
}

// texts reads what appendTexts wrote; all texts share one string.
func (r *reader) texts(to ...*string) {
	var lengths [8]uint64
	total := uint64(0)
	for i := range to {
		lengths[i] = r.number()
		if total += lengths[i]; r.err == nil && (lengths[i] > uint64(len(r.b)) || total > uint64(len(r.b))) {
			r.err = errCut
		}
	}
	if r.err != nil {
		return
	}
	all := string(r.b[:total])
	r.b = r.b[total:]
	for i, s := range to {
		*s, all = all[:lengths[i]], all[lengths[i]:]
	}
}

// told is s as it stands, for the other nodes. The lock is held.
func (s *session) told() told {
	u := s.user
	m := told{
		ref: Ref{u.name, s.id}, public: s.public, epoch: s.epoch, revision: s.revision,
		device: *s.device, truth: flat(s.truth), shown: flat(s.shown), seen: u.seen, veiled: u.shown,
		ttl: s.life.ttl, created: s.phase == presence.PhaseCreated, held: s.held,
	}
	if m.ttl > 0 {
		m.until = s.few().until
	}
	if s.phase != presence.PhaseClosed {
		m.status = s.status
	}
	return m
}
