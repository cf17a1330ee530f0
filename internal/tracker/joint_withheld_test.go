package tracker

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// say has devices say goodbye at a node, and returns when it did all that waits for
// nobody.
func (m *member) say(refs map[presence.UserID]Ref) {
	for _, ref := range refs {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_, _ = m.tr.Close(ctx, ref, presence.ReasonLeft)
		}()
	}
	synctest.Wait()
}

// seen is the latest last seen that a node has told anybody of a user: watchers, and who
// asks it; 0: he is there.
func (m *member) seen(user presence.User) (at presence.Time) {
	m.ear.mu.Lock()
	told := m.ear.newest[user]
	m.ear.mu.Unlock()
	for _, p := range []*presence.Presence{told, m.tr.Presence(user)} {
		if p != nil && p.Available(false) == presence.Unavailable {
			at = max(at, p.Seen(false))
		}
	}
	return at
}

// guests opens sessions of so many users at a node.
func (m *member) guests(n int) map[presence.UserID]Ref {
	refs := map[presence.UserID]Ref{}
	for i := range n {
		id := presence.UserID(fmt.Sprint("guest", i))
		refs[id], _ = m.person(id)
	}
	return refs
}

// A node dies just after a device said goodbye there, before anybody else heard of it:
// the others will say that he was last seen with the node's last sign of life, which was
// before. Whoever watched him at that node goes to another one, and must not have been
// told of a later time.
func TestAnEndOfWhichNobodyElseHeardIsNotShown(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		refs := b.guests(3)
		wait(20*time.Second + 250*time.Millisecond) // after a heartbeat, and before the next
		b.cut()                                     // what it says from now on is lost with it
		b.say(refs)
		wait(14 * time.Millisecond)
		told := map[presence.UserID]presence.Time{}
		for id, ref := range refs {
			told[id] = b.seen(ref.User)
		}
		b.kill()
		wait(30 * time.Second)
		for id, ref := range refs {
			for _, m := range []*member{a, c} {
				if seen := m.seen(ref.User); seen == 0 || seen < told[id] {
					t.Errorf("%s shows that %s was last seen at %v; at b somebody was told %v", m.name, id, seen.Time(), told[id].Time())
				}
			}
		}
	})
}

// The same, where one of the others heard of it and the other did not, though the node
// heard both: no end is shown before both have it.
func TestAnEndThatOneNodeHeardIsNotShown(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		refs := b.guests(3)
		wait(20*time.Second + 250*time.Millisecond)
		b.store.cut.Store(true)
		j.net.Cut("b", "c")
		b.say(refs)
		wait(100 * time.Millisecond)
		for id, ref := range refs {
			if open, _ := a.shows(id); open {
				t.Errorf("a did not hear of the end of %s", id)
			}
			if seen := b.seen(ref.User); seen != 0 {
				t.Errorf("b showed that %s was last seen at %v, and c does not know it", id, seen.Time())
			}
		}
	})
}

// As soon as the others have an end it is shown, though the log has no leader, and not
// before them.
func TestAnEndIsShownWhenTheOthersHaveIt(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		refs := b.guests(3)
		b.store.cut.Store(true)
		b.ear.mu.Lock()
		b.ear.slow = func(p *presence.Presence) {
			for _, m := range []*member{a, c} {
				if p.Available(false) == presence.Unavailable && m.seen(p.User) != p.Seen(false) {
					t.Errorf("b shows that %s is gone before %s does", p.User.ID, m.name)
				}
			}
		}
		b.ear.mu.Unlock()
		left := presence.At(time.Now())
		b.say(refs)
		wait(20 * time.Millisecond)
		for id, ref := range refs {
			if seen := b.seen(ref.User); seen != left {
				t.Errorf("b shows %s last seen at %v, want %v", id, seen.Time(), left.Time())
			}
		}
	})
}

// A node that stands still and is not known to holds up nothing that the log has; what
// that has not either waits for half a second.
func TestANodeThatStandsStillHoldsUpNoEnd(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		refs := b.guests(2)
		wait(time.Second)
		c.freeze(1200 * time.Millisecond)
		b.say(map[presence.UserID]Ref{"guest0": refs["guest0"]})
		wait(20 * time.Millisecond)
		if b.seen(refs["guest0"].User) == 0 {
			t.Error("the log has the end, and it is not shown")
		}
		wait(500 * time.Millisecond)
		b.store.cut.Store(true)
		b.say(map[presence.UserID]Ref{"guest1": refs["guest1"]})
		wait(withheldFor - 20*time.Millisecond)
		if b.seen(refs["guest1"].User) != 0 {
			t.Error("an end is shown that c does not have, nor the log")
		}
		wait(40 * time.Millisecond)
		if b.seen(refs["guest1"].User) == 0 {
			t.Error("an end is not shown after half a second")
		}
	})
}

// What else is said of a user while an end of his is not shown is shown with it.
func TestWhatIsSaidBesideAnEndThatIsNotShown(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		goes, _ := b.person("bob")
		stays, _ := b.person("bob")
		wait(time.Second)
		c.freeze(time.Second)
		b.store.cut.Store(true)
		b.say(map[presence.UserID]Ref{"bob": goes})
		calls := b.ear.heard()
		if _, err := b.tr.Update(t.Context(), stays, func(*presence.Status) (*presence.Status, error) { return &presence.Status{Show: presence.Away}, nil }); err != nil {
			t.Fatal(err)
		}
		far, _ := a.person("bob") // a word of another node
		wait(100 * time.Millisecond)
		if n := b.ear.heard() - calls; n != 0 {
			t.Errorf("%d pictures were told while an end is not shown", n)
		}
		wait(withheldFor)
		b.ear.mu.Lock()
		p := b.ear.newest[goes.User]
		b.ear.mu.Unlock()
		open, away := 0, 0
		for _, v := range p.Sessions {
			if v.True.Open() {
				open++
				if v.Status != nil && v.Status.Show == presence.Away {
					away++
				}
			}
		}
		if open != 2 || away != 1 {
			t.Errorf("told of %d open sessions, %d away, want two (%v and %v) and one", open, away, stays.Session, far.Session)
		}
	})
}

// An end that the others would say is later, as of a device whose link was lost long
// before, waits for nobody.
func TestAnEndOfLongAgoWaitsForNobody(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, w := b.person("bob")
		b.tr.LinkLost(ref, w)
		grace := b.tr.appPolicy(app).Grace
		wait(grace - 100*time.Millisecond)
		c.freeze(time.Second)
		b.store.cut.Store(true)
		wait(200 * time.Millisecond)
		if open, _ := b.shows("bob"); open {
			t.Errorf("after %v bob's session is shown", grace+100*time.Millisecond)
		}
	})
}

// Of two ends of one user none is shown before the others have both.
func TestTwoEndsOfOneUser(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		first, _ := b.person("bob")
		second, _ := b.person("bob")
		wait(time.Second)
		c.freeze(1300 * time.Millisecond)
		b.store.cut.Store(true)
		b.say(map[presence.UserID]Ref{"bob": first})
		wait(100 * time.Millisecond)
		b.say(map[presence.UserID]Ref{"bob": second})
		wait(withheldFor)
		if seen := b.seen(first.User); seen != 0 {
			t.Errorf("b shows that bob was last seen at %v, which c does not know", seen.Time())
		}
		wait(withheldFor)
		if b.seen(first.User) == 0 {
			t.Error("neither end is shown after a second")
		}
	})
}

// Who comes and goes all the time is shown as he is, a second late at most.
func TestEndlessEnds(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		var refs []Ref
		for range 16 {
			ref, _ := b.person("bob")
			refs = append(refs, ref)
		}
		wait(time.Second)
		j.net.Slow("b", "c", 200*time.Millisecond)
		b.store.cut.Store(true)
		for i, ref := range refs[1:] {
			b.say(map[presence.UserID]Ref{"bob": ref})
			wait(100 * time.Millisecond)
			open := 0
			for _, v := range b.tr.Presence(ref.User).Sessions {
				if v.True.Open() {
					open++
				}
			}
			if late := open - (len(refs) - 1 - i); late > 11 {
				t.Fatalf("after %d ends %d of them are not shown", i+1, late)
			}
		}
	})
}
