package natsbus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// subscriptionPending is how many bytes may wait for a subscriber that is slow;
// beyond it messages are dropped and counted.
const subscriptionPending = 256 << 20

// ErrNobody is what a request fails with when nobody listens on its subject.
var ErrNobody = errors.New("natsbus: nobody listens")

// Messages are plain messages between nodes: nothing is kept, and what is lost
// is lost. They have a connection of their own, so that neither a full store
// nor a large reading stands before them. Subjects are below the bus's prefix,
// which they are given without.
type Messages struct {
	bus     *Bus
	conn    *nats.Conn
	dropped atomic.Uint64
}

// Publish sends b to all who subscribe to the subject, this process included. It
// does not wait and does not keep b. While no server is reached it returns an
// error: nothing is sent later.
func (m *Messages) Publish(subject string, b []byte) error {
	if err := m.conn.Publish(m.bus.subject(subject), b); err != nil {
		return fmt.Errorf("natsbus: publish: %w", err)
	}
	return nil
}

// Subscribe calls f with each message on the subject, which may end in a
// wildcard, in the order in which each publisher sent them, from one goroutine.
// subject is without the prefix and b is f's to keep. reply answers a Request;
// it does nothing for a message that asks for no answer. When f is so slow that
// 256 MB wait, messages are dropped (see Dropped). stop ends the subscription;
// a call of f may still be under way.
func (m *Messages) Subscribe(subject string, f func(subject string, b []byte, reply func([]byte))) (stop func(), err error) {
	cut := len(m.bus.Prefix()) + 1
	sub, err := m.conn.Subscribe(m.bus.subject(subject), func(msg *nats.Msg) {
		f(msg.Subject[cut:], msg.Data, func(b []byte) {
			if msg.Reply != "" {
				_ = m.conn.Publish(msg.Reply, b) // who asked will ask again
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("natsbus: subscribe: %w", err)
	}
	if err := sub.SetPendingLimits(-1, subscriptionPending); err != nil {
		_ = sub.Unsubscribe()
		return nil, fmt.Errorf("natsbus: subscribe: %w", err)
	}
	// Whoever publishes next must be heard.
	if err := m.conn.FlushTimeout(dialTimeout); err != nil {
		_ = sub.Unsubscribe()
		return nil, fmt.Errorf("natsbus: subscribe: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// Request sends b and returns the first answer. It fails with ErrNobody at once
// when nobody subscribes to the subject, else when ctx ends.
func (m *Messages) Request(ctx context.Context, subject string, b []byte) ([]byte, error) {
	answer, err := m.conn.RequestWithContext(ctx, m.bus.subject(subject), b)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w on %s", ErrNobody, subject)
	case err != nil:
		return nil, fmt.Errorf("natsbus: request: %w", err)
	}
	return answer.Data, nil
}

// Connected reports whether a server is reached at this moment.
func (m *Messages) Connected() bool { return m.conn.IsConnected() }

// Dropped counts how often messages began to be dropped because a subscriber was
// too slow for them.
func (m *Messages) Dropped() uint64 { return m.dropped.Load() }

// slow hears of what goes wrong on the connection behind our back.
func (m *Messages) slow(_ *nats.Conn, sub *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrSlowConsumer) {
		m.bus.trouble(err)
		return
	}
	m.dropped.Add(1)
	subject, lost := "", 0
	if sub != nil {
		subject = sub.Subject
		lost, _ = sub.Dropped()
	}
	m.bus.log.Warn("messages between nodes are dropped: this node is too slow for them; what they said is asked for again",
		"subject", subject, "dropped", lost)
}
