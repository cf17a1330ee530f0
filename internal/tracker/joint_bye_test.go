package tracker

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Two of three nodes die, one of them just after devices said goodbye there: the log has
// none of it, and only the third one heard. What is told of their ends, once there is a
// quorum again, is when and why they left, and nobody's last seen moves afterwards
// without a word: a webhook would have the former for good.
func TestAGoodbyeThatOneNodeHeardIsToldAsOne(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		refs := map[presence.UserID]Ref{}
		for i := range 12 {
			id := presence.UserID(fmt.Sprint("guest", i))
			refs[id], _ = b.person(id)
		}
		wait(20*time.Second + 250*time.Millisecond) // after a heartbeat, and before the next
		b.store.cut.Store(true)
		for _, ref := range refs {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_, _ = b.tr.Close(ctx, ref, presence.ReasonLeft)
			}()
		}
		synctest.Wait()
		left := presence.At(time.Now())
		wait(20 * time.Millisecond)
		j.quorum.Cut("a", true)
		a.store.cut.Store(true)
		b.kill()
		c.kill()
		wait(7 * time.Second)
		j.quorum.Heal()
		a.store.cut.Store(false)
		j.start("b")
		wait(time.Second)
		j.start("c")
		wait(time.Minute)
		for id, ref := range refs {
			f, facts := a.folded(ref.User)
			last := facts[len(facts)-1]
			if len(facts) != 2 || last.Reason != presence.ReasonLeft || last.LastSeen != left || f.LastSeen != left {
				t.Errorf("%s left at %v: the log says %d facts, the last %v at %v, and last seen %v in the end",
					id, left, len(facts), last.Reason, last.LastSeen, f.LastSeen)
			}
			for _, m := range j.all {
				if p := m.tr.Presence(ref.User); p.LastSeen != left {
					t.Errorf("%s shows %s last seen %v, want %v", m.name, id, p.LastSeen, left)
				}
			}
		}
	})
}

// A node that comes back ends a session that the log had closed, and replaced by another
// one of its user, while it was away. It says nothing new of when the user was last seen:
// the log has that, and nobody else would be told.
func TestWhatWasReplacedMeanwhileMovesNoLastSeen(t *testing.T) {
	inJointOf(t, presence.Single, func(t *testing.T, j *joint, a, b, c *member) {
		ref, _ := c.person("cleo")
		wait(20 * time.Second)
		c.freeze(30 * time.Second)
		wait(20 * time.Second)
		a.person("cleo")
		wait(40 * time.Second)
		f, _ := a.folded(ref.User)
		for _, m := range []*member{a, b, c} {
			if p := m.tr.Presence(ref.User); p.LastSeen != f.LastSeen || p.LastSeenShown != f.LastSeenShown {
				t.Errorf("%s knows last seen %v, to others %v; the log %v and %v", m.name, p.LastSeen.Time(), p.LastSeenShown.Time(), f.LastSeen.Time(), f.LastSeenShown.Time())
			}
		}
		j.agree(map[presence.UserID]bool{"cleo": true})
	})
}

// A node dies just after devices said goodbye there: one of the others heard it, the
// other did not, and the log has no leader until long after the grace. Whoever goes from
// the one to the other is told no earlier last seen.
func TestAGoodbyeThatOneNodeHeardIsToldToTheOther(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		refs := b.guests(3)
		wait(20*time.Second + 250*time.Millisecond) // after a heartbeat, and before the next
		release := j.mem.Hold()
		j.net.Cut("b", "c")
		left := presence.At(time.Now())
		b.say(refs)
		wait(14 * time.Millisecond)
		b.kill()
		for i := range 300 {
			wait(100 * time.Millisecond)
			if i == 200 {
				release()
			}
			for id, ref := range refs {
				for _, m := range []*member{a, c} {
					if seen := m.seen(ref.User); seen != 0 && seen != left {
						t.Fatalf("%v after the death %s shows that %s was last seen at %v, want %v", time.Duration(i+1)*100*time.Millisecond, m.name, id, seen.Time(), left.Time())
					}
				}
			}
		}
		for id, ref := range refs {
			for _, m := range []*member{a, c} {
				if seen := m.seen(ref.User); seen != left {
					t.Errorf("%s shows %s last seen at %v, want %v", m.name, id, seen.Time(), left.Time())
				}
			}
		}
	})
}
