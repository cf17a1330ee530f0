package webhook

import (
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Format is one dialect: which events it tells, how a request looks, what an
// answer means and how patient it is. It is made for one endpoint and holds
// that endpoint's secrets, so it must hide them from every verb of fmt. Its
// methods are called from several goroutines and keep nothing of what they are
// given.
//
// Two formats that reflect.DeepEqual finds equal count as the same: a reload
// leaves such an endpoint alone.
type Format interface {
	// Name is the word for it in configurations, such as "native".
	Name() string

	// Policy is asked once for each run of an endpoint.
	Policy() Policy

	// Wants says whether the format tells of the event, which Policy.View has
	// made what the format may see. What it does not want is passed over in
	// silence.
	Wants(e *Event) bool

	// Request writes one attempt of a delivery: signatures and times are of the
	// attempt; the body is, for one delivery, the same bytes each time. An error
	// makes the events dead letters at once, so it is for what cannot be written
	// at all.
	Request(d *Delivery, a Attempt) (Request, error)

	// Judge says what an answer means. It is asked for whatever the receiver
	// answered within Policy.Timeout and MaxAnswer; where there was no such
	// answer the attempt failed, and nobody is asked.
	Judge(a outbound.Answer) Verdict
}

// Holder is a Format that must see what comes shortly after an event before it
// tells of it (the 100 ms rule of State.StateChange).
type Holder interface {
	Format

	// Hold is how long e waits, from when it is read: 0 for most.
	Hold(e *Event) time.Duration

	// Voids says whether e is not told at all because of later, an event of the
	// same user that was read while e waited or that happened within Hold of it.
	Voids(e, later *Event) bool
}

// URLChecker is a Format that cannot use every address.
type URLChecker interface {
	// CheckURL says what is wrong with the address, without repeating its query.
	CheckURL(address string) error
}

// Policy is how an endpoint of a format is served.
type Policy struct {
	View  View
	Batch Batch
	// Timeout bounds an attempt from the resolving of the name to the last byte
	// of the answer.
	Timeout time.Duration
	// MaxAnswer bounds the body of an answer; 64 KiB if zero. A longer one is a
	// failure.
	MaxAnswer int64
	Retry     Retry
	Breaker   Breaker
	// Gaps says that the format can tell of a gap: Request is then given
	// deliveries with a Gap. Otherwise a gap is logged and counted only.
	Gaps bool
}

// Batch is how many events go into one request.
type Batch struct {
	// Events is the most events of one request. 1 says that the format cannot
	// take more: an endpoint's own number does not count then.
	Events int
	// Linger is how long the first event waits for more.
	Linger time.Duration
}

// Retry is what happens after a failed attempt.
type Retry struct {
	// Attempts is the most attempts of one delivery; 0 is no limit.
	Attempts int
	// First is the pause after the first failure; it doubles up to Most.
	First, Most time.Duration
	// For is how old the newest event of a delivery may be, from when it happened
	// (in a replay: from when the replay began), when that is still tried again; 0
	// is no limit. A delivery that begins later than that gets lateAttempts attempts,
	// so that a receiver that hiccups while old events come loses nothing.
	For time.Duration
}

// Breaker is when an endpoint as a whole is left alone for a while. While it is
// open no attempt is made and none is counted; then one delivery is tried, of a
// lane that did not fail lately if there is one: if it is answered well all go
// on, otherwise the pause begins anew. The zero value never opens.
type Breaker struct {
	// Consecutive opens it after so many failures in a row, of two lanes at least
	// where there are more lanes than one: what only one user's events do to a
	// receiver stops nobody else.
	Consecutive int
	// Share of at least Attempts within Window that failed opens it, in percent.
	Share    int
	Attempts int
	Window   time.Duration
	// TimeoutsOnly counts only failures by time-out.
	TimeoutsOnly bool
	Pause        time.Duration
}

// Delivery is what one request carries.
type Delivery struct {
	App      presence.AppID
	Endpoint string
	// ID is the same for all attempts, and after a crash too if the same events
	// go together again. Deliveries with different events have different ids.
	ID string
	// Events are in order; for each user they are consecutive but for those that
	// the format does not want. Empty when Gap is set.
	Events []Event
	// Gap is told instead of events that are gone.
	Gap *Gap
	// Replay is the id of the replay that this is of; "" for live delivery.
	Replay string
	// Resent says that these are dead letters that were sent again.
	Resent bool
}

// Attempt is one try of a delivery.
type Attempt struct {
	Number int       // from 1; begins again after a crash
	Time   time.Time // now
	URL    string    // the endpoint's address as it is configured
}

// Request is what is sent, by POST. User-Agent is set where Header has none.
type Request struct {
	URL    string
	Header http.Header
	Body   []byte
}

// Outcome is what an answer means.
type Outcome uint8

// The outcomes.
const (
	Delivered Outcome = iota
	Failed            // try again if the policy allows it
	Refused           // trying again is of no use: a dead letter at once
	Gone              // the receiver wants nothing more: the endpoint stops until it is set anew
)

// Verdict is a format's word on an answer.
type Verdict struct {
	Outcome Outcome
	// RetryAfter is the least pause the receiver asked for; 0: none.
	RetryAfter time.Duration
	// Detail is for people, such as "status 503"; nothing of the body. With
	// Delivered it is what the receiver complains of.
	Detail string
}
