package presence

import (
	"fmt"
	"math"
)

// The first byte of a folded session. The phase stands above the first flags.
const (
	sessionHidden = 1 << iota
	sessionEarly         // claims of a later epoch follow
	sessionPhase         // bits from here on
	sessionMoved  = 0x80 // when a move claimed the epoch follows
)

// erasedVersion stands in front of a folded user who was erased, with the time
// of it; all others are written as codecVersion has them.
const erasedVersion = 2

// absentVersion stands in front of a folded user who is absent somewhere: when he
// was erased (0: never) follows, and where he is absent.
const absentVersion = 3

// leastSession is the least size of a folded session in bytes: flags, reason,
// two ids, epoch, two times, two revisions, lengths of the texts, no status.
const leastSession = 2 + 32 + 2 + 2 + 2 + 7 + 1

// AppendFolded appends the whole present of u, what it needs to go on folding
// included, and returns the longer dst. It marks its own end: several may
// stand one after another. u must be within MaxAppID and MaxUserID. Texts of a
// Device are cut after 1,024 bytes.
func AppendFolded(dst []byte, u User, f *Folded) []byte {
	switch {
	case len(f.Absent) > 0:
		dst = appendSigned(appendUser(append(dst, absentVersion), u), int64(f.Erased))
		dst = appendAbsences(dst, f.Absent)
	case f.Erased != 0:
		dst = appendSigned(appendUser(append(dst, erasedVersion), u), int64(f.Erased))
	default:
		dst = appendUser(append(dst, codecVersion), u)
	}
	dst = AppendNumber(dst, f.Seq)
	dst = appendSigned(dst, int64(f.LastSeen))
	dst = appendSigned(dst, int64(f.LastSeenShown))
	dst = AppendNumber(dst, uint64(len(f.Sessions)))
	for i := range f.Sessions {
		dst = appendSession(dst, &f.Sessions[i])
	}
	return dst
}

// ParseFolded reads one user's present as AppendFolded wrote it and returns
// the bytes that follow it. What it returns, but for rest, keeps nothing of b.
func ParseFolded(b []byte) (u User, f *Folded, rest []byte, err error) {
	r := reader{b: b}
	f = &Folded{}
	switch {
	case len(b) > 0 && b[0] == absentVersion:
		r.byte()
		u = r.user()
		f.Erased, f.Absent = Time(r.signed()), r.absences()
	case len(b) > 0 && b[0] == erasedVersion:
		r.byte()
		u = r.user()
		if f.Erased = Time(r.signed()); f.Erased == 0 {
			r.fail(errNumber)
		}
	default:
		r.version()
		u = r.user()
	}
	f.Seq, f.LastSeen, f.LastSeenShown = r.number(), Time(r.signed()), Time(r.signed())
	n := r.count(math.MaxInt, leastSession)
	if n > 0 {
		f.Sessions = make([]FoldedSession, n)
	}
	for i := range f.Sessions {
		r.session(&f.Sessions[i])
		if r.err != nil {
			return User{}, nil, nil, fmt.Errorf("presence: session %d of %d of a folded user: %w", i, n, r.err)
		}
	}
	if r.err != nil {
		return User{}, nil, nil, fmt.Errorf("presence: folded user: %w", r.err)
	}
	return u, f, r.b, nil
}

func appendSession(dst []byte, s *FoldedSession) []byte {
	flags := byte(s.Phase) * sessionPhase
	if s.Hidden {
		flags |= sessionHidden
	}
	if s.early != nil {
		flags |= sessionEarly
	}
	if s.moved != 0 {
		flags |= sessionMoved
	}
	dst = append(dst, flags, byte(s.Reason))
	dst = append(append(dst, s.ID[:]...), s.Public[:]...)
	dst = appendEpoch(dst, s.Epoch)
	dst = appendSigned(appendSigned(dst, int64(s.OpenedAt)), int64(s.ClosedAt))
	dst = AppendNumber(AppendNumber(dst, s.HiddenRev), s.CustomRev)
	dst = appendStatus(appendDevice(dst, &s.Device), s.Status)
	if s.early != nil {
		dst = appendEarly(dst, s.early)
	}
	if s.moved != 0 {
		dst = appendSigned(dst, int64(s.moved))
	}
	return dst
}

func (r *reader) session(s *FoldedSession) {
	flags := r.byte()
	s.Phase = FoldPhase(flags &^ sessionMoved / sessionPhase)
	s.Hidden = flags&sessionHidden != 0
	if s.Phase > FoldClosed {
		r.fail(errKind)
	}
	s.Reason = r.reason()
	r.id((*[16]byte)(&s.ID))
	r.id((*[16]byte)(&s.Public))
	s.Epoch = r.epoch()
	s.OpenedAt, s.ClosedAt = Time(r.signed()), Time(r.signed())
	s.HiddenRev, s.CustomRev = r.number(), r.number()
	r.device(&s.Device)
	s.Status = r.status()
	if flags&sessionEarly != 0 {
		s.early = r.early()
	}
	if flags&sessionMoved != 0 {
		if s.moved = Time(r.signed()); s.moved == 0 {
			r.fail(errNumber)
		}
	}
}

func appendEarly(dst []byte, e *earlyClaims) []byte {
	hidden := byte(0)
	if e.hidden {
		hidden = 1
	}
	dst = appendEpoch(append(dst, hidden), e.epoch)
	dst = appendSigned(dst, int64(e.at))
	dst = AppendNumber(AppendNumber(dst, e.hiddenRev), e.customRev)
	return appendStatus(dst, e.status)
}

func (r *reader) early() *earlyClaims {
	hidden := r.byte()
	if hidden > 1 {
		r.fail(errKind)
	}
	e := &earlyClaims{hidden: hidden == 1, epoch: r.epoch(), at: Time(r.signed())}
	e.hiddenRev, e.customRev, e.status = r.number(), r.number(), r.status()
	return e
}
