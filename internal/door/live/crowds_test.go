package live

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// count walks the chain in both directions; it is -1 when they differ.
func (w *waiting) count() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := w.first; c != nil; c = c.greet.spot.after {
		n++
	}
	back := 0
	for c := w.last; c != nil; c = c.greet.spot.prev {
		back++
	}
	if back != n {
		return -1
	}
	return n
}

// Who goes before his hello costs nothing from then on, though its time has not
// come; the others' time comes all the same.
func TestNewcomersWhoGoAreForgotten(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		var peers []*peer
		for range 8 {
			peers = append(peers, n.open())
			wait(100 * time.Millisecond)
		}
		for _, i := range []int{0, 3, 7, 4} { // the first, the last, and from within
			peers[i].Conn.Close()
		}
		peers[1].Say(`{"t":"hello","token":%q}`, n.JWT("alice"))
		wait(time.Second)
		if got := n.door.fresh.count(); got != 3 {
			t.Errorf("%d connections wait for their hello, want 3", got)
		}
		wait(HelloLimit)
		for _, i := range []int{2, 5, 6} {
			if code, _ := peers[i].ended(); code != codeNoHello {
				t.Errorf("the %dth: got %d, want %d", i, code, codeNoHello)
			}
		}
		if got := n.door.fresh.count(); got != 0 {
			t.Errorf("%d are left", got)
		}
		late := n.open()
		late.stands()
		wait(HelloLimit + time.Second)
		if code, _ := late.ended(); code != codeNoHello {
			t.Errorf("one who came later: got %d, want %d", code, codeNoHello)
		}
	})
}

// Hellos that come at once are counted before their connections are there, and
// each once.
func TestHellosAtOnceAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, doortest.New(t, doortest.Config{}), Limits{PerUser: map[presence.AppID]int{doortest.App: 2}})
		defer n.stop()
		// all says hello on so many connections while the store stands still, and counts
		// what the first answers are.
		all := func(hellos ...string) map[string]int {
			var peers []*peer
			release := n.Store.Hold()
			for _, hello := range hellos {
				p := n.open()
				p.Say("%s", hello)
				peers = append(peers, p)
			}
			synctest.Wait()
			release()
			synctest.Wait()
			answers := map[string]int{}
			for _, p := range peers {
				var first struct{ T, Reason, Resume string }
				read(t, p.Came()[0], &first)
				n.Log.Secret(first.Resume)
				answers[first.T+first.Reason]++
			}
			return answers
		}
		fresh := fmt.Sprintf(`{"t":"hello","token":%q}`, n.JWT("alice"))
		if got := all(fresh, fresh, fresh, fresh); got["welcome"] != 2 || got["byeTOO_MANY_CONNECTIONS"] != 2 {
			t.Errorf("four at once where two may be: %v", got)
		}
		if got := len(n.Tracker.Sessions(presence.User{App: doortest.App, ID: "alice"})); got != 2 {
			t.Errorf("%d sessions are left, want 2", got)
		}
		one, two := n.hello("bob", ""), n.hello("bob", "")
		again := func(d *device) string {
			return fmt.Sprintf(`{"t":"hello","token":%q,"resume":%q}`, n.JWT("bob"), d.welcome.Resume)
		}
		if got := all(again(one), again(two), again(one)); got["welcome"] != 3 {
			t.Errorf("two sessions that are taken up at once, one of them twice: %v", got)
		}
		n.port.HangUp()
		wait(time.Second)
		if got := all(again(one), again(two)); got["welcome"] != 2 {
			t.Errorf("two sessions that come back at once: %v", got)
		}
		if n.door.coming.Len() > 0 {
			t.Errorf("left over: %d users", n.door.coming.Len())
		}
	})
}

// Long frames count for many: reading them costs as much.
func TestPaceOfLongFrames(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", "")
		wait(time.Second)
		<-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second + 10*time.Millisecond)))
		long := `{"t":"ping","x":"` + strings.Repeat("x", MaxFrame/2) + `"}`
		answers := map[string]int{}
		for range 5 {
			var e errorFrame
			read(t, alice.ask("%s", long), &e)
			answers[e.T+e.Reason]++
		}
		if answers["pong"] != 3 || answers["errorRATE_LIMITED"] != 2 {
			t.Errorf("five frames of 256 KiB: got %v, want three of them taken", answers)
		}
		wait(time.Second)
		for range 20 {
			if alice.Send(long) != nil {
				break
			}
		}
		if code, bye := alice.ended(); code != 4429 || !strings.Contains(bye, `"reason":"RATE_LIMITED"`) {
			t.Errorf("twenty at once: got %d %s", code, bye)
		}
	})
}
