package hub

// Source bits of an edge: why it is there.
const (
	sourceUser    = 1 << iota // an explicit subscription
	sourceFriends             // the user's friend list

	// No source is left and the device must be told so; then the edge goes.
	owesUnsubscribed
	owesUnfriended
)

// owes are the bits of an edge that only waits for its end to be told, sources
// those and the others.
const (
	owes    = owesUnsubscribed | owesUnfriended
	sources = sourceUser | sourceFriends | owes
)

// How the next difference on an edge is made.
const (
	sendChanges  = iota // what changed since the version last sent
	sendShown           // the same, after a veil: every open session has opened
	sendAsked           // the whole picture, and the closes since that version
	sendSnapshot        // the whole picture, as a first one
	sendAgain           // the whole picture and the closes of the resume window
	sendOver            // the same after an empty one: a close is forgotten already
)

// The bits of an edge above its sources: how it is sent, and whether the device
// may not have the last sendOver.
const (
	sendShift = 4
	sendBits  = 7 << sendShift
	overBit   = 1 << 7
)

// edge is a watcher's end of a subscription: 16 bytes without a pointer, for
// these are most of what a node holds.
type edge struct {
	target uint32 // in Hub.targets; 0: free
	// version of the target that was last sent, and the number of the last
	// message about it: a resume needs both (design §5). Of a free edge version is
	// the next free one.
	version  uint32
	sequence uint32
	near     [3]uint8 // its slot in target.slots, or farSlot
	bits     uint8
}

// farSlot stands for every slot that 24 bits do not name: it is looked for.
const farSlot = 1<<24 - 1

func (e *edge) slot() uint32 { return uint32(e.near[0]) | uint32(e.near[1])<<8 | uint32(e.near[2])<<16 }

func (e *edge) setSlot(slot uint32) {
	slot = min(slot, farSlot)
	e.near = [3]uint8{uint8(slot), uint8(slot >> 8), uint8(slot >> 16)}
}

func (e *edge) send() uint8 { return e.bits & sendBits >> sendShift }

func (e *edge) setSend(how uint8) { e.bits = e.bits&^sendBits | how<<sendShift }

func (e *edge) over() bool { return e.bits&overBit != 0 }

func (e *edge) setOver(over bool) {
	if e.bits &^= overBit; over {
		e.bits |= overBit
	}
}
