package presence

// RecordKind says what a record claims.
type RecordKind uint8

// The kinds of records.
const (
	RecordNone   RecordKind = iota
	RecordOpened            // the session opened at this epoch
	RecordMoved             // the open session was taken over at this epoch
	RecordClosed            // the session's epoch ended
	RecordHidden            // appear_offline on
	RecordShown             // appear_offline off
	RecordCustom            // a custom status, for interfaces that report them
	RecordErased            // the user is erased: all that was claimed of him until then is void
	recordKindCount
)

func (k RecordKind) String() string {
	if k >= recordKindCount {
		return "?"
	}
	return [...]string{"none", "opened", "moved", "closed", "hidden", "shown", "custom", "erased"}[k]
}

// Record is one claim of the log: self-contained, so that a reader that sees
// it doubled, late or alone still knows what it claims. An erased record says
// nothing of a session: only Kind, User and Time count.
type Record struct {
	Kind     RecordKind
	User     User
	Session  SessionID
	Public   PublicID
	Epoch    Epoch
	Revision uint64 // of the session's status when the claim was made
	Reason   Reason
	Time     Time // when it happened, by the clock of the node that claims it

	// Device, on every kind: webhooks report it with each change.
	Device Device
	// Policy counts on opened.
	Policy MultiDevice
	// Invisible: on opened, moved and closed, whether the session is hidden
	// from others at that moment.
	Invisible bool
	// LastSeen counts on closed: when the last byte was read from the session.
	LastSeen Time
	// Status: the first status on opened, so that a crash within a second of
	// it shows no default; the custom status on custom; among several nodes what
	// is shown on shown; nil otherwise.
	Status *Status
}
