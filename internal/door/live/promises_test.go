package live

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// R2: a device that is gone without a word, of which not even the network knows,
// is told of at the heartbeat time-out, and its connection does not stay.
func TestHalfOpenDevices(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{35 * time.Second, 400 * time.Second} {
		t.Run(timeout.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, doortest.Config{Policy: tracker.Policy{HeartbeatTimeout: timeout}}, func(t *testing.T, n *node) {
				bob := n.hello("bob", `"watch":["alice"]`)
				alice := n.hello("alice", "")
				bob.take()
				wait(2 * timeout) // it answers pings, and stays
				bob.wantNotes("while she answers")
				alice.Mute()
				began := time.Now()
				for time.Since(began) < 2*timeout {
					wait(100 * time.Millisecond)
					if lines, _ := bob.notes(bob.take()); len(lines) > 0 {
						if !slices.Equal(lines, []string{"alice closed off HEARTBEAT"}) {
							t.Fatalf("told %q", lines)
						}
						break
					}
				}
				took := time.Since(began)
				if soonest := timeout - pingEvery(timeout) - 2*time.Second; took < soonest {
					t.Errorf("gone after %v, but a pong came at most %v before", took, timeout-soonest)
				}
				if took > timeout+time.Second {
					t.Errorf("R2: the half-open device was visible for %v, want at most %v", took, timeout+time.Second)
				}
				t.Logf("R2: heartbeat time-out %v: gone after %v", timeout, took.Round(100*time.Millisecond))
				wait(10 * time.Second)
				if open := n.door.Open(); open != 1 {
					t.Errorf("%d connections are open, want bob's", open)
				}
			})
		})
	}
}

// A call of a device waits for the store for longer than the heartbeat time-out, and
// nothing is read of the device meanwhile: it does not time out, as long as it answers
// when it is heard again. One that does not was silent all the while.
func TestWhoIsNotHeardDoesNotTimeOut(t *testing.T) {
	t.Parallel()
	for name, mute := range map[string]bool{"it lives": false, "it is gone": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, doortest.Config{Policy: tracker.Policy{HeartbeatTimeout: 3 * time.Second, Grace: 2 * time.Second}}, func(t *testing.T, n *node) {
				alice := n.hello("alice", "")
				shown := func() *presence.Face {
					return &n.Tracker.Presence(presence.User{App: doortest.App, ID: "alice"}).Sessions[0].True
				}
				release := n.Store.Hold()
				alice.send(`{"t":"set","id":1,"status":{"invisible":true}}`)
				if mute {
					alice.Mute()
				}
				sent := time.Now()
				for time.Since(sent) < 8*time.Second {
					if wait(100 * time.Millisecond); !shown().Open() {
						t.Fatalf("closed %v after it asked for what waits for the store: %v", time.Since(sent), shown().Reason)
					}
				}
				release()
				wait(1500 * time.Millisecond)
				if !mute {
					wait(10 * time.Second)
				}
				if shown().Open() == mute {
					t.Errorf("it is open: %v, and it is mute: %v", shown().Open(), mute)
				}
				if seen := n.Tracker.Presence(presence.User{App: doortest.App, ID: "alice"}).LastSeen; mute && seen.Time().After(sent.Add(1500*time.Millisecond)) {
					t.Errorf("last seen %v after it said its last word", seen.Time().Sub(sent))
				}
			})
		})
	}
}

// R3: back within the grace, a page that is loaded anew, and a node that stops
// and starts within ten seconds show nothing to anybody.
func TestNoFalseOffline(t *testing.T) {
	t.Parallel()
	visible := 0
	ways := map[string]func(d *device){
		"reset":             func(d *device) { d.Conn.Close() },
		"page reload, 1001": func(d *device) { d.Frame(8, []byte{3, 233}); d.Conn.Close() },
		"closed, 1000":      func(d *device) { d.Frame(8, []byte{3, 232}) },
		"half a frame":      func(d *device) { d.Conn.Write([]byte{0x81, 0xfe}); d.Conn.Close() },
	}
	for name, leave := range ways {
		inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
			bob := n.hello("bob", `"watch":["alice"]`)
			alice := n.hello("alice", `"watch":["bob"],"status":{"text":"here"}`)
			bob.take()
			for range 5 {
				leave(alice)
				wait(5 * time.Second)
				before := alice.welcome
				alice = n.hello("alice", alice.resume(fmt.Sprint(alice.welcome.Q)))
				if w := alice.welcome; !w.Resumed || w.Resync || w.Session != before.Session {
					t.Fatalf("%s: %+v", name, w)
				}
			}
			wait(time.Minute)
			got, _ := bob.notes(bob.take())
			if visible += len(got); len(got) > 0 {
				t.Errorf("%s: watchers were told %q", name, got)
			}
		})
	}
	t.Logf("R3: %d visible changes", visible)
}

// R3 over a restart: who was told to come back resumes at the next node, which
// has his status and what he watched.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		first := newNode(t, doortest.New(t, doortest.Config{Store: store, Checkpoints: true}), Limits{})
		bob := first.hello("bob", `"watch":["alice"]`)
		alice := first.hello("alice", `"watch":["bob"],"status":{"show":"busy","text":"here"}`)
		_, last := bob.notes(bob.take())
		first.Tracker.Drain(func() tracker.End {
			return tracker.End{Cause: tracker.CauseDraining, RetryAfter: 1500 * time.Millisecond}
		})
		first.stopDoor()
		for _, d := range []*device{alice, bob} {
			code, bye := d.ended()
			want := `{"t":"bye","reason":"DRAINING","message":"this node is stopping; connect again and resume the session","retry_after":1500,"kept":true}`
			if code != 1001 || bye != want {
				t.Errorf("got %d %s", code, bye)
			}
		}
		first.Core.Stop()
		<-time.After(9 * time.Second)
		second := newNode(t, doortest.New(t, doortest.Config{Store: store, Checkpoints: true, Incarnation: 2}), Limits{})
		defer second.stop()
		bob2 := second.hello("bob", bob.resume(fmt.Sprint(last)))
		if w := bob2.welcome; !w.Resumed || !w.Resync || w.Session != bob.welcome.Session || w.Q != last+1 {
			t.Errorf("resumed after %d: %+v", last, w)
		}
		bob2.wantNotes("the present", "alice current on busy here", "done  friends=false all=true users=1")
		alice2 := second.hello("alice", alice.resume(""))
		alice2.wantNotes("the present", "bob current on online", "done  friends=false all=true users=1")
		wait(time.Minute)
		bob2.wantNotes("R3: nothing else")
		alice2.wantNotes("R3: nothing else")
		t.Log("R3: SIGTERM and start after 9 s: 0 visible changes")
	})
}

// What was lost on the way is told again on a resume, by its number: the
// present of those who changed since, and no more.
func TestResumeByNumber(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", `"watch":["bob","carol"]`)
		_, seen := alice.notes(alice.take())
		bob := n.hello("bob", "")
		bob.ask(`{"t":"set","status":{"text":"one"}}`)
		alice.take() // and forgets
		alice.Conn.Close()
		bob.ask(`{"t":"set","status":{"text":"two"}}`)
		again := n.hello("alice", alice.resume(fmt.Sprint(seen)))
		if w := again.welcome; !w.Resumed || w.Resync || w.Q != seen+1 {
			t.Errorf("after %d: %+v", seen, w)
		}
		got, last := again.notes(again.take())
		if want := []string{"bob current on online two", "done  friends=false all=true users=1"}; !slices.Equal(got, want) || last != seen+3 {
			t.Errorf("got %q up to %d, want %q", got, last, want)
		}
		again.Conn.Close()
		fresh := n.hello("alice", alice.resume(""))
		if w := fresh.welcome; !w.Resumed || !w.Resync {
			t.Errorf("without a number: %+v", w)
		}
		fresh.wantNotes("without a number", "bob current on online two", "carol none off", "done  friends=false all=true users=2")
	})
}

// A second connection takes the session over; the first is told, and nobody
// else sees anything.
func TestReplaced(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		bob := n.hello("bob", `"watch":["alice"]`)
		one := n.hello("alice", "")
		bob.take()
		two := n.hello("alice", one.resume(fmt.Sprint(one.welcome.Q)))
		if code, bye := one.ended(); code != 4409 || bye != `{"t":"bye","reason":"REPLACED_STREAM","message":"another connection of this session took over","kept":true}` {
			t.Errorf("got %d %s", code, bye)
		}
		wait(time.Minute)
		bob.wantNotes("nobody sees")
		two.stands()
		if _, err := n.Tracker.Drop(t.Context(), presence.User{App: doortest.App, ID: "alice"}, nil); err != nil {
			t.Fatal(err)
		}
		if code, bye := two.ended(); code != 1000 || !strings.Contains(bye, `"reason":"SESSION_CLOSED"`) || !strings.Contains(bye, `"why":"ADMIN"`) {
			t.Errorf("dropped: %d %s", code, bye)
		}
		p := n.open()
		p.send(`{"t":"hello","token":%q,%s}`, n.JWT("alice"), one.resume(""))
		if code, bye := p.ended(); code != 4410 || !strings.Contains(bye, `"reason":"SESSION_GONE"`) || !strings.Contains(bye, `"kept":false`) {
			t.Errorf("after the drop: %d %s", code, bye)
		}
	})
}

// After the grace a lost session is told of; within the window it opens anew.
func TestLostAndBack(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		bob := n.hello("bob", `"watch":["alice"]`)
		alice := n.hello("alice", `"watch":["bob"],"status":{"text":"x"}`)
		bob.take()
		alice.Conn.Close()
		wait(7 * time.Second)
		bob.wantNotes("after the grace", "alice closed off DISCONNECTED")
		again := n.hello("alice", alice.resume(""))
		bob.wantNotes("back", "alice opened on online x")
		if again.welcome.Session != alice.welcome.Session {
			t.Error("another session")
		}
		again.wantNotes("what she watched", "bob current on online", "done  friends=false all=true users=1")
	})
}

// A session that called Heartbeat at the gRPC door lives by its connection again
// when it comes here.
func TestBoundSessionsAreFreeHere(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := presence.User{App: doortest.App, ID: "alice"}
		made, err := n.Tracker.Make(t.Context(), tracker.MakeParams{User: alice, Device: presence.Device{Door: "isonline"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Tracker.Connect(t.Context(), made.Ref, tracker.ConnectParams{Link: quietLink{}}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Tracker.Heartbeat(t.Context(), made.Ref); err != nil {
			t.Fatal(err)
		}
		d := &device{peer: n.open()}
		d.greet("alice", fmt.Sprintf(`"resume":%q`, n.Log.Secret(n.Gate.Seal(made.Ref, made.Epoch))))
		wait(5 * time.Minute)
		d.stands()
		if got := n.Tracker.Sessions(alice); len(got) != 1 || got[0].Device.Door != Name {
			t.Errorf("sessions: %+v", got)
		}
	})
}

// quietLink is a link that gives no sign of life.
type quietLink struct{}

// LastRead implements tracker.Link.
func (quietLink) LastRead() time.Duration { return 0 }

// Shared implements tracker.Link.
func (quietLink) Shared() bool { return false }

// End implements tracker.Link.
func (quietLink) End(tracker.End) {}

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
		alice.take()
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
		frames := slices.DeleteFunc(bob.take(), func(s string) bool { return strings.HasPrefix(s, `{"t":"n"`) })
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
			frames = append(frames, alice.take()...)
			frames = append(frames, alice.ask(`{"t":"get","id":1,"users":["bob","bob"],"sessions":true}`))
			other := n.hello(late, "")
			other.send(`{"t":"watch","users":["bob"]}`)
			frames = append(frames, other.take()...)
			alice.Conn.Close()
			again := n.hello("alice", alice.resume("1"))
			frames = append(frames, again.take()...)
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
	leaves := func(_ *node, bob *device) { bob.send(`{"t":"bye"}`); synctest.Wait() }
	busy := func(_ *node, bob *device) {
		for i := range 5 {
			bob.ask(`{"t":"set","status":{"invisible":true,"text":"secret %d"}}`, i)
		}
		bob.send(`{"t":"bye"}`)
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

// Limits on connections: those of an address, and of a user.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, doortest.New(t, doortest.Config{}), Limits{PerAddress: 2, PerUser: map[presence.AppID]int{doortest.App: 2}})
		defer n.stop()
		from := func(addr string) *peer { return n.open("Test-From", addr) }
		crowded := func(p *peer, what string) {
			t.Helper()
			if code, bye := p.ended(); code != 4429 || !strings.Contains(bye, `"reason":"TOO_MANY_CONNECTIONS"`) {
				t.Errorf("%s: %d %s", what, code, bye)
			}
		}
		one, two := from("192.0.2.1:1000"), from("192.0.2.1:2000")
		crowded(from("192.0.2.1:3000"), "a third of an address")
		crowded(from("[::ffff:192.0.2.1]:3000"), "the same address, mapped")
		from("192.0.2.2:1").stands()
		from("[2001:db8::1]:1").stands()
		from("[2001:db8::2]:1").stands()
		crowded(from("[2001:db8:0:0:ffff::1]:1"), "a third of a /64")
		from("[2001:db8:0:1::1]:1").stands()
		for range 5 {
			from("127.0.0.1:9").stands()
		}
		one.Conn.Close()
		synctest.Wait()
		three := from("192.0.2.1:4000")
		three.stands()

		alice := &device{peer: two}
		alice.greet("alice", "")
		second := &device{peer: three}
		second.greet("alice", "")
		p := n.open()
		p.send(`{"t":"hello","token":%q}`, n.JWT("alice"))
		crowded(p, "a third of a user")
		again := n.hello("alice", alice.resume("1")) // in place of the first
		again.stands()
		n.hello("bob", "")
		if len(n.Tracker.Sessions(presence.User{App: doortest.App, ID: "alice"})) != 2 {
			t.Error("a refused connection left a session")
		}
		n.door.SetLimits(Limits{PerAddress: 9})
		n.hello("alice", "").stands()
		wait(time.Minute)
	})
}

// Frames beyond the pace are answered and not done, far beyond it the connection
// ends.
func TestPace(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", "")
		wait(time.Second) // a second of the wheel begins somewhere
		<-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second + 10*time.Millisecond)))
		answers := map[string]int{}
		for range 300 {
			var e errorFrame
			read(t, alice.ask(`{"t":"ping"}`), &e)
			answers[e.T+e.Reason]++
		}
		if answers["pong"]+answers["errorRATE_LIMITED"] != 300 || answers["pong"] < admit.FramesRefused || answers["errorRATE_LIMITED"] == 0 {
			t.Errorf("got %v", answers)
		}
		wait(time.Second)
		if got := alice.ask(`{"t":"ping"}`); !strings.HasPrefix(got, `{"t":"pong"`) {
			t.Errorf("a second later: %s", got)
		}
		for range 2 * admit.FramesEnd {
			if alice.Send(`{"t":"ping"}`) != nil {
				break
			}
		}
		if code, bye := alice.ended(); code != 4429 || !strings.Contains(bye, `"reason":"RATE_LIMITED"`) || !strings.Contains(bye, `"kept":true`) {
			t.Errorf("got %d %s", code, bye)
		}
	})
}

// Limits of a hello's list and of what a list may hold.
func TestLongLists(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Limits: admit.Limits{Watches: 2000}}, func(t *testing.T, n *node) {
		var ids []string
		for i := range 2000 {
			ids = append(ids, fmt.Sprintf("%q", fmt.Sprintf("%0128d", i)))
		}
		alice := n.hello("alice", `"watch":[`+strings.Join(ids, ",")+`]`)
		got, last := alice.notes(alice.take())
		if len(got) != 2001 || last != 2002 {
			t.Errorf("%d notifications, the last is %d", len(got), last)
		}
		bob := n.hello("bob", `"watch":[`+strings.Join(ids, ",")+`,"one more"]`)
		frames := bob.take()
		if len(frames) != 1 || !strings.HasPrefix(frames[0], `{"t":"error","part":"watch","reason":"LIMIT_SUBSCRIPTIONS"`) {
			t.Errorf("one too many: %q", frames)
		}
		bob.stands()
		for _, f := range frames {
			if len(f) > mostInFrame+1024 {
				t.Errorf("a frame of %d bytes", len(f))
			}
		}
		carol := n.hello("carol", "")
		carol.Send(`{"t":"ping","x":"` + strings.Repeat("x", MaxFrame) + `"}`)
		if code, _ := carol.ended(); code != 1009 {
			t.Errorf("a frame over the limit: %d", code)
		}
	})
}

// Users of another app are others, whatever their names.
func TestAppsAreApart(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", `"watch":["bob","alice"]`)
		alice.wantNotes("alone", "bob none off", "alice current on online", "done  friends=false all=true users=2")
		for _, user := range []string{"bob", "alice"} {
			p := n.open()
			p.send(`{"t":"hello","token":%q,"watch":["alice","bob"]}`, n.Sign(doortest.OtherIssuer(), user, time.Hour))
			other := &device{peer: p}
			frames := other.take()
			read(t, frames[0], &other.welcome)
			n.Log.Secret(other.welcome.Resume)
			if got, _ := other.notes(frames); user == "bob" && !slices.Equal(got, []string{"alice none off", "bob current on online", "done  friends=false all=true users=2"}) {
				t.Errorf("bob of the other app is told %q", got)
			}
			other.ask(`{"t":"set","status":{"text":"elsewhere"}}`)
			other.send(`{"t":"bye"}`)
			other.ended()
		}
		wait(time.Minute)
		alice.wantNotes("of the other app")
		if got := alice.ask(`{"t":"get","users":["bob"],"sessions":true}`); got != `{"t":"ok","users":[{"u":"bob","on":false,"sessions":[]}]}` {
			t.Errorf("bob: %s", got)
		}
	})
}
