package presence

// FoldedSession is what the log says of one session.
type FoldedSession struct {
	ID        SessionID
	Public    PublicID
	Epoch     Epoch
	Phase     FoldPhase
	Reason    Reason // why it closed; ReasonNone while open
	OpenedAt  Time
	ClosedAt  Time // when it ended; of one that is open when it had ended before, in the fold only
	Device    Device
	Hidden    bool
	HiddenRev uint64  // revision of the last hidden or shown that counted (they are one kind)
	CustomRev uint64  // revision of the last custom that counted
	Status    *Status // first status of the epoch, or the last custom one; may be nil

	// moved is when the epoch was claimed, if a move claimed it: an erasure
	// between the opening and the move leaves the session open. 0: by an opening.
	moved Time
	// early holds what was claimed of an epoch above Epoch before its opened or
	// moved was read; nil, as nearly always, when nothing was. Facts never carry it.
	early *earlyClaims
}

// ClaimedAt is when its epoch was claimed.
func (s *FoldedSession) ClaimedAt() Time {
	if s.moved != 0 {
		return s.moved
	}
	return s.OpenedAt
}

// FoldPhase is a session's place in the fold.
type FoldPhase uint8

// The places. A session is FoldClaimed when nothing but a hidden, shown or
// custom of it was read so far: then only ID and Public are set, and what was
// claimed waits aside for the opened of its epoch.
const (
	FoldClaimed FoldPhase = iota
	FoldOpen
	FoldClosed
)

// Folded is the present of one user as the log tells it. The zero value is a
// user never heard of.
type Folded struct {
	Seq           uint64 // the user's number: facts so far, without gap
	LastSeen      Time   // true
	LastSeenShown Time   // what others may know: stands still while invisible
	// Erased is when the user was last erased; 0 when he was not, or so long ago
	// that no claim from before it can come any more.
	Erased   Time
	Sessions []FoldedSession
	// Absent is where others saw the user disconnect without logging out, and not
	// come back, within KeepAbsent. The list is never changed in place.
	Absent []Absence
}

// Fact is what the fold concludes of a record: it carries what needs order.
type Fact struct {
	Kind     RecordKind // RecordMoved facts have Seq 0: nobody outside is told
	Seq      uint64     // the user's number of this fact
	User     User
	Session  FoldedSession // as it stands after the fact
	Reason   Reason
	Time     Time
	LastSeen Time // the user's, after the fact: true
	Shown    Time // the same as others may know it

	Before, After           bool // is the user available, in truth
	ShownBefore, ShownAfter bool // is the user available to others

	First bool // opened: no other session was open; closed: no other stays
	// Replaces, on opened: the sessions the policy closed for it; their closed
	// facts come just before.
	Replaces []PublicID
}
