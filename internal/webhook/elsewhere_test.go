package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// members are several nodes with one log and one store. Who serves is who the test
// says; who is cut off is not heard.
type members struct {
	t        *testing.T
	log      *fakeLog
	store    *fakeStore
	receiver *receiver
	nodes    []*member

	mu     sync.Mutex // guards what follows
	server int
	term   uint64
	passes bool // nobody has the right
	cut    map[int]bool
}

// member is one of them; it is its own Owner and Nodes.
type member struct {
	*Anywhere
	of *members
	n  int
}

func newMembers(t *testing.T, policy Policy) *members {
	m := &members{t: t, log: newFakeLog(), store: newFakeStore(), receiver: newReceiver(), term: 1, cut: map[int]bool{}}
	for n := range 3 {
		one := &member{of: m, n: n}
		d, err := New(Config{
			Reader: m.log, Seq: m.log.seq, Cursors: m.store, Letters: m.store, Owner: one, Logger: slog.New(slog.DiscardHandler),
			Dial: func(outbound.Config) Sender { return m.receiver },
		})
		if err != nil {
			t.Fatal(err)
		}
		one.Anywhere = NewAnywhere(d, one)
		m.nodes = append(m.nodes, one)
		one.set(Endpoint{App: "demo", Name: "main", URL: "https://receiver.example/hook", Format: &plain{policy: policy}})
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *members) stop() {
	for _, one := range m.nodes {
		if err := one.d.Stop(context.WithoutCancel(m.t.Context())); err != nil {
			m.t.Error(err)
		}
	}
}

// among plays f in a bubble with three members that have begun, and stops them.
func among(t *testing.T, policy Policy, f func(t *testing.T, m *members)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMembers(t, policy)
		defer m.stop()
		synctest.Wait()
		f(t, m)
	})
}

func (m *members) with(f func()) { m.mu.Lock(); defer m.mu.Unlock(); f() }

func (o *member) set(endpoints ...Endpoint) {
	if err := o.d.SetEndpoints(o.of.t.Context(), endpoints); err != nil {
		o.of.t.Fatal(err)
	}
}

func (o *member) Owned(presence.AppID, string) (uint64, time.Time) {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	if o.of.server != o.n || o.of.passes || o.of.cut[o.n] {
		return 0, time.Time{}
	}
	return o.of.term, time.Time{}
}

func (o *member) Self() string { return fmt.Sprint("n", o.n) }

func (o *member) Server(presence.AppID, string) (uint64, string, bool) {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	return uint64(o.of.server + 1), fmt.Sprint("n", o.of.server), o.of.server == o.n
}

func (o *member) Ask(ctx context.Context, node uint64, question []byte) ([]byte, error) {
	o.of.mu.Lock()
	cut := o.of.cut[int(node)-1] || o.of.cut[o.n]
	o.of.mu.Unlock()
	if cut {
		return nil, fault.Retry(fault.NodeUnavailable, time.Second, "not heard")
	}
	return o.of.nodes[node-1].Serve(ctx, question)
}

func (o *member) AskAll(ctx context.Context, question []byte) map[uint64][]byte {
	said := map[uint64][]byte{}
	for n := range o.of.nodes {
		if n == o.n {
			continue
		}
		if b, err := o.Ask(ctx, uint64(n+1), question); err == nil {
			said[uint64(n+1)] = b
		}
	}
	return said
}

// unavailable reports that a call is to be tried again.
func unavailable(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.NodeUnavailable && f.RetryAfter > 0
}

// each asks every node.
func (m *members) each(f func(t *testing.T, o *member)) {
	for _, o := range m.nodes {
		f(m.t, o)
	}
}

// TestAnyNode: whichever node is asked, the one that serves the endpoint does it.
func TestAnyNode(t *testing.T) {
	among(t, patient(), func(t *testing.T, m *members) {
		ctx := t.Context()
		for i := range 5 {
			m.log.append(opened, "alice", byte(i))
			elapse(time.Second)
		}
		m.each(func(t *testing.T, o *member) {
			all, err := o.Status(ctx, "demo")
			one, oneErr := o.Endpoint(ctx, "demo", "main")
			if err != nil || oneErr != nil || len(all) != 1 || one.Node != "n0" || one.Doing != "live" || one.Delivered != 5 || all[0].Delivered != 5 || all[0].Node != "n0" {
				t.Errorf("%s says %+v and %+v, %v, %v", o.Self(), all, one, err, oneErr)
			}
			n := len(m.receiver.requests())
			begun, err := o.Replay(ctx, "demo", "main", From{Time: 1})
			if err != nil {
				t.Fatalf("replay at %s: %v", o.Self(), err)
			}
			elapse(time.Second)
			if live, again := split(m.receiver.requests()[n:]); len(again) != 5 || len(live) != 0 {
				t.Errorf("replay at %s: %q", o.Self(), again)
			}
			if got, err := o.CancelReplay(ctx, "demo", "main", begun.ID); err != nil || got.Doing != "done" || got.Events != 5 {
				t.Errorf("a replay that is over, at %s: %+v, %v", o.Self(), got, err)
			}
			if _, err := o.CancelReplay(ctx, "demo", "main", "rp_none"); !errors.Is(err, ErrNoReplay) {
				t.Errorf("no replay, at %s: %v", o.Self(), err)
			}
			if _, err := o.Replay(ctx, "demo", "other", From{Time: 1}); !errors.Is(err, ErrNoEndpoint) {
				t.Errorf("no endpoint, at %s: %v", o.Self(), err)
			}
			if _, err := o.Replay(ctx, "demo", "main", From{}); fault.KindOf(err) != fault.FieldInvalid {
				t.Errorf("from nowhere, at %s: %v", o.Self(), err)
			}
		})
		if s, err := m.nodes[2].Endpoint(ctx, "demo", "main"); err != nil || len(s.Replays) != 3 {
			t.Errorf("got %+v, %v, want the replays of all", s, err)
		}
	})
}

// TestResendAnywhere sends dead letters again from a node that does not serve.
func TestResendAnywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := patient()
		p.Retry, p.Batch.Events = Retry{Attempts: 1}, 1
		m := newMembers(t, p)
		defer m.stop()
		synctest.Wait()
		ctx := t.Context()
		m.receiver.answers(func(request) (int, time.Duration) { return 500, 0 })
		for i := range 3 {
			m.log.append(opened, fmt.Sprint("user", i), 1)
			elapse(time.Minute)
		}
		letters, _, err := m.nodes[2].Letters(ctx, "demo", "main", "", 10)
		if err != nil || len(letters) != 3 {
			t.Fatalf("got %+v, %v, want three dead letters", letters, err)
		}
		if got, err := m.nodes[1].Resend(ctx, "demo", "main", Resend{All: true}); err != nil || got.Failed != 3 || got.Errors["status 500"] == 0 {
			t.Errorf("got %+v, %v, want three failures", got, err)
		}
		// One that stalls: what was done by the deadline is told.
		m.receiver.answers(func(q request) (int, time.Duration) {
			return 200, time.Minute
		})
		short, cancel := context.WithTimeout(ctx, 15*time.Second)
		got, err := m.nodes[1].Resend(short, "demo", "main", Resend{All: true})
		late := short.Err()
		cancel()
		if !errors.Is(err, ErrUnfinished) || late != nil {
			t.Errorf("got %+v, %v (%v), want it unfinished before the time is over", got, err, late)
		}
		m.receiver.answers(nil)
		if got, err := m.nodes[2].Resend(ctx, "demo", "main", Resend{All: true}); err != nil || got.Sent != 3 {
			t.Errorf("got %+v, %v, want three sent", got, err)
		}
		if _, err := m.nodes[2].Resend(ctx, "demo", "main", Resend{IDs: []string{"999"}}); fault.KindOf(err) != fault.FieldInvalid {
			t.Errorf("got %v, want the id refused", err)
		}
	})
}

// TestServerDies: until another node serves the endpoint calls are to be tried again;
// then they work, and nothing was lost or overtaken.
func TestServerDies(t *testing.T) {
	among(t, patient(), func(t *testing.T, m *members) {
		ctx := t.Context()
		m.log.append(opened, "alice", 1)
		elapse(time.Second)
		m.with(func() { m.cut[0] = true })
		m.log.append(opened, "alice", 2)
		elapse(time.Second)
		for _, o := range m.nodes[1:] {
			_, status := o.Status(ctx, "demo")
			_, one := o.Endpoint(ctx, "demo", "main")
			_, replay := o.Replay(ctx, "demo", "main", From{Time: 1})
			_, resend := o.Resend(ctx, "demo", "main", Resend{All: true})
			_, cancel := o.CancelReplay(ctx, "demo", "main", "rp_x")
			for what, err := range map[string]error{"status": status, "one": one, "replay": replay, "resend": resend, "cancel": cancel} {
				if !unavailable(err) {
					t.Errorf("%s at %s: %v, want NODE_UNAVAILABLE with a time", what, o.Self(), err)
				}
			}
		}
		// It is given up; its heir may not begin yet.
		m.with(func() { m.server, m.passes = 1, true })
		for _, o := range m.nodes[1:] {
			s, err := o.Endpoint(ctx, "demo", "main")
			if err != nil || s.Doing != "stopped" || s.Node != "n1" || s.Position.IsZero() {
				t.Errorf("%s says %+v, %v, want it stopped with its stored position", o.Self(), s, err)
			}
			if _, err := o.Replay(ctx, "demo", "main", From{Time: 1}); !unavailable(err) {
				t.Errorf("replay at %s: %v", o.Self(), err)
			}
			if _, err := o.Resend(ctx, "demo", "main", Resend{All: true}); !unavailable(err) {
				t.Errorf("resend at %s: %v", o.Self(), err)
			}
		}
		m.with(func() { m.passes, m.term = false, 2 })
		elapse(time.Second)
		if got := m.receiver.events(); !slices.Equal(got, []string{"alice 1 opened", "alice 2 opened"}) {
			t.Errorf("got %q", got)
		}
		if s, err := m.nodes[2].Endpoint(ctx, "demo", "main"); err != nil || s.Doing != "live" || s.Node != "n1" {
			t.Errorf("got %+v, %v", s, err)
		}
		if _, err := m.nodes[2].Replay(ctx, "demo", "main", From{Time: 1}); err != nil {
			t.Error(err)
		}
	})
}

// TestReplayOfAFormerServer: who serves the endpoint next goes on with it, and
// wherever one asks or cancels it is one replay.
func TestReplayOfAFormerServer(t *testing.T) {
	among(t, patient(), func(t *testing.T, m *members) {
		ctx := t.Context()
		m.log.append(opened, "alice", 1)
		elapse(time.Second)
		m.receiver.answers(func(request) (int, time.Duration) { return 500, 0 })
		begun, err := m.nodes[2].Replay(ctx, "demo", "main", From{Time: 1})
		if err != nil {
			t.Fatal(err)
		}
		m.with(func() { m.server, m.term = 1, 2 })
		if got, err := m.nodes[2].CancelReplay(ctx, "demo", "main", begun.ID); err != nil || got.Doing != "cancelled" {
			t.Errorf("got %+v, %v, want it cancelled where it waits", got, err)
		}
		m.with(func() { m.server, m.term = 0, 3 })
		elapse(time.Second)
		if begun, err = m.nodes[2].Replay(ctx, "demo", "main", From{Time: 1}); err != nil {
			t.Fatal(err)
		}
		m.with(func() { m.server, m.term = 1, 4 })
		elapse(6 * time.Minute)
		m.each(func(t *testing.T, o *member) {
			got, err := o.Endpoint(ctx, "demo", "main")
			if err != nil || len(got.Replays) != 2 || got.Replays[0].Doing != "cancelled" || got.Replays[1].ID != begun.ID || got.Replays[1].Doing != "running" {
				t.Errorf("%s says %+v, %v, want one cancelled and one running", o.Self(), got.Replays, err)
			}
		})
		if _, err := m.nodes[0].Replay(ctx, "demo", "main", From{Time: 1}); fault.KindOf(err) != fault.FieldInvalid {
			t.Errorf("a second one: %v, want it refused", err)
		}
		m.receiver.answers(nil)
		elapse(6 * time.Minute)
		m.each(func(t *testing.T, o *member) {
			if got, err := o.CancelReplay(ctx, "demo", "main", begun.ID); err != nil || got.Doing != "done" || got.Events != 1 {
				t.Errorf("%s says %+v, %v, want it done", o.Self(), got, err)
			}
		})
	})
}

// TestServerWithoutTheEndpoint: a node that was not reloaded cannot serve what only
// the others have, and who asks is told.
func TestServerWithoutTheEndpoint(t *testing.T) {
	among(t, patient(), func(t *testing.T, m *members) {
		m.nodes[0].set()
		elapse(time.Second)
		if _, err := m.nodes[1].Replay(t.Context(), "demo", "main", From{Time: 1}); !unavailable(err) || !strings.Contains(err.Error(), `node "n0"`) {
			t.Errorf("got %v, want the node that must be reloaded", err)
		}
		if s, err := m.nodes[1].Endpoint(t.Context(), "demo", "main"); err != nil || !strings.Contains(s.LastError, `"n0"`) || s.Doing != "stopped" {
			t.Errorf("got %+v, %v", s, err)
		}
	})
}

// TestBadQuestions: what no node of ours asks is an error, and does nothing.
func TestBadQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMembers(t, patient())
		defer m.stop()
		for _, b := range []string{"", "{", `{"Do":"dance"}`, `{"Do":[1]}`} {
			if _, err := m.nodes[0].Serve(t.Context(), []byte(b)); err == nil {
				t.Errorf("%q was answered", b)
			}
		}
		if len(m.store.letters[store.Endpoint{App: "demo", Name: "main"}]) != 0 {
			t.Error("there are letters")
		}
	})
}

// FuzzServe: whatever another node asks, the answer is one, and nothing breaks.
func FuzzServe(f *testing.F) {
	for _, s := range []string{"", "{", `{"Do":"status","App":"demo"}`, `{"Do":"replay","App":"demo","Endpoint":"main","From":{"Time":1}}`,
		`{"Do":"cancel","App":"demo","Endpoint":"main","Replay":"rp_x"}`, `{"Do":"resend","App":"demo","Endpoint":"main","Resend":{"All":true}}`,
		`{"Do":"replay","App":"demo","Endpoint":"main","From":{"Position":{"Sequence":18446744073709551615}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newMembers(t, patient())
		defer m.stop()
		answer, err := m.nodes[0].Serve(t.Context(), b)
		if err == nil && !json.Valid(answer) {
			t.Errorf("%q is answered with %q", b, answer)
		}
	})
}
