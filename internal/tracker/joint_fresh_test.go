package tracker

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// freshStart is how a node is killed and starts anew; times are from the kill.
type freshStart struct {
	after  time.Duration // when it starts, at the earliest
	hold   time.Duration // until then the log takes nothing
	quorum time.Duration // until then there is no quorum
	behind bool          // the new one reads late what comes into the log since its start
}

// A node is killed and starts anew, while the log takes something or not, has a quorum
// or not, and the new one reads it late or not. Its devices come elsewhere within the
// grace, or to the new one. From the first moment on in which that answers, it shows
// nobody offline who is there, or is coming, as little as the others do; and no ghost.
func TestAFreshNodeShowsNobodyOffline(t *testing.T) {
	t.Parallel()
	const s, ms = time.Second, time.Millisecond
	for _, c := range []freshStart{
		{after: 500 * ms}, {after: 2500 * ms, behind: true}, {after: 4 * s}, {after: 6 * s, behind: true}, {after: 8 * s, behind: true}, {after: 10 * s},
		{after: 500 * ms, hold: 4 * s}, {after: 2500 * ms, hold: 4 * s, quorum: 4 * s, behind: true}, {after: 500 * ms, hold: 8500 * ms},
		{after: 6 * s, hold: 8500 * ms, quorum: 8500 * ms}, {after: 500 * ms, hold: 12 * s}, {after: 4 * s, hold: 12 * s, behind: true},
		{after: 8 * s, hold: 12 * s}, {after: 10 * s, hold: 12 * s}, {after: 10 * s, hold: 12 * s, quorum: 8500 * ms, behind: true},
	} {
		t.Run(fmt.Sprintf("%v, log %v, quorum %v, behind %v", c.after, c.hold, c.quorum, c.behind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { playFreshStart(t, c) })
		})
	}
}

func playFreshStart(t *testing.T, how freshStart) {
	j := newJoint(t, 1, presence.AllowAll)
	defer j.end()
	a, b, c := j.all["a"], j.all["b"], j.all["c"]
	refs := map[presence.UserID]Ref{}
	for _, id := range []presence.UserID{"early", "later", "home", "never"} {
		refs[id], _ = c.person(id)
	}
	refs["anna"], _ = a.person("anna")
	wait(17 * time.Second) // what they watch is noted
	f := &freshLook{began: time.Now(), nodes: []*member{a, b}, refs: refs, offline: map[string]time.Duration{}, ghost: map[string]time.Duration{}, stop: make(chan struct{})}
	c.kill()
	if how.hold > 0 {
		time.AfterFunc(how.hold, j.mem.Hold())
	}
	if how.quorum > 0 {
		j.quorum.SetDown(true)
		time.AfterFunc(how.quorum, j.quorum.Heal)
	}
	f.all.Go(f.look)
	f.all.Go(func() { f.comes(t, "early", 311*time.Millisecond, func() *member { return a }) })
	f.all.Go(func() { f.comes(t, "later", 4111*time.Millisecond, func() *member { return b }) })
	f.all.Go(func() { f.comes(t, "home", 5111*time.Millisecond, f.newest) })
	wait(max(how.after, how.quorum))
	j.behind = how.behind
	c = j.start("c")
	f.add(c)
	ready := time.Since(f.began)
	wait(10*time.Second + 3*time.Millisecond)
	c.store.late.Store(false)
	wait(20 * time.Second)
	close(f.stop)
	f.all.Wait()
	for who, at := range f.offline {
		t.Errorf("%s: offline %v after the kill", who, at)
	}
	for who, at := range f.ghost {
		// A verdict without a quorum comes when that is back.
		if limit := max(10*time.Second, ready+time.Second); how.quorum == 0 && at > limit {
			t.Errorf("%s: a ghost until %v after the kill, want %v at most", who, at, limit)
		}
	}
	j.agree(map[presence.UserID]bool{"early": true, "later": true, "home": true, "never": false, "anna": true})
}

// freshLook looks all the time at what nodes show.
type freshLook struct {
	began time.Time
	refs  map[presence.UserID]Ref
	stop  chan struct{}
	all   sync.WaitGroup

	mu             sync.Mutex // guards all below
	nodes          []*member
	offline, ghost map[string]time.Duration // when somebody was shown so: first, and last
}

func (f *freshLook) add(m *member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = append(f.nodes, m)
}

func (f *freshLook) newest() *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[len(f.nodes)-1]
}

func (f *freshLook) look() {
	ticker := time.NewTicker(50*time.Millisecond + 7*time.Microsecond)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
		}
		f.mu.Lock()
		for _, m := range f.nodes {
			for id := range f.refs {
				open, _ := m.shows(id)
				who, now := m.name+" of "+string(id), time.Since(f.began)
				if _, ok := f.offline[who]; id != "never" && !open && !ok {
					f.offline[who] = now
				} else if id == "never" && open {
					f.ghost[who] = now
				}
			}
		}
		f.mu.Unlock()
	}
}

// comes has a device ask until it is let in.
func (f *freshLook) comes(t *testing.T, id presence.UserID, after time.Duration, at func() *member) {
	<-time.After(after)
	for range 60 {
		if _, err := at().tr.Connect(context.Background(), f.refs[id], ConnectParams{Link: &wire{}}); err == nil {
			return
		} else if kind := fault.KindOf(err); kind != fault.NodeUnavailable && kind != fault.LogUnavailable {
			t.Errorf("%s is refused: %v", id, err)
			return
		}
		<-time.After(313 * time.Millisecond)
	}
	t.Errorf("%s was not let in", id)
}

// What a node tells of a session that it is about to take over is lost on the way to
// another one. That one ends it no more than those who heard.
func TestALostWordOfATakeOverEndsNothing(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, _ := c.person("cleo")
		wait(17 * time.Second)
		c.kill()
		time.AfterFunc(12*time.Second, j.mem.Hold())
		wait(4 * time.Second) // its silence is known: the taker goes on at once
		j.net.Cut("a", "b")
		there := a.comes(ref)
		wait(200 * time.Millisecond)
		j.heal()
		for range 150 {
			wait(100 * time.Millisecond)
			for _, m := range []*member{a, b} {
				if open, _ := m.shows("cleo"); !open {
					t.Fatalf("%s shows her offline", m.name)
				}
			}
		}
		if got := <-there; got.err != nil {
			j.until(a, ref)
		}
		j.agree(map[presence.UserID]bool{"cleo": true})
	})
}

// FuzzHolds: no answer about what is held breaks a node, and one is read as it was
// written.
func FuzzHolds(f *testing.F) {
	one := held{Ref{presence.User{App: app, ID: "anna"}, presence.SessionID{1}}, presence.Epoch{Counter: 3, Incarnation: 9}, holdLimit}
	f.Add(one.append(one.append(nil)))
	f.Add([]byte{4})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseHolds(b)
		if err != nil {
			return
		}
		var again []byte
		for i := range list {
			again = list[i].append(again)
		}
		if second, err := parseHolds(again); err != nil || !reflect.DeepEqual(list, second) {
			t.Errorf("%+v is read as %+v (%v)", list, second, err)
		}
	})
}
