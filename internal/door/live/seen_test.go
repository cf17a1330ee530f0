package live

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Friends are watched whole, in hello or later, and the list is followed; when
// it cannot be read the session is open all the same.
func TestFriends(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		n.Roster.Befriend("alice", "bob", "carol")
		n.hello("carol", "")
		alice := n.hello("alice", `"friends":true,"watch":["bob"]`)
		alice.wantNotes("hello", "bob none off", "done  friends=false all=true users=1", "carol current on online", "done  friends=true all=false users=2")
		if got := alice.ask(`{"t":"watch","id":1,"friends":true}`); got != `{"t":"ok","id":1,"friends":2,"already":true}` {
			t.Errorf("again: %s", got)
		}
		alice.Came()
		n.Roster.Befriend("alice", "bob", "dave")
		alice.wantNotes("the list changes", "carol ended NO_LONGER_FRIEND", "dave none off")
		if got := alice.ask(`{"t":"unwatch","id":2,"users":["bob","erin","\u0000"]}`); got != `{"t":"ok","id":2,"was":["bob"],"still":["bob"],"rejected":["\u0000"]}` {
			t.Errorf("unwatch: %s", got)
		}
		if got := alice.ask(`{"t":"unwatch","id":3,"friends":true}`); got != `{"t":"ok","id":3,"was":true}` {
			t.Errorf("unwatch friends: %s", got)
		}
		alice.wantNotes("the end", "bob ended UNSUBSCRIBED", "dave ended UNSUBSCRIBED")
		if got := alice.ask(`{"t":"watch","id":4,"users":["bob"]}`); got != `{"t":"ok","id":4}` {
			t.Errorf("watch: %s", got)
		}
		if got := alice.ask(`{"t":"watch","id":5,"users":["bob","erin",""]}`); got != `{"t":"ok","id":5,"already":["bob"],"rejected":[""]}` {
			t.Errorf("watch: %s", got)
		}
		alice.wantNotes("watched", "bob none off", "done bob friends=false all=false users=1", "erin none off", "done  friends=false all=true users=2")

		n.Roster.Fail(doortest.ErrListsDown)
		bob := n.hello("bob", `"id":8,"friends":true,"watch":["carol"]`)
		frames := slices.DeleteFunc(bob.Came(), func(s string) bool { return strings.HasPrefix(s, `{"t":"n"`) })
		want := `{"t":"error","id":8,"part":"friends","reason":"FRIENDS_UNAVAILABLE","message":"the friend list cannot be read now; nothing was subscribed","retry_after":2000}`
		if len(frames) != 1 || frames[0] != want {
			t.Errorf("list down: %q", frames)
		}
		bob.stands()
	})
}

// R11: who is invisible, or blocks the watcher, is bit for bit one who left: the
// frames of two worlds are compared, ids of sessions aside.
func TestInvisibleAndBlockedAreBitForBitOffline(t *testing.T) {
	t.Parallel()
	seenBy := func(late string, vanish, meanwhile func(n *node, bob *device)) string {
		var frames []string
		inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
			alice := n.hello("alice", `"watch":["bob"]`)
			bob := n.hello("bob", `"status":{"show":"away","text":"here","properties":{"a":1}}`)
			wait(time.Second)
			vanish(n, bob)
			wait(time.Second)
			meanwhile(n, bob)
			wait(time.Second)
			frames = append(frames, alice.Came()...)
			frames = append(frames, alice.ask(`{"t":"get","id":1,"users":["bob","bob"],"sessions":true}`))
			other := n.hello(late, "")
			other.Say(`{"t":"watch","users":["bob"]}`)
			frames = append(frames, other.Came()...)
			alice.Conn.Close()
			again := n.hello("alice", alice.resume("1"))
			frames = append(frames, again.Came()...)
		})
		ids := map[string]string{}
		return regexp.MustCompile(`"id":"[\w-]{22}"`).ReplaceAllStringFunc(strings.Join(frames, "\n"), func(s string) string {
			if ids[s] == "" {
				ids[s] = fmt.Sprintf(`"id":"session %d"`, len(ids))
			}
			return ids[s]
		})
	}
	nothing := func(*node, *device) {}
	leaves := func(_ *node, bob *device) { bob.Say(`{"t":"bye"}`); synctest.Wait() }
	busy := func(_ *node, bob *device) {
		for i := range 5 {
			bob.ask(`{"t":"set","status":{"invisible":true,"text":"secret %d"}}`, i)
		}
		bob.Say(`{"t":"bye"}`)
		synctest.Wait()
	}
	hides := func(_ *node, bob *device) { bob.ask(`{"t":"patch","status":{"invisible":true}}`) }
	left := seenBy("carol", leaves, nothing)
	if !strings.Contains(left, "CLIENT") || !strings.Contains(left, `"seen":`) || strings.Contains(left, "secret") {
		t.Fatalf("the world of one who left:\n%s", left)
	}
	compare := func(name, got string) {
		if got != left {
			t.Errorf("R11: %s: watchers see\n%s\nand of one who left\n%s", name, got, left)
		}
	}
	compare("invisible", seenBy("carol", hides, nothing))
	compare("invisible, busy, then gone", seenBy("carol", hides, busy))
	left = seenBy("alice", leaves, nothing) // whom alone a block concerns
	blocks := func(n *node, _ *device) {
		n.Roster.Block("alice", "bob", presence.At(time.Now()))
		synctest.Wait()
	}
	visiblyBusy := func(_ *node, bob *device) {
		for i := range 5 {
			bob.ask(`{"t":"set","status":{"text":"secret %d"}}`, i)
		}
	}
	compare("blocked", seenBy("alice", blocks, visiblyBusy))
	t.Logf("R11: %d bytes are equal in three worlds", len(left))
}

// Users of another app are others, whatever their names.
func TestAppsAreApart(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", `"watch":["bob","alice"]`)
		alice.wantNotes("alone", "bob none off", "alice current on online", "done  friends=false all=true users=2")
		for _, user := range []string{"bob", "alice"} {
			p := n.open()
			p.Say(`{"t":"hello","token":%q,"watch":["alice","bob"]}`, n.Sign(doortest.OtherIssuer(), user, time.Hour))
			other := &device{peer: p}
			frames := other.Came()
			read(t, frames[0], &other.welcome)
			n.Log.Secret(other.welcome.Resume)
			if got, _ := other.notes(frames); user == "bob" && !slices.Equal(got, []string{"alice none off", "bob current on online", "done  friends=false all=true users=2"}) {
				t.Errorf("bob of the other app is told %q", got)
			}
			other.ask(`{"t":"set","status":{"text":"elsewhere"}}`)
			other.Say(`{"t":"bye"}`)
			other.ended()
		}
		wait(time.Minute)
		alice.wantNotes("of the other app")
		if got := alice.ask(`{"t":"get","users":["bob"],"sessions":true}`); got != `{"t":"ok","users":[{"u":"bob","on":false,"sessions":[]}]}` {
			t.Errorf("bob: %s", got)
		}
	})
}
