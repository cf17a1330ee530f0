package roster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a roster on a store in memory, in a world where users come and go at
// the test's word.
type rig struct {
	*Roster
	t       *testing.T
	store   *storetest.Memory
	apps    map[presence.AppID]AppConfig
	present present
	heard   heard
	cache   int
	shared  bool
	pushed  func(presence.User)
	// listener is in place of heard, if not nil.
	listener Listener
}

// present is who is where.
type present struct {
	mu    sync.Mutex // guards all below
	here  map[presence.UserID]bool
	seen  map[presence.UserID]presence.Time
	asked func(presence.UserID) // called before an answer, if not nil
}

func (p *present) of(user presence.User) *presence.Presence {
	p.mu.Lock()
	asked := p.asked
	p.mu.Unlock()
	if asked != nil {
		asked(user.ID)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	picture := &presence.Presence{User: user, LastSeen: p.seen[user.ID], LastSeenShown: p.seen[user.ID]}
	if p.here[user.ID] {
		open := presence.Face{Opened: 1}
		picture.Sessions = []*presence.View{{Shown: open, True: open}}
	}
	return picture
}

// comes has users online, goes has them last seen at a time.
func (p *present) comes(ids ...presence.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		p.here[id] = true
	}
}

func (p *present) goes(at presence.Time, ids ...presence.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		p.here[id], p.seen[id] = false, at
	}
}

// heard is a listener that keeps what it was told, one line for each call.
type heard struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (h *heard) FriendsChanged(user presence.User, added, removed []presence.UserID) {
	h.add(fmt.Sprintf("friends of %s: +%v -%v", user.ID, added, removed))
}

func (h *heard) SightChanged(user presence.User, targets []presence.UserID) {
	if targets == nil {
		h.add(fmt.Sprintf("sight of %s: all", user.ID))
		return
	}
	h.add(fmt.Sprintf("sight of %s: %v", user.ID, targets))
}

func (h *heard) add(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
}

// take returns what was heard since the last take.
func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.lines
	h.lines = nil
	return lines
}

func demo(id presence.UserID) presence.User { return presence.User{App: "demo", ID: id} }

// newRig starts a roster whose app demo is as given.
func newRig(t *testing.T, app AppConfig) *rig {
	t.Helper()
	r := &rig{t: t, store: storetest.NewMemory(), apps: map[presence.AppID]AppConfig{"demo": app}}
	r.present.here, r.present.seen = map[presence.UserID]bool{}, map[presence.UserID]presence.Time{}
	r.start()
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.Roster, err = New(Config{Store: r.store, Apps: r.apps, Present: r.present.of, CacheBytes: r.cache, Shared: r.shared, Pushed: r.pushed}); err != nil {
		r.t.Fatal(err)
	}
	if r.listener == nil {
		r.listener = &r.heard
	}
	r.Listen(r.listener)
	if err := r.Start(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) stop() { r.Roster.Stop(context.Background()) }

// restart ends the roster and starts another on what is stored.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.store = r.store.Reopen()
	r.start()
}

// inBubble runs f with a rig under a fake clock.
func inBubble(t *testing.T, app AppConfig, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, app)
		f(t, r)
		r.stop()
		synctest.Wait()
	})
}

// must fails the test on an error, and returns what came with none.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("got %v, want no error", err)
		}
		return v
	}
}

func (r *rig) add(user, friend presence.UserID) bool {
	r.t.Helper()
	return must[bool](r.t)(r.Add(context.Background(), demo(user), friend, false))
}

func (r *rig) wantFriends(user presence.UserID, want ...presence.UserID) {
	r.t.Helper()
	got, err := r.Friends(context.Background(), demo(user))
	if err != nil || !slices.Equal(got, want) {
		r.t.Errorf("friends of %s: got %v, %v, want %v", user, got, err, want)
	}
}

func (r *rig) wantHeard(want ...string) {
	r.t.Helper()
	if got := r.heard.take(); !slices.Equal(got, want) {
		r.t.Errorf("the listener heard\n%q, want\n%q", got, want)
	}
}

// wantSight compares what user sees of target.
func (r *rig) wantSight(user, target presence.UserID, visible bool, since, seen presence.Time) {
	r.t.Helper()
	s := r.Sight(demo(user))
	v, at, last := true, presence.Time(0), presence.Time(0)
	if s != nil {
		v, at, last = s.Of(target)
	}
	if v != visible || at != since || last != seen {
		r.t.Errorf("%s sees %s: got %v, since %d, last seen %d, want %v, %d, %d", user, target, v, at, last, visible, since, seen)
	}
}

func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != want {
		t.Errorf("got %v, want %v", err, want)
	}
}
