package topic

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is the topics of one node in a bubble, in a world where devices come and go
// at the test's word.
type rig struct {
	*Topics
	t     *testing.T
	store *storetest.Memory
	world *world
}

// world is what is known of users.
type world struct {
	mu       sync.Mutex // guards all below
	pictures map[presence.User]*presence.Presence
	heard    []*Topics // nodes that hear of changes
}

// Presence implements Source.
func (w *world) Presence(u presence.User) *presence.Presence {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.pictures[u]; p != nil {
		return p
	}
	return &presence.Presence{User: u}
}

// alter makes a user's next picture with f and returns it, untold.
func (w *world) alter(u presence.User, f func(p *presence.Presence)) *presence.Presence {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := presence.Presence{User: u}
	if old := w.pictures[u]; old != nil {
		next = *old
	}
	was := next.Available(false)
	next.Version++
	next.Sessions = append([]*presence.View(nil), next.Sessions...)
	f(&next)
	next.Turned = (was == presence.Unavailable) != (next.Available(false) == presence.Unavailable)
	w.pictures[u] = &next
	return &next
}

func (w *world) tell(p *presence.Presence) {
	w.mu.Lock()
	nodes := w.heard
	w.mu.Unlock()
	for _, t := range nodes {
		t.Changed(p)
	}
}

// comes opens a session of a user, seen by others unless hidden.
func (w *world) comes(u presence.User, session byte, hidden bool) {
	w.tell(w.alter(u, func(p *presence.Presence) {
		face := presence.Face{Opened: p.Version, Changed: p.Version, Since: presence.Time(p.Version)}
		v := &presence.View{Public: presence.PublicID{session}, True: face}
		if !hidden {
			v.Shown = face
		}
		for i, old := range p.Sessions {
			if old.Public == v.Public {
				p.Sessions[i] = v
				return
			}
		}
		p.Sessions = append(p.Sessions, v)
	}))
}

// goes closes it.
func (w *world) goes(u presence.User, session byte) {
	w.tell(w.alter(u, func(p *presence.Presence) {
		for i, v := range p.Sessions {
			if v.Public == (presence.PublicID{session}) && v.True.Open() {
				gone := *v
				gone.True.Closed, gone.True.ClosedAt = p.Version, presence.Time(p.Version)
				if gone.Shown.Open() {
					gone.Shown.Closed, gone.Shown.ClosedAt = p.Version, presence.Time(p.Version)
				}
				p.Sessions[i] = &gone
			}
		}
	}))
}

func newRig(t *testing.T) *rig { return newRigOn(t, storetest.NewMemory(), nil) }

// newRigOn is another node on the same store and in the same world.
func newRigOn(t *testing.T, store *storetest.Memory, w *world) *rig {
	t.Helper()
	if w == nil {
		w = &world{pictures: map[presence.User]*presence.Presence{}}
	}
	topics, err := New(Config{Store: store, Source: w})
	if err != nil {
		t.Fatal(err)
	}
	if err := topics.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = topics.Stop(t.Context()) })
	w.mu.Lock()
	w.heard = append(w.heard, topics)
	w.mu.Unlock()
	return &rig{topics, t, store, w}
}

func user(id string) presence.User { return presence.User{App: "demo", ID: presence.UserID(id)} }

// ear is a subscriber who reads at the test's word.
type ear struct {
	*Subscription
	t     *testing.T
	woken *int
}

func (r *rig) listen(topics ...string) ear {
	woken := new(int)
	var mu sync.Mutex
	return ear{r.Subscribe(Params{App: "demo", Topics: topics, Wake: func() { mu.Lock(); *woken++; mu.Unlock() }}), r.t, woken}
}

// heard is what came, one line a message.
func (e ear) heard() (lines []string) {
	e.t.Helper()
	synctest.Wait()
	for {
		got, more, err := e.Drain(nil, 7)
		if err != nil {
			e.t.Fatal(err)
		}
		for _, m := range got {
			lines = append(lines, line(m))
		}
		if !more {
			return lines
		}
	}
}

func line(m *Message) string {
	s := fmt.Sprintf("%s %s %s %s", m.Topic, m.User, m.Attribute, m.Value)
	if !m.CallEnded {
		s += " in a call"
	}
	return s
}

func (r *rig) set(u presence.User, pairs ...string) int {
	r.t.Helper()
	var all []Attribute
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Attribute{Name: pairs[i], Value: json.RawMessage(pairs[i+1])})
	}
	_, n, err := r.Set(r.t.Context(), u, all)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *rig) maps(u presence.User, session byte, pairs ...string) {
	r.t.Helper()
	var all []Mapping
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Mapping{pairs[i], pairs[i+1]})
	}
	if err := r.SetMap(r.t.Context(), u, presence.PublicID{session}, all); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) call(id string, s CallState, who ...presence.UserID) int {
	r.t.Helper()
	n, err := r.SetCall(r.t.Context(), CallParams{App: "demo", ID: id, Participants: who, State: s})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// bubble runs a property, each case in a bubble and with a rig of its own: of cases
// that share a bubble few would run, for rapid ends after a day.
func bubble(t *testing.T, property func(rt *rapid.T, r *rig)) {
	t.Helper()
	rapidtest.Check(t, func(rt *rapid.T) {
		var ended any // a Fatal of rapid's is a panic, which must not leave the bubble by itself
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if ended = recover(); ended != nil {
					rt.Logf("%s", debug.Stack())
				}
			}()
			property(rt, newRig(t))
		})
		switch { // rapid tells by the line a failure from a case that it cannot go on with
		case ended != nil && rt.Failed():
			panic(ended)
		case ended != nil:
			panic(ended)
		}
	})
}
