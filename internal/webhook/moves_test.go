package webhook

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/rapidtest"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// move is something that happens while a replay goes on, and the time after it.
type move struct {
	what   string
	really int // what is rarely meant happens when it is 0
	then   time.Duration
}

func genMove() *rapid.Generator[move] {
	return rapid.Custom(func(t *rapid.T) move {
		return move{rapid.SampledFrom([]string{"move", "die", "pass", "store", "cancel", "nothing"}).Draw(t, "step"), rapid.IntRange(0, 3).Draw(t, "really"), time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * ms}
	})
}

// TestModelReplayMoves plays deaths, changes of hands, stores that fail and
// cancellations: one replay goes on to its end, wherever, or ends when it is told to.
func TestModelReplayMoves(t *testing.T) {
	t.Parallel()
	rapidtest.Observe(t, 3*rapidtest.Limit).Check(t, func(rt *rapid.T) {
		events := rapid.IntRange(1, stretches*replayStretch/2).Draw(rt, "events")
		moves := rapid.SliceOfN(genMove(), 0, 8).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) { replayOver(t, events, moves) })
	})
}

// replayOver replays so many events while moves are made.
func replayOver(t *testing.T, events int, moves []move) {
	m := &moving{members: newMembers(t, slow())}
	defer m.stop()
	synctest.Wait()
	want := written(m.log, events)
	elapse(2 * time.Minute)
	m.receiver.answers(func(q request) (int, time.Duration) {
		switch {
		case q.replay == "":
			return 200, 0
		case q.number%7 == 1 && len(q.events)%2 == 0:
			return 500, 0
		}
		return 200, 3 * ms
	})
	n := len(m.receiver.requests())
	begun, err := m.nodes[1].Replay(t.Context(), "demo", "main", From{Time: 1})
	if err != nil {
		t.Fatal(err)
	}
	m.id = begun.ID
	for _, step := range moves {
		m.move(t, step)
		elapse(step.then)
	}
	m.with(func() { m.passes, m.term, m.cut = false, m.term+1, map[int]bool{} })
	elapse(15 * time.Minute)
	doing := map[bool]string{false: "done", true: "cancelled"}[m.cancelled]
	m.each(func(t *testing.T, o *member) {
		got, err := o.Endpoint(t.Context(), "demo", "main")
		if err != nil || len(got.Replays) != 1 || got.Replays[0].ID != begun.ID || got.Replays[0].Doing != doing {
			t.Errorf("%s says %+v, %v, want one that is %s", o.Self(), got.Replays, err, doing)
		}
	})
	if m.cancelled {
		want = nil
	}
	_, replayed := split(m.receiver.requests()[n:])
	again(t, want, replayed)
}

// moving is members among whom a replay moves.
type moving struct {
	*members
	id        string // of the replay
	cancelled bool
}

func (m *moving) move(t *testing.T, step move) {
	switch step.what {
	case "move": // the former may not know yet
		m.with(func() { m.server, m.term, m.passes = (m.server+1)%3, m.term+1, false })
	case "die":
		m.with(func() {
			m.cut = map[int]bool{m.server: true}
			m.server, m.term, m.passes = (m.server+1)%3, m.term+1, false
		})
	case "pass":
		m.with(func() { m.passes, m.term = !m.passes, m.term+1 })
	case "store":
		m.store.failing(store.ErrUnknown)
		elapse(8 * time.Second)
		m.store.failing(nil)
	case "cancel":
		if step.really == 0 {
			m.cancel(t)
		}
	}
}

// cancel cancels the replay at a node that does not serve it.
func (m *moving) cancel(t *testing.T) {
	var heard int
	m.with(func() { heard = (m.server + 1) % 3; m.cut = map[int]bool{} })
	ctx, end := context.WithTimeout(t.Context(), 20*time.Second)
	defer end()
	got, err := m.nodes[heard].CancelReplay(ctx, "demo", "main", m.id)
	if err == nil {
		m.cancelled = m.cancelled || got.Doing == "cancelled"
	} else if errors.Is(err, ErrNoReplay) {
		t.Fatalf("the replay is not known: %v", err)
	}
}
