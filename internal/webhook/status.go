package webhook

import (
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Status is how an endpoint is doing.
type Status struct {
	App    presence.AppID
	Name   string
	Node   string // of several nodes the one that serves it, or is to; "": there is one
	Format string
	Host   string // of the address; the rest may hold a secret
	Lanes  int
	// Doing is one word: "live", "behind" (delivering what is old), "waiting" (a
	// failed delivery waits for its next attempt), "paused" (the breaker is open),
	// "gone" (the receiver wants nothing more) or "stopped" (another node serves it).
	Doing string
	// Position is through where everything is delivered or a dead letter.
	Position Position
	// Waiting counts events that were read and not delivered yet; Unread whether
	// the log has more that was not read.
	Waiting int
	Unread  bool
	// Lag is how long the oldest event waits that is not delivered.
	Lag time.Duration
	// InFlight counts requests under way.
	InFlight int
	Breaker  string        // "closed", "open" or "half-open"
	Pause    time.Duration // until the breaker lets one delivery through
	// Delivered, Attempts and Failures count since the process began.
	Delivered, Attempts, Failures uint64
	Gaps                          uint64 // times that events were gone before they were told
	Dead                          int    // dead letters
	LastSuccess                   time.Time
	LastError                     string // for people; nothing of the body
	LastErrorAt                   time.Time
	Replays                       []Replay // that run, and the last ones that ended
}

// Replay is how a replay is doing.
type Replay struct {
	ID       string
	Doing    string // "running", "done", "cancelled" or "failed"
	From, To Position
	At       Position // through where it is
	Events   uint64   // delivered
	Failed   uint64   // given up
	Begun    time.Time
	Ended    time.Time // zero while it runs
	Error    string
}

// From says where a replay begins: at a position, after which it begins, or at
// a time, whose events it gives too.
type From struct {
	Position *Position
	Time     presence.Time
}

// Letter is a dead letter: one event that was given up.
type Letter struct {
	ID       string // for Resend
	Event    Event
	Died     time.Time // when it was given up
	Attempts int
	Why      string // the last attempt's error, for people
}

// Resend says which dead letters to send again.
type Resend struct {
	IDs []string // of Letters; either these or All
	All bool     // all that there are
	// Force sends also those that are older than the user's newest event; who
	// only looks at what comes last would take them for the present.
	Force bool
}

// Resent is what a resend did.
type Resent struct {
	Sent   int            // delivered, and no longer dead letters
	Failed int            // not delivered; they are dead letters as before
	Older  []string       // not tried: older than the user's newest event, and Force was not set
	Errors map[string]int // what went wrong, and how often
}
