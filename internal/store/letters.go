package store

import (
	"context"
	"errors"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// ErrNoLetter: there is no such dead letter, or no longer.
var ErrNoLetter = errors.New("store: no such dead letter")

// Bounds of dead letters. The oldest give way.
const (
	MaxLetterBody = 256 << 10           // bytes of one letter's body
	MaxLetterAge  = 30 * 24 * time.Hour // design §2: as long as the log
	MaxLetters    = 100_000             // of one endpoint
)

// Letter is a dead letter: what one fact of one user would have told an
// endpoint, when that was given up.
type Letter struct {
	Number   uint64        // names the letter; the store gives it, and it rises
	User     presence.User // whose fact it is
	At       presence.Time // when it was given up
	Lane     int
	Position string // of the fact; opaque here
	UserSeq  uint64 // the user's number of the fact
	Attempts int
	Reason   string // why it was given up, one line for people
	Body     []byte // what it takes to send it again; opaque here
}

// LetterFilter chooses letters; the zero value chooses all.
type LetterFilter struct {
	User presence.UserID // "": of all users
	// From and Before bound when they were given up; 0: no bound.
	From, Before presence.Time
}

// Match reports whether the filter chooses l.
func (f LetterFilter) Match(l *Letter) bool {
	return (f.User == "" || f.User == l.User.ID) && (f.From == 0 || l.At >= f.From) && (f.Before == 0 || l.At < f.Before)
}

// Letters keep what webhooks gave up.
type Letters interface {
	// AddLetters stores letters of one endpoint, in order, and returns after they
	// are on disk; what an error leaves stored may be stored again. Number is not
	// looked at. Errors wrap ErrRefused, ErrUnknown or ErrClosed.
	AddLetters(ctx context.Context, e Endpoint, letters []Letter) error

	// ListLetters returns up to limit letters with a higher number than after
	// that the filter chooses, in order. It looks at a bounded number of letters:
	// next is what to ask with next, and 0 when there is nothing behind.
	ListLetters(ctx context.Context, e Endpoint, filter LetterFilter, page LetterPage) (letters []Letter, next uint64, err error)

	// CountLetters returns how many letters the endpoint has.
	CountLetters(ctx context.Context, e Endpoint) (int, error)

	// ReadLetter returns one letter, or ErrNoLetter.
	ReadLetter(ctx context.Context, e Endpoint, number uint64) (Letter, error)

	// TakeLetters takes letters away; those that are not there are no error.
	TakeLetters(ctx context.Context, e Endpoint, numbers []uint64) error

	// EraseLetters takes away every letter about the user, at all endpoints.
	EraseLetters(ctx context.Context, user presence.User) error
}

// LetterPage says which part of a list is wanted.
type LetterPage struct {
	After uint64 // numbers above this one
	Limit int    // at least 1
}
