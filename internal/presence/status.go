package presence

// Show is what one session says about its user's readiness (RFC 6121 "show").
type Show uint8

// The shows. The zero value is the default of a session that said nothing.
const (
	Online Show = iota
	Away
	Busy
	showCount
)

func (s Show) String() string { return [...]string{"online", "away", "busy", "?"}[s&3] }

// Bounds of a status (protocol note A5).
const (
	MaxProperties    = 32
	MaxPropertyKey   = 64   // bytes
	MaxPropertyValue = 256  // bytes of text, token or fallback
	MaxRichText      = 256  // characters
	MaxStatusBytes   = 8192 // encoded
	MaxRefDepth      = 4    // references within references
)

// Status is what one session says about itself. A *Status is never changed
// once it is shared; a new status is a new value.
type Status struct {
	Show       Show
	Text       Value      // KindNone, KindText (literal) or KindRef (template)
	Properties []Property // sorted by key, no key twice
	Invisible  bool       // appear_offline
}

// Property is a named value of a session.
type Property struct {
	Key   string
	Value Value
}

// ValueKind says which field of a Value counts.
type ValueKind uint8

// The kinds of values.
const (
	KindNone ValueKind = iota
	KindText
	KindInteger
	KindNumber
	KindFlag
	KindRef
	valueKindCount
)

// Value is one value of a property or of an argument of a template.
type Value struct {
	Kind    ValueKind
	Text    string
	Integer int64
	Number  float64
	Flag    bool
	Ref     *Ref
}

// Ref points at an entry of a product's catalogue of messages; it becomes text
// in the locale of whoever reads it.
type Ref struct {
	Token    string
	Args     []Property // sorted by key
	Fallback string     // shown when no catalogue has the token
}

// Availability is the user-level answer derived from all sessions.
type Availability uint8

// The availabilities, from nobody there to do not disturb.
const (
	Unavailable Availability = iota
	AvailableAway
	AvailableOnline
	AvailableBusy
)

func (a Availability) String() string {
	return [...]string{"unavailable", "away", "online", "busy"}[a&3]
}

// addUp is the one table that makes a user's availability of two sessions':
// busy on one device wins; away only if all are away.
var addUp = [4][4]Availability{
	Unavailable:     {Unavailable, AvailableAway, AvailableOnline, AvailableBusy},
	AvailableAway:   {AvailableAway, AvailableAway, AvailableOnline, AvailableBusy},
	AvailableOnline: {AvailableOnline, AvailableOnline, AvailableOnline, AvailableBusy},
	AvailableBusy:   {AvailableBusy, AvailableBusy, AvailableBusy, AvailableBusy},
}

// With adds one open session's show to a.
func (a Availability) With(s Show) Availability {
	one := AvailableOnline
	switch s {
	case Away:
		one = AvailableAway
	case Busy:
		one = AvailableBusy
	}
	return addUp[a&3][one]
}
