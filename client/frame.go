package client

import "time"

// What the server sends on a session's stream, free of any transport: a door
// below makes frames of what it receives, everything above knows only these.

// frame is one numbered message; at most one pointer is set. A frame with none
// is a sign of life.
type frame struct {
	sequence     uint64
	connected    *connected
	notification *notification
	settled      *settled
	ended        *endedWatch
	closing      *closing
}

// connected is the first frame of a stream.
type connected struct {
	id      string // public, of the session
	resumed bool
	resync  bool // the picture may be old: everything is told anew
}

// noteKind is what a notification tells of its session.
type noteKind uint8

const (
	noteCurrent noteKind = iota
	noteOpened
	noteUpdated
	noteClosed
)

// notification is news of one user.
type notification struct {
	user       string
	available  bool
	lastSeen   time.Time
	staleSince time.Time
	at         time.Time
	attributes map[string]any
	session    *UserSession // nil: no session at all, or only the above changed
	kind       noteKind
	reason     CloseReason // noteClosed only
}

// settled marks the end of a snapshot: of one user, or of all that were due.
type settled struct {
	user    string // "" is all
	friends bool   // every friend was told of since the server last started over
}

// endedWatch says that nothing of a user follows.
type endedWatch struct {
	user       string
	unfriended bool // not asked for: he left the friend list
}

// closing is the last frame of a stream.
type closing struct {
	reason     closingReason
	retryAfter time.Duration
	session    CloseReason // closingSession only
}

type closingReason uint8

const (
	closingUnknown closingReason = iota
	closingReplaced
	closingSession
	closingSlow
	closingDraining
	closingToken
)

// CloseReason is why a session was closed.
type CloseReason string

// The reasons for closing.
const (
	ClosedByUser         CloseReason = "client"       // left, logged out, or went invisible
	ClosedByDisconnect   CloseReason = "disconnected" // link lost and not back in time
	ClosedByHeartbeat    CloseReason = "heartbeat"    // no sign of life
	ClosedBySupersession CloseReason = "superseded"   // another session of the user took its place
	ClosedByAdmin        CloseReason = "admin"
	ClosedByExpiry       CloseReason = "expired" // the access token's life ended
	ClosedUnknown        CloseReason = ""        // it was gone when we were back
)

// made is a new session.
type made struct {
	token     string
	heartbeat time.Duration // also the longest silence of a healthy stream
	batch     int           // the most users in one call
}
