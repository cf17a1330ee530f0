package client

import (
	"context"
	"net/http"
	"time"
)

// ToNotify is a live notification for a user: a short text, and what happens if
// he agrees. It waits until he comes, for a while.
type ToNotify struct {
	Text      string // 1 to 512 characters
	Action    string // a URL, or what the app makes of it; up to 512 characters
	Source    string // who or what it is from, for people
	Publisher string // whose queue it goes into; "" is the app's own
	// ID names it in its queue, so that Notify can be called again with it; ""
	// has one made.
	ID string
	// TTL is how long it is worth telling, in whole seconds; 0 is 5 minutes,
	// Forever for ever.
	TTL time.Duration
}

// Forever is the TTL of what does not become stale.
const Forever time.Duration = -1

// Notified is what became of one.
type Notified struct {
	ID string `json:"id"`
	// QueueSize is how many its queue had right after it was put, 1 to 100: the
	// oldest gives way.
	QueueSize int `json:"queue_size"`
}

// Notify puts live notifications for a user, all of them or none. They are on disk
// when it returns; whether somebody sees them nobody knows.
func (b *Backend) Notify(ctx context.Context, user string, list ...ToNotify) ([]Notified, error) {
	type wire struct {
		Message   string `json:"message"`
		Action    string `json:"action,omitempty"`
		Source    string `json:"source,omitempty"`
		Publisher string `json:"publisher,omitempty"`
		ID        string `json:"id,omitempty"`
		TTL       *int64 `json:"ttl,omitempty"`
	}
	said := make([]wire, len(list))
	for i, n := range list {
		said[i] = wire{Message: n.Text, Action: n.Action, Source: n.Source, Publisher: n.Publisher, ID: n.ID}
		if n.TTL != 0 {
			seconds := int64(max(n.TTL, 0) / time.Second)
			if n.TTL > 0 {
				seconds = max(seconds, 1) // 0 would be for ever
			}
			said[i].TTL = &seconds
		}
	}
	var answer struct {
		Notifications []Notified `json:"notifications"`
	}
	err := b.call(ctx, http.MethodPost, b.path("users", user, "notifications"), map[string]any{"notifications": said}, &answer)
	return answer.Notifications, err
}
