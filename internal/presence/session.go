package presence

import "strings"

// Phase is where a session stands in its life (design §4).
type Phase uint8

// The phases. A session is visible to watchers while live or lost.
const (
	PhaseCreated Phase = iota // token given, no connection yet; invisible
	PhaseLive                 // a connection or a recent sign of life
	PhaseLost                 // link gone without a word; the grace runs, nothing is visible
	PhaseClosed               // over, for exactly one reason
)

func (p Phase) String() string {
	return [...]string{"created", "live", "lost", "closed"}[p&3]
}

// Open reports whether watchers see the session.
func (p Phase) Open() bool { return p == PhaseLive || p == PhaseLost }

// Reason says why a change happened (design §4, table of reasons).
type Reason uint8

// The reasons.
const (
	ReasonNone     Reason = iota
	ReasonOpened          // the session came
	ReasonLogout          // the user logged out
	ReasonLeft            // the device disconnected politely, the user is still logged in
	ReasonLinkLost        // link gone, grace over
	ReasonTimedOut        // no sign of life for the heartbeat time-out
	ReasonReplaced        // multi-device policy
	ReasonDropped         // administrator or server API
	ReasonExpired         // the token's life ended
	ReasonNodeLost        // its node went and nobody came back in time
	ReasonHidden          // appear_offline on
	ReasonShown           // appear_offline off
	ReasonMoved           // another node, or the same after a restart, took it over
	reasonCount
)

var reasonNames = [reasonCount]string{
	"", "opened", "logout", "left", "link lost", "timed out", "replaced", "dropped",
	"expired", "node lost", "hidden", "shown", "moved",
}

func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return "unknown"
}

// Closings are the reasons for which a session closes.
func Closings() []Reason {
	return []Reason{ReasonLogout, ReasonLeft, ReasonLinkLost, ReasonTimedOut, ReasonReplaced, ReasonDropped, ReasonExpired, ReasonNodeLost}
}

// Resumable reports whether a session closed for r may open anew within the
// resume window; after every other reason it is gone (design §4).
func (r Reason) Resumable() bool {
	return r == ReasonLinkLost || r == ReasonTimedOut || r == ReasonNodeLost
}

// Device is what the user holds, and from where it speaks to us.
type Device struct {
	Platform string // such as "ios", "android", "web"; free text, <= 64 bytes
	Product  string // which product of the app
	Locale   string // BCP 47, such as "en-US"
	ID       string // the same non-empty id always replaces the earlier session
	Version  string // of the device's software
	Addr     string // ip:port of the peer
	Door     string // the door it came in by
}

// ServedDevice begins the device id of a presence that a server sets. No device
// has one like it: doors take no control characters.
const ServedDevice = "\x00server:"

// OwnID is the id as the device gave it: "" for a presence that a server sets.
func (d *Device) OwnID() string {
	if strings.HasPrefix(d.ID, ServedDevice) {
		return ""
	}
	return d.ID
}

// MultiDevice is the policy for a user's second session. It is written into
// the opened record, and the fold applies it, so that the later opening in the
// log wins for every reader.
type MultiDevice uint8

// The policies. Whatever the policy, an equal non-empty Device.ID replaces.
const (
	AllowAll       MultiDevice = iota // default
	OnePerPlatform                    // a new session replaces those of its platform
	Single                            // a new session replaces all others
	multiDeviceCount
)

func (m MultiDevice) String() string {
	return [...]string{"allow", "one_per_platform", "single", "?"}[m&3]
}

// Replaces reports whether an opening of device d under policy m ends an
// open session of device o of the same user.
func (m MultiDevice) Replaces(d, o *Device) bool {
	switch {
	case d.ID != "" && d.ID == o.ID:
		return true
	case m == Single:
		return true
	case m == OnePerPlatform:
		return d.Platform == o.Platform
	}
	return false
}
