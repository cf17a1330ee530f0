package admit_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

func inBubble(t *testing.T, cfg doortest.Config, f func(t *testing.T, c *doortest.Core)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := doortest.New(t, cfg)
		defer c.Stop()
		f(t, c)
	})
}

// lines writes a notification as a line in a dialect of its own.
type lines struct{ dialect string }

// Encode implements hub.Encoder.
func (l *lines) Encode(n *hub.Notification) hub.Body {
	return fmt.Sprintf("%s %s %d %v", l.dialect, n.Presence.User.ID, n.Kind, n.Available)
}

// Locale implements hub.Encoder.
func (*lines) Locale(presence.AppID, string) string { return "" }

// reader is a session's end at a door.
type reader struct {
	t     *testing.T
	core  *doortest.Core
	ref   tracker.Ref
	entry *admit.Entry
	at    uint64
	last  uint64
	ended []tracker.EndCause
}

// LastRead implements tracker.Link.
func (r *reader) LastRead() time.Duration { return r.core.Wheel.Now() }

// Shared implements tracker.Link.
func (r *reader) Shared() bool { return false }

// End implements tracker.Link.
func (r *reader) End(e tracker.End) { r.ended = append(r.ended, e.Cause) }

func enter(t *testing.T, c *doortest.Core, ref tracker.Ref, after *uint64, enc hub.Encoder) (*reader, admit.Entered) {
	t.Helper()
	r := &reader{t: t, core: c, ref: ref}
	var err error
	if r.entry, err = c.Gate.Prepare(t.Context(), ref, 0, after); err != nil {
		t.Fatal(err)
	}
	e, err := r.entry.Enter(t.Context(), tracker.ConnectParams{Link: r, Addr: "192.0.2.1:1"}, admit.Reader{Encoder: enc, Wake: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	r.at = e.Attachment
	return r, e
}

func (r *reader) take() (got []string) {
	frames, _ := r.entry.Watcher.Drain(r.at, nil, 100)
	for _, f := range frames {
		r.last = f.Sequence
		if f.Mark != nil {
			got = append(got, fmt.Sprintf("#%d mark %d %s", f.Sequence, f.Mark.Scope, f.Mark.User))
		} else {
			got = append(got, fmt.Sprintf("#%d %v", f.Sequence, f.Body))
		}
	}
	return got
}

func (r *reader) want(what string, lines ...string) {
	r.t.Helper()
	if got := r.take(); !slices.Equal(got, lines) {
		r.t.Errorf("%s: got\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

func makeSession(t *testing.T, c *doortest.Core, user presence.UserID) tracker.Ref {
	t.Helper()
	made, err := c.Tracker.Make(t.Context(), tracker.MakeParams{User: presence.User{App: doortest.App, ID: user}})
	if err != nil {
		t.Fatal(err)
	}
	return made.Ref
}

// A session is taken up in one dialect and resumed in another: the numbers go
// on, and what follows is in the new one. The former reader gets nothing more.
func TestResumeInAnotherDialect(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, c *doortest.Core) {
		bob := makeSession(t, c, "bob")
		alice := makeSession(t, c, "alice")
		if already, err := c.Gate.Watch(t.Context(), alice, []presence.UserID{"bob"}, hub.ScopeUser); err != nil || len(already) > 0 {
			t.Fatal(already, err)
		}
		one, e := enter(t, c, alice, nil, &lines{"one"})
		if e.Resumed || e.Resync {
			t.Errorf("a first connection: %+v", e)
		}
		one.want("first", "#1 one bob 0 false", "#2 mark 1 bob")
		enter(t, c, bob, nil, &lines{"one"})
		synctest.Wait() // his coming is told beside the answer to him
		one.want("bob comes", "#3 one bob 2 true")
		had := uint64(1)
		two, e := enter(t, c, alice, &had, &lines{"two"})
		if !e.Resumed || e.Resync || len(one.ended) != 1 || one.ended[0] != tracker.CauseReplaced {
			t.Errorf("resumed %v, resync %v, the former link ended %v", e.Resumed, e.Resync, one.ended)
		}
		one.want("the former")
		two.want("resumed", "#2 two bob 1 true", "#3 mark 3 ")
	})
}

// A session that was open at another node, whose messages begin anew here: a device
// that does not say what it has must drop it.
func TestResumeWithoutANumberWhereMessagesBeginAnew(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, c *doortest.Core) {
		alice := makeSession(t, c, "alice")
		_, e := enter(t, c, alice, nil, &lines{"one"})
		if e.Resumed || e.Resync {
			t.Errorf("a first connection: %+v", e)
		}
		c.Gate = admit.New(admit.Config{Tracker: c.Tracker, Hub: hub.New(c.Tracker, c.Roster), Roster: c.Roster, Topics: c.Topics})
		if _, e = enter(t, c, alice, nil, &lines{"two"}); !e.Resumed || !e.Resync {
			t.Errorf("resumed %v, resync %v, want both", e.Resumed, e.Resync)
		}
	})
}

// After a restart the friends are followed again: at once, or when their list
// can be read, unless the device was quicker.
func TestFriendsAreTakenUpAgain(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		down  error
		quick bool // the device unsubscribes before the list is there
	}{"list there": {}, "list down": {down: doortest.ErrListsDown}, "list down, then unsubscribed": {doortest.ErrListsDown, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := storetest.NewMemory()
				first := doortest.New(t, doortest.Config{Store: store, Checkpoints: true})
				first.Roster.Befriend("alice", "bob")
				alice := makeSession(t, first, "alice")
				enter(t, first, alice, nil, &lines{})
				if n, already, err := first.Gate.WatchFriends(t.Context(), alice); n != 1 || already || err != nil {
					t.Fatal(n, already, err)
				}
				first.Tracker.Drain(func() tracker.End { return tracker.End{Cause: tracker.CauseDraining} })
				first.Stop()

				c := doortest.New(t, doortest.Config{Store: store, Checkpoints: true, Incarnation: 2})
				defer c.Stop()
				c.Roster.Befriend("alice", "bob")
				c.Roster.Fail(row.down)
				had := uint64(7)
				r, e := enter(t, c, alice, &had, &lines{})
				if !e.Resumed || !e.Resync || e.Epoch.Counter != 1 {
					t.Errorf("after a restart: %+v", e)
				}
				snapshot := []string{"  bob 0 false", " mark 2 "}
				var got []string
				for _, l := range r.take() {
					_, l, _ = strings.Cut(l, " ")
					got = append(got, " "+l)
				}
				if row.down != nil {
					if len(got) != 1 || got[0] != " mark 3 " { // of the full snapshot, which is empty
						t.Errorf("while the list is down: got %q", got)
					}
					c.Roster.Fail(nil)
					if row.quick {
						if was, err := c.Gate.UnwatchFriends(t.Context(), alice); !was || err != nil {
							t.Error(was, err)
						}
						snapshot = nil
					}
					if err := c.Roster.Rejoined("bob"); err != nil {
						t.Error(err)
					}
					got = nil
					for _, l := range r.take() {
						_, l, _ = strings.Cut(l, " ")
						got = append(got, " "+l)
					}
				} else {
					got = slices.DeleteFunc(got, func(l string) bool { return l == " mark 3 " })
				}
				if !slices.Equal(got, snapshot) {
					t.Errorf("got %q, want %q", got, snapshot)
				}
				if _, friends := c.Hub.Watches(alice.Session); friends == row.quick {
					t.Errorf("follows friends %v", friends)
				}
			})
		})
	}
}

// An access token that was good is void when its time is over or its app is
// served no more; a session token is for the same user alone.
func TestTokens(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, c *doortest.Core) {
		a, err := c.Gate.Access(t.Context(), c.Sign(token.Development(), "alice", time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Gate.Still(a, time.Now().Add(59*time.Minute)); err != nil {
			t.Error(err)
		}
		if err := c.Gate.Still(a, time.Now().Add(time.Hour)); fault.KindOf(err) != fault.JWTExpired {
			t.Errorf("after its time: %v", err)
		}
		ref := makeSession(t, c, "alice")
		sealed := c.Log.Secret(c.Gate.Seal(ref, presence.Epoch{Incarnation: 7}))
		if got, maker, err := c.Gate.Session(a, sealed); err != nil || got != ref || maker != 7 {
			t.Errorf("got %v of node %d, %v, want %v of 7", got, maker, err, ref)
		}
		bob, err := c.Gate.Access(t.Context(), c.JWT("bob"))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Gate.Session(bob, sealed); fault.KindOf(err) != fault.SessionTokenNotYours {
			t.Errorf("bob with alice's: %v", err)
		}
		if _, _, err := c.Gate.Session(bob, "x"+sealed); fault.KindOf(err) != fault.SessionTokenInvalid {
			t.Errorf("altered: %v", err)
		}
		c.Tracker.SetPolicies(map[presence.AppID]tracker.Policy{doortest.Other: {}})
		if err := c.Gate.Still(a, time.Now()); fault.KindOf(err) != fault.JWTInvalid {
			t.Errorf("of an app that is gone: %v", err)
		}
	})
}

// Where only friends see each other, nobody watches before his list is known.
func TestNoListNoWatch(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, c *doortest.Core) {
		c.Roster.FriendsOnly()
		c.Roster.Fail(doortest.ErrListsDown)
		ref := makeSession(t, c, "alice")
		if _, err := c.Gate.Watch(t.Context(), ref, []presence.UserID{"bob"}, hub.ScopeUser); fault.KindOf(err) != fault.FriendsUnavailable {
			t.Errorf("got %v, want FriendsUnavailable", err)
		}
		if _, err := c.Gate.Asker(t.Context(), ref.User); fault.KindOf(err) != fault.FriendsUnavailable {
			t.Errorf("got %v, want FriendsUnavailable", err)
		}
		if was, still, err := c.Gate.Unwatch(t.Context(), ref, "bob"); was || still || err != nil {
			t.Error(was, still, err)
		}
		enter(t, c, ref, nil, &lines{}) // being online does not depend on it
		if _, err := c.Tracker.Close(context.WithoutCancel(t.Context()), ref, presence.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		if n := c.Roster.Held(); n != 0 {
			t.Errorf("%d lists are held for sessions that are gone", n)
		}
	})
}
