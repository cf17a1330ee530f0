package presence

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// erased: nothing stays of what was claimed until the record's time. What was
// claimed later and read earlier stays, so that the order of reading does not
// matter.
func (st *step) erased() {
	u, at := st.u, st.r.Time
	if at == 0 {
		return // no time at all
	}
	for i := range u.Sessions {
		if s := &u.Sessions[i]; s.Phase == FoldOpen && s.claimedAt() <= at {
			st.close(s, s.Epoch, ReasonDropped)
			st.emit(RecordClosed, ReasonDropped, s)
		}
	}
	for i := range u.Sessions {
		s := &u.Sessions[i]
		switch {
		case s.claimedAt() <= at: // claims of a later epoch may go on waiting for it
			*s = FoldedSession{ID: s.ID, Public: s.Public, early: s.early}
		case s.Phase == FoldOpen && s.OpenedAt <= at: // it was taken over since
			s.OpenedAt, s.moved = s.moved, 0
		}
	}
	u.Sessions = slices.DeleteFunc(u.Sessions, func(s FoldedSession) bool {
		return s.Phase == FoldClaimed && (s.early == nil || s.early.at <= at)
	})
	if len(u.Sessions) == 0 {
		u.Sessions = nil
	}
	if u.LastSeen <= at {
		u.LastSeen = 0
	}
	if u.LastSeenShown <= at {
		u.LastSeenShown = 0
	}
	u.dropAbsences(func(a Absence) bool { return a.At <= at })
	u.Erased = at
	u.Seq++
	st.facts = append(st.facts, Fact{
		Kind: RecordErased, Seq: u.Seq, User: st.r.User, Time: at, LastSeen: u.LastSeen, Shown: u.LastSeenShown,
		Before: st.truth, After: st.truth, ShownBefore: st.shown, ShownAfter: st.shown,
	})
	u.Seq = 0
}

// claimedAt is when the session came to be as it is, early claims apart: its
// epoch was claimed or ended then.
func (s *FoldedSession) claimedAt() Time {
	switch s.Phase {
	case FoldOpen:
		return max(s.OpenedAt, s.moved)
	case FoldClosed:
		return s.ClosedAt
	}
	return 0
}

// Strip takes out what was claimed of the user until a time, but for what facts
// are counted and told apart by: his number, and of his sessions the ids, the
// epochs, and when and whether they are open. Folding goes on with that, up to
// the erasure, if the devices of the records are stripped too.
func (u *Folded) Strip(at Time, user User) {
	for i := range u.Sessions {
		s := &u.Sessions[i]
		if s.early != nil && s.early.at <= at {
			early := *s.early
			early.status, s.early = nil, &early
		}
		if s.claimedAt() <= at {
			s.Device, s.Status = s.Device.Stripped(user), nil
		}
	}
	if u.LastSeen <= at {
		u.LastSeen = 0
	}
	if u.LastSeenShown <= at {
		u.LastSeenShown = 0
	}
	u.dropAbsences(func(a Absence) bool { return a.At <= at })
}

// Stripped is what may stay of an erased user's device: its platform and door,
// and what decides whether it replaces another, hashed with the user's name, its id.
func (d *Device) Stripped(user User) Device {
	stripped := Device{Platform: d.Platform, Door: d.Door}
	if d.ID != "" {
		h := sha256.New()
		for _, s := range []string{string(user.App), string(user.ID), d.ID} {
			h.Write(AppendText(nil, s))
		}
		stripped.ID = hex.EncodeToString(h.Sum(nil)[:16])
	}
	return stripped
}
