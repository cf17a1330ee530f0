package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
				bob.Came()
				wait(2 * timeout) // it answers pings, and stays
				bob.wantNotes("while she answers")
				alice.Mute()
				began := time.Now()
				for time.Since(began) < 2*timeout {
					wait(100 * time.Millisecond)
					if lines, _ := bob.notes(bob.Came()); len(lines) > 0 {
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
				alice.Say(`{"t":"set","id":1,"status":{"invisible":true}}`)
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
			bob.Came()
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
			got, _ := bob.notes(bob.Came())
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
		_, last := bob.notes(bob.Came())
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
		_, seen := alice.notes(alice.Came())
		bob := n.hello("bob", "")
		bob.ask(`{"t":"set","status":{"text":"one"}}`)
		alice.Came() // and forgets
		alice.Conn.Close()
		bob.ask(`{"t":"set","status":{"text":"two"}}`)
		again := n.hello("alice", alice.resume(fmt.Sprint(seen)))
		if w := again.welcome; !w.Resumed || w.Resync || w.Q != seen+1 {
			t.Errorf("after %d: %+v", seen, w)
		}
		got, last := again.notes(again.Came())
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
		bob.Came()
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
		p.Say(`{"t":"hello","token":%q,%s}`, n.JWT("alice"), one.resume(""))
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
		bob.Came()
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
