package mailbox

import (
	"hash/fnv"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Bounds of messages and queues.
const (
	Capacity     = 100 // messages in one queue
	MaxText      = 512 // Unicode characters of Text, Action and Source each
	MaxID        = 128 // bytes of ID, Publisher and Alias each
	MaxItems     = 1000
	DefaultTTL   = 5 * time.Minute
	LongestTTL   = 30 * 24 * time.Hour
	maxPutBytes  = 2 << 20
	recordMargin = 32 // bytes of a record beyond its text, at most about
)

// Message is what a user is to be told.
type Message struct {
	Publisher string // who put it; "" is the app itself
	ID        string // names it in its queue
	Alias     string // the user's name at the publisher; "" is his own
	Source    string // what or who it is from, for people
	Text      string // shown to the user
	Action    string // what happens if the user agrees: a URL, or an app to run
	At        presence.Time
	Expires   presence.Time // 0: never
}

// Item is a message to be put.
type Item struct {
	User      presence.User
	Publisher string
	// ID names the message within its queue; "" has one made. A message whose id
	// is in the queue already is not put again, so that a call can be repeated.
	ID                          string
	Alias, Source, Text, Action string
	// TTL is how long the message is worth telling; 0 means for ever.
	TTL time.Duration
}

// Receipt is what became of an item.
type Receipt struct {
	ID string
	// Size is how many messages the queue had right after the item was put: 1 to
	// Capacity, whatever was handed over since.
	Size int
}

// Check says what is wrong with an item, as a fault whose field is prefix and the
// member's name in lower case, "message" for Text; nil is nothing.
func (it *Item) Check(prefix string) error {
	switch {
	case !presence.ValidAppID(string(it.User.App)) || !presence.ValidUserID(string(it.User.ID)):
		return fault.Invalid(prefix+"user", "a user id has 1 to %d bytes", presence.MaxUserID)
	case it.TTL < 0 || it.TTL > LongestTTL:
		return fault.Invalid(prefix+"ttl", "a time between 0 (for ever) and %v", LongestTTL)
	}
	for _, f := range []struct{ name, value string }{{"publisher", it.Publisher}, {"id", it.ID}, {"alias", it.Alias}} {
		if len(f.value) > MaxID || !utf8.ValidString(f.value) {
			return fault.Invalid(prefix+f.name, "has %d bytes, at most %d of UTF-8", len(f.value), MaxID)
		}
	}
	for _, f := range []struct{ name, value string }{{"source", it.Source}, {"message", it.Text}, {"action", it.Action}} {
		if n := utf8.RuneCountInString(f.value); n > MaxText || !utf8.ValidString(f.value) {
			return fault.Invalid(prefix+f.name, "has %d characters, at most %d of UTF-8", n, MaxText)
		}
	}
	if it.Text == "" {
		return fault.Invalid(prefix+"message", "must not be empty")
	}
	return nil
}

// checkAll checks a call's items.
func checkAll(items []Item) error {
	if len(items) == 0 || len(items) > MaxItems {
		return fault.Invalid("items", "%d items, 1 to %d are taken", len(items), MaxItems)
	}
	bytes := 0
	for i := range items {
		it := &items[i]
		if err := it.Check("items[" + strconv.Itoa(i) + "]."); err != nil {
			return err
		}
		bytes += recordMargin + len(it.User.App) + len(it.User.ID) + len(it.Publisher) + len(it.ID) + len(it.Alias) + len(it.Source) + len(it.Text) + len(it.Action)
	}
	if bytes > maxPutBytes {
		return fault.Invalid("items", "%d bytes of text, at most %d in one call", bytes, maxPutBytes)
	}
	return nil
}

// hashID stands for an id in memory. It is the same on every node. Two ids of one
// queue that share it are one message: a publisher who makes such fools himself.
func hashID(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return h.Sum64()
}
