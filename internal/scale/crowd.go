package scale

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// loadApp is the app of everybody who is opened.
const loadApp presence.AppID = "demo"

const (
	// openHands open sessions at once: each waits for the log, so that many share
	// one of its messages.
	openHands = 4096
	// changeHands change statuses.
	changeHands = 2
	// changePace is how often a hand looks how many changes are due.
	changePace = time.Millisecond
	// changeBurst is how many changes are made between two looks at the clock.
	changeBurst = 256
)

// crowd are sessions without connections.
type crowd struct {
	tracker *tracker.Tracker
	link    tracker.Link // all of them
	refs    []tracker.Ref
	round   int // of changes, so that each is another status
}

// heard is a link on which its device is heard at all times.
type heard struct{ clock *wheel.Wheel }

// LastRead implements tracker.Link.
func (h heard) LastRead() time.Duration { return h.clock.Now() }

// Shared implements tracker.Link.
func (heard) Shared() bool { return false }

// End implements tracker.Link.
func (heard) End(tracker.End) {}

// open opens count sessions, of the users from first on, one each.
func (c *crowd) open(ctx context.Context, first, count int) (made int, err error) {
	refs := make([]tracker.Ref, count)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var opening sync.WaitGroup
	for range min(openHands, count) {
		opening.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				ref, err := c.come(ctx, first+i)
				if err != nil {
					err = fmt.Errorf("scale: open a session of %s: %w", userName(first+i), err)
					failed.CompareAndSwap(nil, &err)
					return
				}
				refs[i] = ref
			}
		})
	}
	opening.Wait()
	if e := failed.Load(); e != nil {
		return 0, *e
	}
	c.refs = append(c.refs, refs...)
	return count, nil
}

func userName(n int) presence.UserID { return presence.UserID(fmt.Sprintf("user-%08d", n)) }

// come opens one session, with a device and a status such as people have.
func (c *crowd) come(ctx context.Context, n int) (tracker.Ref, error) {
	m, err := c.tracker.Make(ctx, tracker.MakeParams{
		User: presence.User{App: loadApp, ID: userName(n)},
		Device: presence.Device{
			Platform: "ios", Product: "chat", Locale: "en-US", ID: fmt.Sprint("d", n), Version: "1.2.3",
			Addr: fmt.Sprintf("192.0.2.%d:%d", n%250, 1024+n%60000), Door: "live",
		},
	})
	if err != nil {
		return m.Ref, err
	}
	_, err = c.tracker.Connect(ctx, m.Ref, tracker.ConnectParams{Link: c.link, Initial: status(0)})
	return m.Ref, err
}

func status(round int) *presence.Status {
	s := &presence.Status{Show: presence.Busy, Text: presence.Value{Kind: presence.KindText, Text: "in a meeting"}}
	if round%2 == 1 {
		s.Show, s.Text.Text = presence.Away, "at lunch until two"
	}
	return s
}

// change changes the statuses of all, one after the other and over again, rate a
// second, or with 0 as fast as it goes; it returns how many it changed.
func (c *crowd) change(ctx context.Context, rate int, long time.Duration) (made int, err error) {
	if len(c.refs) == 0 {
		return 0, fmt.Errorf("scale: nobody is there to change")
	}
	var done atomic.Int64
	errs := make([]error, changeHands)
	began := time.Now()
	c.round++
	var changing sync.WaitGroup
	for hand := range changeHands {
		changing.Go(func() { errs[hand] = c.changes(ctx, hand, rate/changeHands, began.Add(long), &done) })
	}
	changing.Wait()
	for _, e := range errs {
		if e != nil {
			return int(done.Load()), e
		}
	}
	return int(done.Load()), nil
}

// changes is what one hand does: it has every changeHands-th session.
func (c *crowd) changes(ctx context.Context, hand, rate int, end time.Time, done *atomic.Int64) error {
	pace := time.NewTicker(changePace)
	defer pace.Stop()
	began, round := time.Now(), c.round
	at, mine := hand, 0
	for now := began; now.Before(end) && ctx.Err() == nil; now = time.Now() {
		due := changeBurst
		if rate > 0 {
			due = int(now.Sub(began).Seconds()*float64(rate)) - mine
		}
		for ; due > 0; due-- {
			if at >= len(c.refs) {
				at, round = hand, round+1
			}
			s := status(round)
			if _, err := c.tracker.Update(ctx, c.refs[at], func(*presence.Status) (*presence.Status, error) { return s, nil }); err != nil {
				return fmt.Errorf("scale: change the status of %s: %w", c.refs[at].User.ID, err)
			}
			at += changeHands
			mine++
			done.Add(1)
		}
		if rate > 0 {
			<-pace.C
		}
	}
	return ctx.Err()
}
