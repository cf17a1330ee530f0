package topic

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// blocks is a Seer whose blocks come and go: who may not see whom, since when.
type blocks struct {
	mu    sync.Mutex // guards since
	since map[[2]presence.UserID]presence.Time
}

func (b *blocks) set(watcher, target presence.UserID, since presence.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since[[2]presence.UserID{watcher, target}] = since
}

// Sight implements Seer.
func (b *blocks) Sight(u presence.User) Sight { return eyes{b, u.ID} }

type eyes struct {
	of      *blocks
	watcher presence.UserID
}

// Of implements Sight.
func (e eyes) Of(target presence.UserID) (bool, presence.Time, presence.Time) {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	since := e.of.since[[2]presence.UserID{e.watcher, target}]
	return since == 0, since, 0
}

// TestBlockIsLikeLeaving: in topics a block that begins and ends while both are there
// is told as by a user who leaves and comes, and nobody else hears of it (R11).
func TestBlockIsLikeLeaving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		b := &blocks{since: map[[2]presence.UserID]presence.Time{}}
		r.cfg.Seer = b
		alice, mallory := user("alice"), user("mallory")
		r.maps(alice, 1, OnlineStatus, "T", "skill", "T")
		ears := map[presence.UserID]ear{}
		for _, who := range []presence.UserID{"mallory", "carol"} {
			ears[who] = ear{r.Subscribe(Params{App: "demo", User: who, Topics: []string{"T", "U"}, Wake: func() {}}), t, nil}
			defer ears[who].Close()
		}
		said := func(what string, hears []string, other ...string) {
			t.Helper()
			if got := ears["mallory"].heard(); !slices.Equal(got, hears) {
				t.Errorf("%s: mallory heard %q, want %q", what, got, hears)
			}
			if got := ears["carol"].heard(); !slices.Equal(got, other) {
				t.Errorf("%s: carol heard %q, want %q", what, got, other)
			}
		}
		block := func(since presence.Time) {
			b.set("mallory", "alice", since)
			r.SightChanged(mallory, []presence.UserID{"alice"})
		}
		const comes, goes = `T alice onlineStatus "online"`, `T alice onlineStatus "offline"`
		r.world.comes(alice, 1, false)
		said("she comes", []string{comes}, comes)
		block(5)
		said("she blocks him", []string{goes})
		block(5)
		said("again", nil)
		r.set(alice, "skill", `1`)
		said("she says something", nil, `T alice skill 1`)
		block(0)
		said("she lets him see her", []string{comes})

		// While she is not there nothing of it is told.
		r.world.goes(alice, 1)
		said("she goes", []string{goes}, goes)
		block(6)
		said("blocked, gone", nil)
		r.world.comes(alice, 1, false)
		said("she comes, blocked", nil, comes)
		block(0)
		said("he may see her", []string{comes})

		// One that began before he subscribed ends for him, too.
		block(7)
		said("blocked", []string{goes})
		late := ear{r.Subscribe(Params{App: "demo", User: "mallory", Topics: []string{"T"}, Wake: func() {}}), t, nil}
		block(0)
		said("he may see her", []string{comes})
		if got := late.heard(); !slices.Equal(got, []string{comes}) {
			t.Errorf("he who subscribed meanwhile heard %q", got)
		}
		late.Close()

		// A user without topics, one who subscribes to others, nobody at all.
		b.set("mallory", "dave", 8)
		r.SightChanged(mallory, []presence.UserID{"dave"})
		r.SightChanged(mallory, nil)
		r.SightChanged(user("nobody"), []presence.UserID{"alice"})
		said("nothing", nil)
	})
}

// TestBlockTimes: the moment of a block is when the user seems to have gone.
func TestBlockTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		b := &blocks{since: map[[2]presence.UserID]presence.Time{}}
		r.cfg.Seer = b
		r.maps(user("alice"), 1, OnlineStatus, "T")
		r.world.comes(user("alice"), 1, false)
		synctest.Wait()
		s := r.Subscribe(Params{App: "demo", User: "mallory", Topics: []string{"T"}, Wake: func() {}})
		defer s.Close()
		b.set("mallory", "alice", 5)
		r.SightChanged(user("mallory"), []presence.UserID{"alice"})
		synctest.Wait()
		got, _, err := s.Drain(nil, 10)
		if err != nil || len(got) != 1 || got[0].At != 5 || got[0].Revision != 0 || !got[0].CallEnded {
			t.Errorf("got %v, %v, want one of the time 5", got, err)
		}
	})
}
