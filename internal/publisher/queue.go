package publisher

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// QueueLimit is how long a status waits for its publisher (protocol note C2,
// part 5).
const QueueLimit = time.Hour

// mostDead bounds the revocations that wait for a publisher.
const mostDead = 2000

// Queue is how far a publisher was told: everything up to a position of the log,
// and of what is not in the log the revocations that wait.
type Queue struct {
	Position string        `json:"position,omitempty"` // "": nothing was ever told
	At       presence.Time `json:"at,omitempty"`       // when the position was stored
	Dead     []Dead        `json:"dead,omitempty"`     // oldest first
}

// Dead is a uid that was revoked.
type Dead struct {
	UID string        `json:"uid"`
	At  presence.Time `json:"at"`
}

// add appends a revocation, unless it waits already.
func (q *Queue) add(d Dead) (changed bool) {
	if slices.ContainsFunc(q.Dead, func(o Dead) bool { return o.UID == d.UID }) {
		return false
	}
	old := d.At.Add(-QueueLimit)
	q.Dead = slices.DeleteFunc(slices.Clone(q.Dead), func(o Dead) bool { return o.At < old })
	if over := len(q.Dead) + 1 - mostDead; over > 0 {
		q.Dead = q.Dead[over:]
	}
	q.Dead = append(q.Dead, d)
	return true
}

// Queue returns a publisher's queue.
func (r *Registry) Queue(ctx context.Context, id string) (Queue, error) {
	return r.EditQueue(ctx, id, func(*Queue) bool { return false })
}

// EditQueue changes a publisher's queue, as long as edit reports that it did, and
// returns it. edit may be called again when another node was faster; it may not
// change a list in place.
func (r *Registry) EditQueue(ctx context.Context, id string, edit func(*Queue) bool) (q Queue, err error) {
	for range attempts {
		var n store.Named
		q = Queue{}
		if n, err = r.cfg.Store.LoadName(ctx, store.NameQueue, id); err != nil {
			break
		}
		if n.Value != nil {
			if err = decode(n.Value, &q); err != nil {
				break
			}
		}
		if !edit(&q) {
			return q, nil
		}
		n.Value = encode(q)
		if _, err = r.cfg.Store.SaveName(ctx, store.NameQueue, n); err == nil {
			return q, nil
		}
		if !errors.Is(err, store.ErrMoved) {
			break
		}
	}
	return Queue{}, r.unavailable(ctx, err)
}
