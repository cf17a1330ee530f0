package topic

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// TestCallsModel: random words of calls, their order and repeats; a user is in a
// call while one of his was not ended and was heard of in time.
func TestCallsModel(t *testing.T) {
	t.Parallel()
	bubble(t, func(rt *rapid.T, r *rig) {
		e := r.listen(AllCallStatus, "T")
		defer e.Close()
		r.maps(user("alice"), 1, "call", "T")
		type known struct {
			state CallState
			at    time.Time
		}
		calls := map[string]map[presence.UserID]known{}
		for range rapid.IntRange(1, 25).Draw(rt, "words") {
			if rapid.IntRange(0, 5).Draw(rt, "wait") == 0 {
				<-time.After(time.Duration(rapid.IntRange(1, 20).Draw(rt, "hours")) * time.Hour)
			}
			id := rapid.SampledFrom([]string{"c1", "c2", "c3"}).Draw(rt, "call")
			state := CallState(rapid.IntRange(0, 3).Draw(rt, "state"))
			who := rapid.SliceOfNDistinct(rapid.SampledFrom([]presence.UserID{"alice", "bob"}), 1, 2, rapid.ID).Draw(rt, "who")
			var lines []string
			for _, u := range who {
				if calls[id] == nil {
					calls[id] = map[presence.UserID]known{}
				}
				was, runs := calls[id][u]
				if runs && time.Since(was.at) >= CallLife { // it is over by itself
					delete(calls[id], u)
					was, runs = known{}, false
				}
				news := state != Ended && (!runs || was.state != state) || state == Ended && runs
				if state == Ended {
					delete(calls[id], u)
				} else if news || time.Since(was.at) >= CallLife/2 {
					calls[id][u] = known{state, time.Now()}
				}
				running := 0
				for _, c := range calls {
					if k, ok := c[u]; ok && time.Since(k.at) < CallLife {
						running++
					}
				}
				if news {
					in := ""
					if running > 0 {
						in = " in a call"
					}
					for _, topic := range map[presence.UserID][]string{"alice": {"T", AllCallStatus}, "bob": {AllCallStatus}}[u] {
						lines = append(lines, fmt.Sprintf("%s %s call %q%s", topic, u, state, in))
					}
				}
			}
			r.call(id, state, who...)
			if got := e.heard(); !slices.Equal(got, lines) {
				rt.Fatalf("%s %v of %v: got\n%s\nwant\n%s", id, state, who, strings.Join(got, "\n"), strings.Join(lines, "\n"))
			}
			for _, u := range []presence.UserID{"alice", "bob"} {
				running := 0
				for _, c := range calls {
					if k, ok := c[u]; ok && time.Since(k.at) < CallLife {
						running++
					}
				}
				got, err := r.Get(r.t.Context(), presence.User{App: "demo", ID: u})
				if err != nil || got.Calls != running || running == 0 && got.Call.Value != nil && string(got.Call.Value) != `"Ended"` {
					rt.Fatalf("%s: got %d calls and %s, %v, want %d", u, got.Calls, got.Call.Value, err, running)
				}
			}
		}
	})
}

// TestMapsModel: devices come, with maps, come anew with others, and go; the
// union of those that are there counts, and of none the last one's.
func TestMapsModel(t *testing.T) {
	t.Parallel()
	bubble(t, func(rt *rapid.T, r *rig) {
		alice := user("alice")
		e := r.listen("T0", "T1", "T2")
		defer e.Close()
		maps := map[byte][]int{} // of devices that are there: topics of a
		var last []int
		value := 0
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			d := byte(rapid.IntRange(1, 4).Draw(rt, "device"))
			_, there := maps[d]
			switch {
			case there && rapid.Bool().Draw(rt, "goes"):
				last = maps[d]
				delete(maps, d)
				r.world.goes(alice, d)
			default:
				topics := rapid.SliceOfNDistinct(rapid.IntRange(0, 2), 1, 2, rapid.ID).Draw(rt, "topics")
				slices.Sort(topics)
				var pairs []string
				for _, n := range topics {
					pairs = append(pairs, "a", fmt.Sprint("T", n))
				}
				r.maps(alice, d, pairs...)
				maps[d] = topics
				if !there {
					r.world.comes(alice, d, rapid.Bool().Draw(rt, "hidden"))
				}
			}
			if rapid.IntRange(0, 3).Draw(rt, "later") == 0 {
				<-time.After(time.Duration(rapid.IntRange(1, 10).Draw(rt, "minutes")) * time.Minute)
			}
			synctest.Wait()
			want := map[string]bool{}
			all := slices.Concat(last)
			if len(maps) > 0 {
				all = nil
			}
			for _, m := range maps {
				all = append(all, m...)
			}
			value++
			for _, n := range all {
				want[fmt.Sprintf("T%d alice a %d", n, value)] = true
			}
			e.heard()
			r.set(alice, "a", fmt.Sprint(value))
			got := map[string]bool{}
			for _, l := range e.heard() {
				if got[l] {
					rt.Fatalf("%s came twice", l)
				}
				got[l] = true
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				rt.Fatalf("devices %v, last %v: got %v, want %v", maps, last, got, want)
			}
		}
	})
}

// TestOnlineStatusModel: sessions come, hide and go at several devices, and the
// pictures come late, twice and in wrong order. What is told last is the truth,
// and nothing is told twice in a row.
func TestOnlineStatusModel(t *testing.T) {
	t.Parallel()
	bubble(t, func(rt *rapid.T, r *rig) {
		alice := user("alice")
		r.maps(alice, 1, "onlineStatus", "T")
		e := r.listen("T")
		defer e.Close()
		ordered := rapid.Bool().Draw(rt, "ordered")
		r.world.heard = nil // the test tells
		there := map[byte]bool{}
		var held []*presence.Presence
		var told []string
		flips, was := 0, false
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			d := byte(rapid.IntRange(1, 3).Draw(rt, "device"))
			if there[d] {
				r.world.goes(alice, d)
			} else {
				r.world.comes(alice, d, rapid.IntRange(0, 4).Draw(rt, "hidden") == 0)
			}
			there[d] = !there[d]
			p := r.world.Presence(alice)
			if now := p.Available(false) != presence.Unavailable; now != was {
				flips, was = flips+1, now
			}
			held = append(held, p)
			if !ordered && rapid.Bool().Draw(rt, "twice") {
				held = append(held, p)
			}
			if ordered || rapid.IntRange(0, 2).Draw(rt, "now") == 0 {
				if !ordered {
					held = rapid.Permutation(held).Draw(rt, "order")
				}
				for _, p := range held {
					r.Changed(p)
				}
				held = nil
				told = append(told, e.heard()...)
			}
		}
		for _, p := range held {
			r.Changed(p)
		}
		told = append(told, e.heard()...)
		want := `T alice onlineStatus ` + string(OnlineValue(r.world.Presence(alice)))
		if len(told) > 0 && told[len(told)-1] != want {
			rt.Fatalf("the last that was told is %s, want %s", told[len(told)-1], want)
		}
		if ordered && len(told) != flips || len(told) > flips {
			rt.Fatalf("%d messages of %d changes: %v", len(told), flips, told)
		}
		for i := 1; ordered && i < len(told); i++ {
			if told[i] == told[i-1] {
				rt.Fatalf("told twice: %v", told)
			}
		}
	})
}

// TestSubscriptionsModel: subscribers come and go while messages are published;
// each gets what was published in its topics in its time, in order, or ends as
// slow when more than the bound waited.
func TestSubscriptionsModel(t *testing.T) {
	t.Parallel()
	bubble(t, func(rt *rapid.T, r *rig) {
		type one struct {
			ear
			topics []string
			want   []string
		}
		var all []*one
		names := []string{"T0", "T1", "T2"}
		value := 0
		read := func(s *one) {
			if len(s.want) > QueueSize {
				if _, _, err := s.Drain(nil, 1); err != ErrSlow {
					rt.Fatalf("%d messages waited: got %v, want ErrSlow", len(s.want), err)
				}
				return
			}
			if got := s.heard(); !slices.Equal(got, s.want) {
				rt.Fatalf("got %v, want %v", got, s.want)
			}
			s.want = nil
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch k := rapid.IntRange(0, 9).Draw(rt, "step"); {
			case k < 3:
				topics := rapid.SliceOfN(rapid.SampledFrom(names), 0, 4).Draw(rt, "topics")
				all = append(all, &one{ear: r.listen(topics...), topics: topics})
			case k < 5 && len(all) > 0:
				i := rapid.IntRange(0, len(all)-1).Draw(rt, "who")
				read(all[i])
				all[i].Close()
				all = slices.Delete(all, i, i+1)
			case k < 7 && len(all) > 0:
				s := all[rapid.IntRange(0, len(all)-1).Draw(rt, "reader")]
				slow := len(s.want) > QueueSize
				if read(s); slow {
					s.Close()
					all = slices.DeleteFunc(all, func(o *one) bool { return o == s })
				}
			default:
				topic := rapid.SampledFrom(names).Draw(rt, "topic")
				for range rapid.SampledFrom([]int{1, 1, 5, QueueSize, QueueSize + 1}).Draw(rt, "many") {
					value++
					m := &Message{App: "demo", Topic: topic, User: "alice", Attribute: "a", Value: fmt.Append(nil, value), CallEnded: true}
					r.Deliver(m)
					r.Deliver(&Message{App: "other", Topic: topic, User: "alice", Attribute: "a", Value: m.Value})
					for _, s := range all {
						if slices.Contains(s.topics, topic) {
							s.want = append(s.want, line(m))
						}
					}
				}
			}
		}
		for _, s := range all {
			read(s)
			s.Close()
		}
		if c := r.Counts(); c.Subscriptions != 0 || c.Topics != 0 {
			rt.Fatalf("left over: %+v", c)
		}
	})
}

// TestTwoNodes: two nodes set attributes of one user at once, on one store.
// Nothing is lost, and the subscribers of both see values in the order of their
// storing; the last one they see is the one that is stored.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		w := &world{pictures: map[presence.User]*presence.Presence{}}
		a, b := newRigOn(t, store, w), newRigOn(t, store, w)
		alice := user("alice")
		a.maps(alice, 1, "x", "T")
		late := 0
		send := func(to *Topics) func(*Message) {
			return func(m *Message) {
				late++
				wire := AppendMessage(nil, m)
				time.AfterFunc(time.Duration(1+late%7)*time.Millisecond, func() {
					got, err := ParseMessage(wire)
					if err != nil {
						t.Error(err)
						return
					}
					to.Deliver(got)
				})
			}
		}
		var turn = make(chan struct{}, 1)
		guard := func(f func(*Message)) func(*Message) {
			return func(m *Message) { turn <- struct{}{}; f(m); <-turn }
		}
		a.cfg.Tell, b.cfg.Tell = guard(send(b.Topics)), guard(send(a.Topics))
		ears := []ear{a.listen("T"), b.listen("T")}
		const each = 40
		for n, node := range []*rig{a, b} {
			go func() {
				for i := range each {
					if _, _, err := node.Set(t.Context(), alice, []Attribute{
						{Name: "x", Value: fmt.Appendf(nil, "[%d,%d]", n, i)}, {Name: fmt.Sprintf("own%d-%d", n, i%8), Value: fmt.Append(nil, i)},
					}); err != nil {
						t.Error(err)
					}
					<-time.After(time.Duration(1+(i*7+n*3)%5) * time.Millisecond)
				}
			}()
		}
		<-time.After(time.Second)
		synctest.Wait()
		got, err := a.Get(t.Context(), alice)
		if err != nil || len(got.Attributes) != 1+2*8 {
			t.Fatalf("got %d attributes, %v, want 17: one was lost", len(got.Attributes), err)
		}
		for i, e := range ears {
			messages, _, err := e.Drain(nil, 1000)
			if err != nil || len(messages) < each {
				t.Fatalf("node %d: %d messages, %v", i, len(messages), err)
			}
			for j := 1; j < len(messages); j++ {
				if messages[j].Revision <= messages[j-1].Revision {
					t.Fatalf("node %d: revision %d after %d", i, messages[j].Revision, messages[j-1].Revision)
				}
			}
			x, _ := got.Find("x")
			if last := messages[len(messages)-1]; string(last.Value) != string(x.Value) {
				t.Errorf("node %d: the last value told is %s, stored is %s", i, last.Value, x.Value)
			}
			e.Close()
		}
	})
}

// TestUnseen: who may not see a user hears nothing of him.
func TestUnseen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.Seer = blind{"mallory": "alice"}
	r.maps(user("alice"), 1, "a", "T")
	r.maps(user("bob"), 1, "a", "T")
	for who, want := range map[presence.UserID]int{"mallory": 1, "carol": 2, "": 2} {
		s := r.Subscribe(Params{App: "demo", User: who, Topics: []string{"T"}, Wake: func() {}})
		r.set(user("alice"), "a", fmt.Sprintf("%q", who))
		r.set(user("bob"), "a", fmt.Sprintf("%q", who))
		if got, _, err := s.Drain(nil, 10); err != nil || len(got) != want {
			t.Errorf("%q: %d messages, %v, want %d", who, len(got), err, want)
		}
		s.Close()
	}
}

// blind says who may not see whom.
type blind map[presence.UserID]presence.UserID

// Sight implements Seer.
func (b blind) Sight(u presence.User) Sight {
	if b[u.ID] == "" {
		return nil
	}
	return without(b[u.ID])
}

type without presence.UserID

// Of implements Sight.
func (w without) Of(u presence.UserID) (bool, presence.Time, presence.Time) {
	return u != presence.UserID(w), 0, 0
}
