package tracker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// What a sweep may take is nobody else's time.

// crowd opens sessions at a node, of users who fall into many shards.
func (n *node) crowd(count int) (users []presence.User) {
	n.t.Helper()
	for i := range count {
		u := presence.User{App: app, ID: presence.UserID(fmt.Sprint("u", i))}
		made, err := n.tr.Make(context.Background(), MakeParams{User: u})
		if err != nil {
			n.t.Fatalf("Make: %v", err)
		}
		if _, err := n.connect(made.Ref, nil); err != nil {
			n.t.Fatalf("Connect: %v", err)
		}
		users = append(users, u)
	}
	return users
}

// shows counts those of whom a node shows a session.
func (n *node) shows(users []presence.User) (count int) {
	for _, u := range users {
		if len(sees(n.tr.Presence(u), false)) > 0 {
			count++
		}
	}
	return count
}

// linger holds up all closings that n tells until d after the first; it returns a channel
// that is closed with that one.
func (n *node) linger(d time.Duration) (began chan struct{}) {
	began = make(chan struct{})
	var over chan struct{}
	n.ear.mu.Lock()
	defer n.ear.mu.Unlock()
	n.ear.slow = func(p *presence.Presence) {
		if len(sees(p, true)) > 0 {
			return
		}
		n.ear.mu.Lock()
		if over == nil {
			over = make(chan struct{})
			close(began)
			time.AfterFunc(d, func() { close(over) })
		}
		n.ear.mu.Unlock()
		<-over
	}
	return began
}

// TestDeadlinesDoNotWaitForASweep: to close the sessions of a node that is gone, and to
// look at everybody after it, takes seconds where there are many.
func TestDeadlinesDoNotWaitForASweep(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		users := a.crowd(10)
		wait(time.Second)
		c.kill(a)
		<-b.linger(5 * time.Second)
		for range 5 {
			at, want := make(chan time.Time, 1), 600*time.Millisecond
			deadline := wheel.Timer{Fire: func() { at <- time.Now() }}
			began := time.Now()
			b.wheel.Set(&deadline, want)
			if took := (<-at).Sub(began); took < want || took > want+2*wheel.Tick {
				t.Errorf("a deadline of %v came after %v", want, took)
			}
		}
		wait(5 * time.Second)
		if n := b.shows(users); n != 0 {
			t.Errorf("%d of %d sessions of the node that is gone are shown", n, len(users))
		}
	})
}

// TestASweepStopsWhereItMayNotGoOn: a node that is cut off ends nothing more, and all of
// it when it is back; of a node that is heard again nothing more ends.
func TestASweepStopsWhereItMayNotGoOn(t *testing.T) {
	const count = 200
	for _, back := range []bool{false, true} {
		t.Run(fmt.Sprint("back=", back), func(t *testing.T) {
			inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
				a, b := c.all[0], c.all[1]
				users := a.crowd(count)
				wait(time.Second)
				c.isolate(a)
				<-b.linger(time.Second)
				if back {
					b.tr.Returned(a.number())
				} else {
					b.tr.Frozen()
				}
				wait(5 * time.Second)
				if n := b.shows(users); n == 0 {
					t.Errorf("all sessions ended in a sweep that might not go on")
				}
				if back {
					return
				}
				b.tr.Joined(b.number())
				wait(5 * time.Second)
				if n := b.shows(users); n != 0 {
					t.Errorf("%d of %d sessions of the node that is gone are shown", n, count)
				}
				for _, u := range users {
					if f, facts := b.folded(u); len(facts) != 2 || len(f.Sessions) != 1 || f.Sessions[0].Phase != presence.FoldClosed {
						t.Fatalf("the log has %+v of %v", facts, u)
					}
				}
			})
		})
	}
}
