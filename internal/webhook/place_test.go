package webhook

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Where an endpoint begins that several nodes have and none has served yet.

// crew are nodes that start and die one by one, over one log and one store.
type crew struct {
	t        *testing.T
	log      *fakeLog
	store    *fakeStore
	receiver *receiver
	main     Endpoint
}

// mate is one of them. It dies by its stop: nothing was served, so nothing is stored.
type mate struct {
	lease
	crew *crew
	d    *Deliverer
	mute atomic.Bool // the store does not answer
	deaf atomic.Bool // nor does the log say where it ends
}

var errMute = errors.New("no answer")

func newCrew(t *testing.T) *crew {
	return &crew{t: t, log: newFakeLog(), store: newFakeStore(), receiver: newReceiver(),
		main: Endpoint{App: "demo", Name: "main", URL: "https://receiver.example/hook", Format: &plain{policy: patient()}}}
}

// mate makes one that has the endpoint, and is yet to start.
func (c *crew) mate() *mate {
	m := &mate{crew: c}
	d, err := New(Config{
		Reader: mateLog{c.log, m}, Seq: c.log.seq, Cursors: mateStore{c.store, m}, Letters: c.store, Owner: m, Logger: slog.New(slog.DiscardHandler),
		Dial: func(outbound.Config) Sender { return c.receiver },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	m.d = d
	m.have(c.main)
	return m
}

// start starts one, and says how long that took.
func (m *mate) start() time.Duration {
	began := time.Now()
	if err := m.d.Start(m.crew.t.Context()); err != nil {
		m.crew.t.Error(err)
	}
	return time.Since(began)
}

func (m *mate) have(endpoints ...Endpoint) {
	if err := m.d.SetEndpoints(m.crew.t.Context(), endpoints); err != nil {
		m.crew.t.Error(err)
	}
}

func (m *mate) die() {
	if err := m.d.Stop(context.WithoutCancel(m.crew.t.Context())); err != nil {
		m.crew.t.Error(err)
	}
}

// opens writes that a user's session opened.
func (c *crew) opens(user string) { c.log.append(opened, user, 1) }

// told holds what the receiver was told against what it is to be.
func (c *crew) told(want ...string) {
	c.t.Helper()
	elapse(3 * time.Second)
	got := c.receiver.events()
	slices.Sort(got) // users are of several lanes
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("told (-want +got):\n%s", diff)
	}
}

type mateLog struct {
	*fakeLog
	m *mate
}

func (l mateLog) End(ctx context.Context) (Position, error) {
	if l.m.deaf.Load() {
		return Position{}, errMute
	}
	return l.fakeLog.End(ctx)
}

type mateStore struct {
	*fakeStore
	m *mate
}

func (s mateStore) LoadCursors(ctx context.Context, e store.Endpoint) (store.Cursors, error) {
	if s.m.mute.Load() {
		return store.Cursors{}, errMute
	}
	return s.fakeStore.LoadCursors(ctx, e)
}

func (s mateStore) SaveCursors(ctx context.Context, c store.Cursors) (uint64, error) {
	if s.m.mute.Load() {
		return 0, errMute
	}
	return s.fakeStore.SaveCursors(ctx, c)
}

// withCrew plays f in a bubble.
func withCrew(t *testing.T, f func(t *testing.T, c *crew)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(t, newCrew(t)) })
}

// TestBeginsWithTheFirstStartOfAny: all nodes die before one has the right to serve;
// what happened since the first of them started is told by who starts next.
func TestBeginsWithTheFirstStartOfAny(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		c.opens("before")
		first, second := c.mate(), c.mate()
		first.start()
		c.opens("alice")
		second.start()
		c.opens("bob")
		elapse(4 * time.Second)
		first.die()
		second.die()
		next := c.mate()
		next.start()
		defer next.die()
		c.opens("carol")
		next.set(1, time.Time{})
		c.told("alice 1 opened", "bob 1 opened", "carol 1 opened")
	})
}

// TestBeginsWithTheFirstReload is the same of an endpoint that a reload brings.
func TestBeginsWithTheFirstReload(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		first, second := c.mate(), c.mate()
		for _, m := range []*mate{first, second} {
			m.have()
			m.start()
		}
		c.opens("before")
		first.have(c.main)
		c.opens("alice")
		first.die()
		second.have(c.main)
		c.opens("bob")
		defer second.die()
		second.set(1, time.Time{})
		c.told("alice 1 opened", "bob 1 opened")
	})
}

// TestBeginsWithTheEarliest: a node that cannot store where the endpoint begins starts
// all the same, and stores what it knew then once it can; who stored a later place
// gives way.
func TestBeginsWithTheEarliest(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		first, second := c.mate(), c.mate()
		first.mute.Store(true)
		if took := first.start(); took != placeWait {
			t.Errorf("the start took %v, want %v", took, placeWait)
		}
		c.opens("alice")
		second.start()
		c.opens("bob")
		elapse(time.Second)
		first.mute.Store(false)
		elapse(2 * placeAgain)
		first.die()
		defer second.die()
		second.set(1, time.Time{})
		c.told("alice 1 opened", "bob 1 opened")
		// Another that stores it still later changes nothing.
		late := c.mate()
		late.start()
		defer late.die()
		c.told("alice 1 opened", "bob 1 opened")
	})
}

// TestBeginsOnceTheLogIsRead: neither the store nor the log answers at the start. What
// happens after it is told all the same.
func TestBeginsOnceTheLogIsRead(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		m := c.mate()
		m.mute.Store(true)
		m.deaf.Store(true)
		c.opens("before")
		elapse(time.Second)
		m.start()
		defer m.die()
		c.opens("alice")
		elapse(time.Second)
		m.deaf.Store(false) // where it ends is known now
		elapse(2 * placeAgain)
		c.opens("bob")
		elapse(time.Hour)
		if s, err := m.d.Endpoint(t.Context(), "demo", "main"); err != nil || s.Doing != "stopped" || s.LastError == "" {
			t.Errorf("got %+v, %v, want it stopped and why", s, err)
		}
		m.mute.Store(false)
		m.set(1, time.Time{})
		c.told("alice 1 opened", "bob 1 opened")
	})
}

// TestReloadHoldsNobody: while a reload waits for the log and the store, the deliverer
// answers; and who stops does not wait for the reload.
func TestReloadHoldsNobody(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		m := c.mate()
		m.start()
		m.mute.Store(true)
		m.deaf.Store(true)
		late := c.main
		late.Name = "late"
		began := time.Now()
		reloaded := make(chan time.Duration, 1)
		go func() {
			m.have(c.main, late)
			reloaded <- time.Since(began)
		}()
		synctest.Wait()
		if _, _, err := m.d.find("demo", "late"); err != nil || time.Since(began) != 0 {
			t.Errorf("got %v after %v, want it found at once", err, time.Since(began))
		}
		elapse(time.Second)
		m.die()
		if took := <-reloaded; took != time.Second {
			t.Errorf("the reload ended after %v, want it to end with the deliverer", took)
		}
	})
}

// TestTakenAwayAndBack: what was stored stays, and the endpoint goes on from there; of
// one that was taken away before anything was, nobody knows.
func TestTakenAwayAndBack(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		m := c.mate()
		m.start()
		defer m.die()
		unborn := c.main
		unborn.Name = "unborn"
		m.have()
		c.opens("alice") // main is owed this
		m.mute.Store(true)
		m.have(unborn)
		c.opens("bob")
		m.have()
		elapse(time.Second)
		m.mute.Store(false)
		c.opens("carol")
		m.have(c.main, unborn)
		c.opens("dave")
		m.set(1, time.Time{})
		c.told("alice 1 opened", "bob 1 opened", "carol 1 opened", "dave 1 opened", "dave 1 opened")
	})
}

// TestBeginsAnewWithoutCursors: an endpoint whose cursors were taken away is new at the
// next start, and only what happens before that is not told.
func TestBeginsAnewWithoutCursors(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		m := c.mate()
		m.set(1, time.Time{})
		m.start()
		c.opens("alice")
		c.told("alice 1 opened")
		m.die()
		c.opens("bob")
		c.store.mu.Lock()
		name := store.Endpoint{App: "demo", Name: "main"}
		c.store.cursors[name] = store.Cursors{Endpoint: name, Revision: c.store.cursors[name].Revision + 1}
		c.store.mu.Unlock()
		next := c.mate()
		next.start()
		defer next.die()
		c.opens("carol")
		next.set(2, time.Time{})
		c.told("alice 1 opened", "carol 1 opened")
	})
}
