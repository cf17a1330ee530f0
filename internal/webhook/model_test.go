package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// errCrashed is what a store says to a process that is no more.
var errCrashed = errors.New("crashed")

// TestModel: random openings and closings of a few users while the receiver
// fails, stalls, refuses and answers wrongly, the store fails, the process
// crashes at any point and endpoints change. Afterwards nothing is missing (it
// was delivered, or is a dead letter), first deliveries rise per user, and a
// repeat is the same as the first (R4, R5).
func TestModel(t *testing.T) {
	rapidtest.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, rt)
			for range rapid.IntRange(5, 60).Draw(rt, "steps") {
				m.step()
			}
			m.settle()
			m.check()
		})
	})
}

type model struct {
	*rig
	rt   *rapid.T
	life *life
	term uint64

	mu    sync.Mutex // guards what follows
	mood  string     // of the receiver
	moods int
	good  []request // that the receiver took
}

// life is one process's access to the store: it ends with a crash.
type life struct {
	*fakeStore
	mu   sync.Mutex // guards dead
	dead bool
	left int // writes until it crashes in the middle of one; 0: never
}

func (l *life) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left > 0 {
		if l.left--; l.left == 0 {
			l.dead = true
		}
	}
	if l.dead {
		return errCrashed
	}
	return nil
}

func (l *life) SaveCursors(ctx context.Context, c store.Cursors) (uint64, error) {
	if err := l.ended(); err != nil {
		return 0, err
	}
	return l.fakeStore.SaveCursors(ctx, c)
}

func (l *life) AddLetters(ctx context.Context, e store.Endpoint, letters []store.Letter) error {
	if err := l.ended(); err != nil {
		return err
	}
	return l.fakeStore.AddLetters(ctx, e, letters)
}

func newModel(t *testing.T, rt *rapid.T) *model {
	p := patient()
	p.Batch.Events = rapid.IntRange(1, 4).Draw(rt, "batch")
	p.Retry.Attempts = rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(rt, "attempts")
	p.Breaker = Breaker{Consecutive: rapid.SampledFrom([]int{0, 3}).Draw(rt, "consecutive"), Pause: 30 * time.Second}
	r := &rig{t: t, log: newFakeLog(), store: newFakeStore(), receiver: newReceiver()}
	r.main = Endpoint{App: "demo", Name: "main", URL: "https://receiver.example/", Format: &plain{policy: p}, Lanes: rapid.IntRange(1, 4).Draw(rt, "lanes")}
	m := &model{rig: r, rt: rt}
	r.receiver.answers(m.answer)
	m.live()
	synctest.Wait()
	return m
}

// live begins a process.
func (m *model) live() {
	m.term++
	m.owner, m.life = Alone(m.term), &life{fakeStore: m.store}
	m.rig.startOn(m.life)
}

// answer is the receiver in one of its moods.
func (m *model) answer(q request) (int, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moods++
	switch m.mood {
	case "fails":
		return 500, 0
	case "stalls":
		return 200, time.Hour
	case "is away":
		return 0, 0
	case "refuses some":
		if m.moods%3 == 0 {
			return 400, 0
		}
	case "fails some":
		if m.moods%2 == 0 {
			return 503, 0
		}
	case "takes it and fails":
		m.good = append(m.good, q)
		return 500, 0
	case "takes its time":
		m.good = append(m.good, q)
		return 200, 3 * time.Second
	}
	m.good = append(m.good, q)
	return 200, 0
}

func (m *model) step() {
	users := []string{"alice", "bob", "carol", "dave"}
	switch what := rapid.IntRange(0, 11).Draw(m.rt, "step"); what {
	case 0, 1, 2, 3, 4:
		kind := rapid.SampledFrom([]presence.RecordKind{opened, closed}).Draw(m.rt, "kind")
		for range rapid.IntRange(1, 5).Draw(m.rt, "times") {
			user := rapid.SampledFrom(users).Draw(m.rt, "user")
			m.log.append(kind, user, byte(rapid.IntRange(0, 2).Draw(m.rt, "session")), nth(m.log.counter()))
		}
	case 5, 6:
		elapse(time.Duration(rapid.IntRange(1, 20_000).Draw(m.rt, "wait")) * ms)
	case 7:
		moods := []string{"", "fails", "stalls", "is away", "refuses some", "fails some", "takes it and fails", "takes its time"}
		m.mu.Lock()
		m.mood = rapid.SampledFrom(moods).Draw(m.rt, "mood")
		m.mu.Unlock()
	case 8:
		m.crash()
	case 9:
		m.life.mu.Lock()
		m.life.left = rapid.IntRange(1, 5).Draw(m.rt, "writes")
		m.life.mu.Unlock()
		elapse(time.Duration(rapid.IntRange(1, 3000).Draw(m.rt, "until")) * ms)
		m.crash()
	case 10:
		m.main.Lanes = rapid.IntRange(1, 4).Draw(m.rt, "lanes")
		m.set(m.main)
	case 11:
		m.stop()
		m.live()
	}
}

// crash ends the process without a word: nothing is stored, no answer is heard.
func (m *model) crash() {
	m.life.mu.Lock()
	m.life.dead = true
	m.life.mu.Unlock()
	now, cancel := context.WithCancel(m.t.Context())
	cancel()
	if err := m.d.Stop(now); err != nil {
		m.t.Errorf("stop: %v", err)
	}
	m.live()
}

// settle lets everything come to rest.
func (m *model) settle() {
	m.mu.Lock()
	m.mood = ""
	m.mu.Unlock()
	m.crash()
	elapse(time.Hour)
	if s := m.status(); s.Waiting != 0 || s.InFlight != 0 || s.Doing != "live" {
		m.rt.Errorf("an hour after everything was well: got %+v, want it live", s)
	}
	m.stop()
}

func (m *model) check() {
	told := map[string]bool{}
	newest := map[string]int{}
	kinds := map[string]string{}
	for _, q := range m.good {
		last := map[string]int{}
		for _, e := range q.events {
			var user, kind string
			var seq int
			_, _ = fmt.Sscan(e, &user, &seq, &kind)
			if seq <= last[user] {
				m.rt.Errorf("%q: number %d after %d in one request", e, seq, last[user])
			}
			last[user] = seq
			id := fmt.Sprint(user, " ", seq)
			if !told[id] && seq < newest[user] {
				m.rt.Errorf("%q came first after number %d", e, newest[user])
			}
			if k := kinds[id]; k != "" && k != kind {
				m.rt.Errorf("%s was %s and came again as %s", id, k, kind)
			}
			told[id], kinds[id], newest[user] = true, kind, max(newest[user], seq)
		}
	}
	for _, letters := range m.store.letters {
		for _, l := range letters {
			told[fmt.Sprint(l.User.ID, " ", l.UserSeq)] = true
		}
	}
	var missing []string
	for _, e := range m.log.events {
		if id := fmt.Sprint(e.User.ID, " ", e.Seq); !told[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		m.rt.Errorf("neither delivered nor dead: %s", strings.Join(missing, ", "))
	}
}
