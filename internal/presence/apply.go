package presence

import (
	"cmp"
	"slices"
	"time"
)

// KeepClosed is how long a closed session stays in the fold. No writer tries
// an opened or moved again for longer than ten minutes, so a record that comes
// later than this for its closed session does not exist.
const KeepClosed = time.Hour

// Apply folds one record into the present of its user, appends what it
// concludes to facts, in order, and returns the longer facts. u must be the
// present of r.User; Apply keeps r.Status, but not r.
//
// Order within a session is (epoch, kind, revision), whatever the order in
// which records are read: records of a lower epoch, doubled records and those
// of an epoch that ended are void and conclude nothing, but what they say of
// last seen counts always, because it is a maximum. A record of unknown kind
// is void. One exception knows an order: an opened at a higher epoch is void when
// it is read where a later claim of another node has the session open, or, at the
// same counter, had it open until it closed.
//
// Times of one session's facts never go back, though nodes' clocks differ and a
// move may be claimed before, and written after, the end that it undoes.
//
// One record may conclude several things: the closed of the sessions that an
// opened ends stand before it, and a hidden, shown or custom that came with a
// moved stands after it.
//
// Every fact but moved takes the user's next number; before and after of
// neighbouring facts agree. Apply first forgets as Forget(r.Time) does, and it
// makes pointers that Session returned invalid. It is not safe for concurrent use.
//
// An erased voids whatever was claimed of the user until its time, wherever in
// the log it stands, and ends with a fact of its own, after the closed of the
// sessions that were open; numbers begin again behind it.
func (u *Folded) Apply(r *Record, facts []Fact) []Fact {
	u.Forget(r.Time)
	if r.Time <= u.Erased && u.Erased != 0 {
		return facts
	}
	if r.Kind != RecordErased {
		u.see(r)
	}
	st := step{u: u, r: r, facts: facts}
	st.truth, st.shown = u.Available()
	switch r.Kind {
	case RecordOpened:
		st.opened()
	case RecordMoved:
		st.moved()
	case RecordClosed:
		st.closed()
	case RecordHidden, RecordShown, RecordCustom:
		st.said()
	case RecordErased:
		st.erased()
	}
	return st.facts
}

// Forget drops the sessions that closed more than KeepClosed before now, and
// those of which nothing but early claims is known for as long; and where the
// user went away more than KeepAbsent before now. It changes nothing that others
// can see.
func (u *Folded) Forget(now Time) {
	oldest := now.Add(-KeepClosed)
	if oldest > now {
		return // a clock before any time there is
	}
	if u.Erased < oldest {
		u.Erased = 0
	}
	if left := now.Add(-KeepAbsent); len(u.Absent) > 0 && left < now {
		u.dropAbsences(func(a Absence) bool { return a.At < left })
	}
	old := func(s FoldedSession) bool { return s.endedBefore(oldest) }
	for i := range u.Sessions {
		if !u.Sessions[i].endedBefore(oldest) {
			continue
		}
		if u.Sessions = slices.DeleteFunc(u.Sessions, old); len(u.Sessions) == 0 {
			u.Sessions = nil // most users are away most of the time
		}
		return
	}
}

func (s *FoldedSession) endedBefore(t Time) bool {
	switch s.Phase {
	case FoldClosed:
		return s.ClosedAt < t
	case FoldClaimed:
		return s.early == nil || s.early.at < t
	}
	return false
}

// Available reports whether any session is open (truth), and whether any is
// that others may see (shown).
func (u *Folded) Available() (truth, shown bool) {
	for i := range u.Sessions {
		if s := &u.Sessions[i]; s.Phase == FoldOpen {
			truth = true
			shown = shown || !s.Hidden
		}
	}
	return truth, shown
}

// Session returns what is known of the session id, or nil. The pointer is good
// until the next Apply or Forget.
func (u *Folded) Session(id SessionID) *FoldedSession {
	for i := range u.Sessions {
		if u.Sessions[i].ID == id {
			return &u.Sessions[i]
		}
	}
	return nil
}

// see moves both last-seens forward to what r says of them. It looks at
// nothing but r, void or not, so that they depend on no order. What was seen
// before the user was erased is not told by a close that came after.
func (u *Folded) see(r *Record) {
	switch r.Kind {
	case RecordClosed:
		seen := r.LastSeen
		if seen == 0 {
			seen = r.Time
		}
		if u.Erased != 0 && seen <= u.Erased {
			return
		}
		u.LastSeen = max(u.LastSeen, seen)
		if !r.Invisible {
			u.LastSeenShown = max(u.LastSeenShown, seen)
		}
	case RecordHidden:
		// For others this is the moment the user left.
		u.LastSeenShown = max(u.LastSeenShown, r.Time)
	}
}

// step is the folding of one record.
type step struct {
	u            *Folded
	r            *Record
	truth, shown bool // availability after the facts so far
	facts        []Fact
}

// session returns the session of the record, made if unknown.
func (st *step) session() *FoldedSession {
	if s := st.u.Session(st.r.Session); s != nil {
		return s
	}
	st.u.Sessions = append(st.u.Sessions, FoldedSession{ID: st.r.Session, Public: st.r.Public})
	return &st.u.Sessions[len(st.u.Sessions)-1]
}

// place compares the record's epoch with the one known of s: +1 is newer. Early
// claims do not make an epoch known.
func (st *step) place(s *FoldedSession) int {
	if s.Phase == FoldClaimed {
		return +1
	}
	return st.r.Epoch.Compare(s.Epoch)
}

// opened: the session opens at a newer epoch; the same one is open already, or
// was closed before its opened was read and stays closed. One that is outdated is void.
func (st *step) opened() {
	s := st.session()
	if st.place(s) <= 0 || st.outdated(s) {
		return
	}
	if s.Phase == FoldOpen { // nobody told us how the old epoch ended
		st.close(s, s.Epoch, ReasonLinkLost)
		st.emit(RecordClosed, ReasonLinkLost, s)
	}
	replaced := st.replace(s)
	st.open(s)
	st.emit(RecordOpened, ReasonOpened, s)
	st.facts[len(st.facts)-1].Replaces = replaced
}

// outdated reports whether another node claimed this opening before the claim that has
// the session open, whatever its epoch, or that had it open at the same counter, until
// it closed: it was refused, and stored late, and the device has opened it elsewhere
// since. If that is the clocks' mistake, the claimant asks who has the session and moves
// it, or claims the next counter.
func (st *step) outdated(s *FoldedSession) bool {
	switch {
	case s.Epoch.Incarnation == st.r.Epoch.Incarnation:
		return false
	case s.Phase == FoldOpen:
		return st.r.Time < max(s.OpenedAt, s.moved)
	case s.Phase == FoldClosed:
		return st.r.Time < s.OpenedAt && st.r.Epoch.Counter == s.Epoch.Counter
	}
	return false
}

// replace closes the sessions that the opening of s replaces, in the order
// they opened, and returns their public ids.
func (st *step) replace(s *FoldedSession) (public []PublicID) {
	var few [8]int
	ended := few[:0]
	for i := range st.u.Sessions {
		o := &st.u.Sessions[i]
		if o != s && o.Phase == FoldOpen && st.r.Policy.Replaces(&st.r.Device, &o.Device) {
			ended = append(ended, i)
		}
	}
	if len(ended) == 0 {
		return nil
	}
	slices.SortFunc(ended, func(i, j int) int {
		a, b := &st.u.Sessions[i], &st.u.Sessions[j]
		return cmp.Or(cmp.Compare(a.OpenedAt, b.OpenedAt), slices.Compare(a.ID[:], b.ID[:]))
	})
	public = make([]PublicID, 0, len(ended))
	for _, i := range ended {
		o := &st.u.Sessions[i]
		hidden := o.Hidden
		st.close(o, o.Epoch, ReasonReplaced)
		// An opening that was stored late replaces what opened after it was claimed.
		st.u.LastSeen = max(st.u.LastSeen, o.ClosedAt)
		if !hidden {
			st.u.LastSeenShown = max(st.u.LastSeenShown, o.ClosedAt)
		}
		st.emit(RecordClosed, ReasonReplaced, o)
		public = append(public, o.Public)
	}
	return public
}

// moved: an open session goes on at a newer epoch, and nobody outside is told.
// What is not open opens: either the move was read before its opened, or the
// old owner's closed was read before the move, and then the epoch decides
// whatever its reason, because read the other way round the closed would have
// been void. Only replaced is different: there the later opened of the log
// wins, and the one who moved the session will learn it.
func (st *step) moved() {
	s := st.session()
	switch {
	case st.place(s) <= 0:
	case s.Phase == FoldOpen:
		st.move(s)
	case s.Phase == FoldClosed && s.Reason == ReasonReplaced:
	default:
		st.open(s)
		st.emit(RecordOpened, ReasonOpened, s)
	}
}

// move takes the open session s to the record's epoch. Hiding, showing or a
// custom status that came with the move, or was claimed early, is told as if
// it had been read after it.
func (st *step) move(s *FoldedSession) {
	early := s.takeEarly(st.r.Epoch)
	s.Epoch, s.Device, s.moved = st.r.Epoch, st.r.Device, st.r.Time
	s.HiddenRev, s.CustomRev = st.r.Revision, st.r.Revision
	if st.r.Status != nil {
		s.Status = st.r.Status
	}
	st.emit(RecordMoved, ReasonMoved, s)

	hidden := st.r.Invisible
	if early.hiddenRev > s.HiddenRev {
		hidden, s.HiddenRev = early.hidden, early.hiddenRev
	}
	st.hide(s, hidden)
	if early.customRev > s.CustomRev {
		s.CustomRev, s.Status = early.customRev, early.status
		st.emit(RecordCustom, ReasonNone, s)
	}
}

// open makes s open at the record's epoch, with what was claimed of it early.
func (st *step) open(s *FoldedSession) {
	early := s.takeEarly(st.r.Epoch)
	*s = FoldedSession{
		ID: st.r.Session, Public: st.r.Public, Epoch: st.r.Epoch, Phase: FoldOpen,
		OpenedAt: st.r.Time, ClosedAt: s.ClosedAt, Device: st.r.Device,
		Hidden: st.r.Invisible, HiddenRev: st.r.Revision,
		CustomRev: st.r.Revision, Status: st.r.Status,
		early: s.early, // of a later epoch still
	}
	if early.hiddenRev > s.HiddenRev {
		s.Hidden, s.HiddenRev = early.hidden, early.hiddenRev
	}
	if early.customRev > s.CustomRev {
		s.CustomRev, s.Status = early.customRev, early.status
	}
}

// closed: the record's epoch ends, and with it every lower one. A session that
// was not open ends silently: its opened, if it comes later, is void.
func (st *step) closed() {
	s := st.session()
	switch place := st.place(s); {
	case s.Phase == FoldOpen && place >= 0:
		st.close(s, st.r.Epoch, st.r.Reason)
		st.emit(RecordClosed, st.r.Reason, s)
	case s.Phase == FoldClosed && place > 0 && s.Reason == ReasonReplaced:
		st.close(s, st.r.Epoch, ReasonReplaced) // nothing but an opened undoes a replacement
	case place > 0:
		st.close(s, st.r.Epoch, st.r.Reason)
	}
}

// close ends s at the epoch e.
func (st *step) close(s *FoldedSession, e Epoch, reason Reason) {
	s.takeEarly(e)
	s.Phase, s.Epoch, s.Reason = FoldClosed, e, reason
	s.ClosedAt, s.moved = max(st.r.Time, s.OpenedAt, s.ClosedAt), 0
}

// said: hidden, shown or custom.
func (st *step) said() {
	r, s := st.r, st.session()
	switch place := st.place(s); {
	case place > 0:
		s.claimEarly(r)
	case place < 0 || s.Phase != FoldOpen:
	case r.Kind == RecordCustom:
		if r.Revision > s.CustomRev {
			s.CustomRev, s.Status = r.Revision, r.Status
			st.emit(RecordCustom, ReasonNone, s)
		}
	case r.Revision > s.HiddenRev:
		s.HiddenRev = r.Revision
		st.hide(s, r.Kind == RecordHidden)
	}
}

// hide hides or shows the open session s, and tells it if that changes anything.
func (st *step) hide(s *FoldedSession, hidden bool) {
	if s.Hidden == hidden {
		return
	}
	if s.Hidden = hidden; hidden {
		st.emit(RecordHidden, ReasonHidden, s)
	} else {
		st.emit(RecordShown, ReasonShown, s)
	}
}

// emit appends the fact that s came to be as it is.
func (st *step) emit(kind RecordKind, reason Reason, s *FoldedSession) {
	f := Fact{
		Kind: kind, User: st.r.User, Session: *s, Reason: reason, Time: max(st.r.Time, s.OpenedAt, s.ClosedAt),
		LastSeen: st.u.LastSeen, Shown: st.u.LastSeenShown,
		Before: st.truth, ShownBefore: st.shown,
	}
	if f.Session.early = nil; s.Phase == FoldOpen {
		f.Session.ClosedAt = 0
	}
	if kind != RecordMoved {
		st.u.Seq++
		f.Seq = st.u.Seq
	}
	st.truth, st.shown = st.u.Available()
	f.After, f.ShownAfter = st.truth, st.shown
	f.First = kind == RecordOpened && !f.Before || kind == RecordClosed && !f.After
	st.u.noteAbsence(kind, reason, s, st.r.Time)
	st.facts = append(st.facts, f)
}
