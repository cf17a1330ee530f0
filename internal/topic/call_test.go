package topic

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// TestCallsThatNobodyEnds are over by themselves, unless they give a sign of life.
func TestCallsThatNobodyEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.maps(user("alice"), 1, "call", AllCallStatus) // and not told there twice
		e := r.listen(AllCallStatus)
		defer e.Close()
		running := func(want int, value string) {
			t.Helper()
			got, err := r.Get(t.Context(), user("alice"))
			if err != nil || got.Calls != want || string(got.Call.Value) != value {
				t.Fatalf("got %d calls, %s, %v, want %d and %s", got.Calls, got.Call.Value, err, want, value)
			}
		}
		r.call("c1", Answered, "alice")
		want(t, e.heard(), `ALL_CALL_STATUS alice call "Answered" in a call`)
		<-time.After(CallLife - time.Hour)
		if n := r.call("c1", Answered, "alice"); n != 0 { // a sign of life
			t.Errorf("a repeat was told %d times", n)
		}
		<-time.After(CallLife - time.Second)
		running(1, `"Answered"`)
		<-time.After(time.Second)
		running(0, `"Ended"`)
		want(t, e.heard())
		r.call("c1", Answered, "alice") // the same id again is news
		want(t, e.heard(), `ALL_CALL_STATUS alice call "Answered" in a call`)
		for i := range maxCalls {
			r.call(string(rune('A'+i)), Ringing, "alice")
		}
		running(maxCalls, `"Ringing"`) // c1 was silent for longest
		if n := r.call("c1", Ended, "alice"); n != 0 {
			t.Errorf("the end of a call that is over was told %d times", n)
		}
	})
}

// overtaken is a store in which somebody else writes between a reading and the
// next writing.
type overtaken struct {
	store.Rosters
	mu     sync.Mutex // guards others
	others []func()
}

// SaveRoster lets the others write first.
func (o *overtaken) SaveRoster(ctx context.Context, kind store.RosterKind, r store.Roster) (uint64, error) {
	o.mu.Lock()
	var next func()
	if len(o.others) > 0 {
		next, o.others = o.others[0], o.others[1:]
	}
	o.mu.Unlock()
	if next != nil {
		next()
	}
	return o.Rosters.SaveRoster(ctx, kind, r)
}

// TestOvertaken: a change that another node's overtook is made anew of what is
// there then, and given up when that never ends.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	other := newRig(t)
	alice := user("alice")
	o := &overtaken{Rosters: other.store}
	slow, err := New(Config{Store: o, Source: other.world})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	write := func() {
		n++
		other.set(alice, "theirs", string(rune('0'+n%10)))
	}
	o.others = []func(){write, write, func() { other.maps(alice, 1, "ours", "T") }}
	e := slow.Subscribe(Params{App: "demo", Topics: []string{"T"}, Wake: func() {}})
	defer e.Close()
	got, changed, err := slow.Set(t.Context(), alice, []Attribute{{Name: "ours", Value: json.RawMessage(`1`)}})
	if err != nil || changed != 1 || len(got.Attributes) != 2 || string(got.Attributes[0].Value) != "2" {
		t.Fatalf("got %+v, %d, %v, want both values", got, changed, err)
	}
	if told, _, err := e.Drain(nil, 10); err != nil || len(told) != 1 || string(told[0].Value) != "1" || told[0].Revision != got.Revision {
		t.Fatalf("told %v, %v, want it once, with the map that was set meanwhile", told, err)
	}
	for range attempts {
		o.others = append(o.others, write)
	}
	if _, _, err := slow.Set(t.Context(), alice, []Attribute{{Name: "ours", Value: json.RawMessage(`2`)}}); fault.KindOf(err) != fault.LogUnavailable {
		t.Errorf("got %v, want LOG_UNAVAILABLE", err)
	}
}

// TestWhoWasGivenUpSetsNothing: what was said at another node while a change was on its
// way to the store makes it ask again whether it still holds.
func TestWhoWasGivenUpSetsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	alice, asked := user("alice"), 0
	moved := fault.New(fault.NodeUnavailable, "the session is elsewhere")
	_, _, err := r.SetWhile(t.Context(), alice, []Attribute{{Name: "mood", Value: json.RawMessage(`"late"`)}}, func(ctx context.Context) error {
		if asked++; asked > 1 {
			return moved
		}
		v, err := r.store.LoadRoster(ctx, store.RosterAttributes, alice)
		if err == nil {
			newer := &record{attributes: []Attribute{{Name: "mood", Value: json.RawMessage(`"newer"`)}}}
			_, err = r.store.SaveRoster(ctx, store.RosterAttributes, store.Roster{User: alice, Value: newer.encode(), Revision: v.Revision})
		}
		return err
	})
	if !errors.Is(err, moved) || asked != 2 {
		t.Errorf("got %v after it was asked %d times, want the error of the second", err, asked)
	}
	got, err := r.Get(t.Context(), alice)
	if is, _ := got.Find("mood"); err != nil || string(is.Value) != `"newer"` {
		t.Errorf("it is %s, want the newer (%v)", is.Value, err)
	}
}

// TestWhatAServerSaidLongAgo is not written: neither an attribute nor a call.
func TestWhatAServerSaidLongAgo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	alice := user("alice")
	late := fault.New(fault.NodeUnavailable, "it stood still")
	r.cfg.Takes = func() error { return late }
	if _, _, err := r.Set(t.Context(), alice, []Attribute{{Name: "mood", Value: json.RawMessage(`"late"`)}}); !errors.Is(err, late) {
		t.Errorf("Set: got %v, want %v", err, late)
	}
	if _, err := r.SetCall(t.Context(), CallParams{App: alice.App, ID: "c", Participants: []presence.UserID{alice.ID}, State: Answered}); !errors.Is(err, late) {
		t.Errorf("SetCall: got %v, want %v", err, late)
	}
	r.cfg.Takes = func() error { return nil }
	if got, err := r.Get(t.Context(), alice); err != nil || len(got.Attributes) != 0 || got.Call.Value != nil {
		t.Errorf("alice has %+v (%v), want nothing", got, err)
	}
	if _, n, err := r.Set(t.Context(), alice, []Attribute{{Name: "mood", Value: json.RawMessage(`"now"`)}}); err != nil || n != 1 {
		t.Errorf("Set of a server that is there: %d, %v", n, err)
	}
}

// TestWithoutSubscribers nothing is read when somebody comes.
func TestWithoutSubscribers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		other := newRig(t)
		reads := &counting{Rosters: other.store}
		r, err := New(Config{Store: reads, Source: other.world})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer r.Stop(t.Context())
		come := &presence.Presence{User: user("alice"), Version: 1, Turned: true}
		r.Changed(come)
		s := r.Subscribe(Params{App: "demo", Topics: []string{"T"}, Wake: func() {}})
		s.Close()
		r.Changed(come)
		synctest.Wait()
		if reads.n != 0 {
			t.Errorf("%d readings for nobody", reads.n)
		}
		s = r.Subscribe(Params{App: "demo", Topics: []string{"T"}, Wake: func() {}})
		defer s.Close()
		r.Changed(come)
		synctest.Wait()
		if reads.n != 1 {
			t.Errorf("%d readings, want 1", reads.n)
		}
	})
}

type counting struct {
	store.Rosters
	n int
}

// LoadRoster counts.
func (c *counting) LoadRoster(ctx context.Context, kind store.RosterKind, u presence.User) (store.Roster, error) {
	c.n++
	return c.Rosters.LoadRoster(ctx, kind, u)
}
