package client

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// LiveNotification is a short message for the user, which a server put with
// Backend.Notify, or a publisher of another kind.
type LiveNotification struct {
	ID        string // names it among those of its publisher
	Publisher string // who put it; "" is the app itself
	Source    string // who or what it is from, for people
	Text      string
	// Action is what happens if the user agrees: a URL, or what the app makes of
	// it. It is what somebody wrote: open only schemes that you expect.
	Action string
	At     time.Time // when it was put
	Until  time.Time // when it is stale; zero is never
}

// liveMessageOf is one entry of an m, or of a topic.
type liveMessageOf struct {
	ID        string  `json:"id"`
	Publisher string  `json:"publisher"`
	Source    string  `json:"source"`
	Message   string  `json:"message"`
	Action    string  `json:"action"`
	At        float64 `json:"at"`
	Until     float64 `json:"until"`

	// topic
	Topic  string          `json:"topic"`
	U      string          `json:"u"`
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value"`
	InCall bool            `json:"in_call"`
}

// seenNotifications is how many ids are remembered, to tell none twice: one that
// was written when its node died comes again.
const seenNotifications = 512

// notifications gives live notifications to the program.
type notifications struct {
	tell func(LiveNotification)

	mu   sync.Mutex // guards seen, and is held while tell runs: one at a time
	seen [][2]string
}

// take tells what was not told before.
func (n *notifications) take(list []liveMessageOf) {
	if n.tell == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range list {
		name := [2]string{m.Publisher, m.ID}
		if slices.Contains(n.seen, name) {
			continue
		}
		if len(n.seen) >= seenNotifications {
			n.seen = slices.Delete(n.seen, 0, 1)
		}
		n.seen = append(n.seen, name)
		n.tell(LiveNotification{
			ID: m.ID, Publisher: m.Publisher, Source: m.Source, Text: m.Message, Action: m.Action, At: at(m.At), Until: at(m.Until),
		})
	}
}
