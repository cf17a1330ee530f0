package mozpresence

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

func TestAuthOfPublishers(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		_, foreign := n.active()
		for _, one := range []struct{ path, frame, want string }{
			{id, fmt.Sprintf(`{"key":%q}`, key), ""},
			{"myapps/" + id, fmt.Sprintf(`{"token":%q,"action":"auth"}`, key), ""},
			{id, fmt.Sprintf(`{"key":%q}`, foreign), `"errno":40`},
			{id, fmt.Sprintf(`{"key":%q}`, key[1:]), `"errno":40`},
			{id, `{}`, `"errno":40`},
			{id, `nonsense`, `"errno":36`},
			{strings.Repeat("a", 24), fmt.Sprintf(`{"key":%q}`, key), `"errno":44`},
		} {
			p := n.dial("/" + one.path)
			got := p.say("%s", one.frame)
			if one.want == "" {
				p.want("auth at "+one.path, got, `{"action":"auth","result":"OK"}`)
				continue
			}
			if len(got) != 1 || !strings.Contains(got[0], one.want) || !strings.HasPrefix(got[0], `{"action":"auth","result":"KO"`) || strings.Contains(got[0], key) {
				t.Errorf("%s %.40s: got %q, want %s", one.path, one.frame, got, one.want)
			}
			p.ended(one.frame[:2], codeAccess)
		}
		p := n.dial("/" + id)
		wait(FirstFrame + time.Second)
		p.ended("no key", codeLate)
		l := n.listen(id, key)
		if _, err := n.reg.Deactivate(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		l.ended("a void key", codeAccess)
		q := n.dial("/" + id)
		if got := q.say(`{"key":%q}`, key); !strings.Contains(got[0], `"errno":43`) {
			t.Errorf("not activated: got %q", got)
		}
	})
}

func TestStatusesOfTheGranted(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		alice := n.grant(id, "alice")
		l := n.listen(id, key)
		a := n.device("alice", "online")
		b := n.device("bob", "online") // granted nothing
		a.say(`{"status":"unavailable"}`)
		l.want("alice alone", l.Came(), status(alice, "online"), status(alice, "unavailable"))
		second := n.device("alice", "online") // busy on one device wins
		a.say(`{"status":"offline"}`)
		wait(time.Millisecond)
		l.want("two devices", l.Came(), status(alice, "online"))
		second.say(`{"status":"offline"}`)
		l.want("the last one", l.Came(), status(alice, "offline"))
		a.say(`{"status":"online"}`)
		l.want("back", l.Came(), status(alice, "online"))
		bob := n.grant(id, "bob")
		l.want("a grant tells nothing by itself", l.Came())
		b.say(`{"status":"unavailable"}`)
		l.want("bob from now on", l.Came(), status(bob, "unavailable"))
		if _, _, err := n.reg.Revoke(t.Context(), user("alice"), id); err != nil {
			t.Fatal(err)
		}
		l.want("revoked", l.Came(), status(alice, "offline"))
		a.say(`{"status":"unavailable"}`)
		a.say(`{"status":"offline"}`)
		l.want("nothing after it", l.Came())
		fresh := n.grant(id, "alice")
		a.say(`{"status":"online"}`)
		l.want("a new grant", l.Came(), status(fresh, "online"))
	})
}

// Who is invisible is offline to publishers, to the last byte.
func TestInvisible(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		uid := n.grant(id, "alice")
		l := n.listen(id, key)
		n.device("alice", "online")
		l.want("online", l.Came(), status(uid, "online"))
		ref := tracker.Ref{User: user("alice")}
		n.Tracker.Links(ref.User, func(s presence.SessionID, _ tracker.Link) { ref.Session = s })
		for _, hidden := range []bool{true, false} {
			_, err := n.Tracker.Update(t.Context(), ref, func(old *presence.Status) (*presence.Status, error) {
				s := *old
				s.Invisible = hidden
				return &s, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			l.want(fmt.Sprint("hidden ", hidden), l.Came(), status(uid, map[bool]string{true: "offline", false: "online"}[hidden]))
			_, answer := n.call("GET", "/"+id+"/presence?uid="+uid, key, "")
			if want := map[bool]string{true: "offline", false: "online"}[hidden]; !strings.Contains(answer, want) {
				t.Errorf("hidden %v: the query says %s", hidden, answer)
			}
		}
	})
}

// What happens while a publisher is away waits for it, in order, for an hour;
// a restart loses nothing.
func TestQueueOfAnHour(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active() // the queue begins here
		uid, bob := n.grant(id, "alice"), n.grant(id, "bob")
		a, b := n.device("alice", "online"), n.device("bob", "online")
		wait(30 * time.Minute)
		a.say(`{"status":"offline"}`)
		wait(time.Second)
		a.say(`{"status":"online"}`)
		wait(29 * time.Minute)
		l := n.listen(id, key)
		l.want("all of it", l.Came(), status(uid, "online"), status(bob, "online"), status(uid, "offline"), status(uid, "online"))
		wait(2 * time.Second) // how far it was told is stored
		l.Conn.Close()
		wait(time.Second)
		b.say(`{"status":"offline"}`)
		wait(59 * time.Minute)
		l = n.listen(id, key)
		l.want("what was not told yet", l.Came(), status(bob, "offline"))
		wait(2 * time.Second)
		l.Conn.Close()
		wait(time.Second)
		a.say(`{"status":"offline"}`)
		wait(time.Minute)
		a.say(`{"status":"online"}`)
		if _, _, err := n.reg.Revoke(t.Context(), user("bob"), id); err != nil {
			t.Fatal(err)
		}
		wait(time.Hour - 30*time.Second)
		l = n.listen(id, key)
		l.want("not what is older than an hour", l.Came(), status(bob, "offline"), status(uid, "online"))
	})
}

// A publisher that was activated where no door heard of it misses nothing from
// the moment in which it is let in.
func TestQueueThatNeverBegan(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		if _, err := n.reg.EditQueue(t.Context(), id, func(q *publisher.Queue) bool { *q = publisher.Queue{}; return true }); err != nil {
			t.Fatal(err)
		}
		n.listen(id, key).Conn.Close()
		if q, err := n.reg.Queue(t.Context(), id); err != nil || q.Position == "" {
			t.Errorf("the queue: got %+v, %v, want it begun", q, err)
		}
	})
}

func TestQueueOverARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := storetest.NewMemory()
		n := newNode(t, doortest.New(t, doortest.Config{Store: s}))
		id, key := n.active()
		uid := n.grant(id, "alice")
		l := n.listen(id, key)
		a := n.device("alice", "online")
		l.want("before", l.Came(), status(uid, "online"))
		l.Conn.Close()
		wait(time.Second)
		a.say(`{"status":"offline"}`)
		n.stop()
		n = newNode(t, doortest.New(t, doortest.Config{Store: s, Incarnation: 2}))
		defer n.stop()
		l = n.listen(id, n.Log.Secret(key))
		l.want("after", l.Came(), status(uid, "offline"))
	})
}

func TestNotifyFrame(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		uid := n.grant(id, "alice")
		l := n.listen(id, key)
		l.want("the prototype's words", l.say(`{"token":%q,"action":"notify","source":"ChatRoom","target":%q,"message":"hi"}`, key, uid), `{"action":"notify","result":"OK","queue_size":1}`)
		l.want("ours", l.say(`{"action":"notify","userid":%q,"message":"ho","action_url":"https://chat.example.com/"}`, uid), `{"action":"notify","result":"OK","queue_size":2}`)
		for frame, errno := range map[string]int{
			`{"action":"notify","userid":"nobody","message":"x"}`:                                                errNoUser,
			fmt.Sprintf(`{"action":"notify","userid":%q,"message":%q}`, uid, strings.Repeat("é", 513)):           errTooLong,
			fmt.Sprintf(`{"action":"notify","userid":%q,"message":"x","url":%q}`, uid, strings.Repeat("é", 513)): errTooLong,
			fmt.Sprintf(`{"action":"notify","userid":%q}`, uid):                                                  errJSON,
			`{"action":"dance"}`: errJSON,
			`hello`:              errJSON,
		} {
			if got := l.say("%s", frame); len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf(`{"action":"notify","result":"KO","errno":%d,`, errno)) {
				t.Errorf("%.60s: got %q, want errno %d", frame, got, errno)
			}
		}
		a := n.device("alice", "online")
		if got := messages(t, a.Came()); fmt.Sprint(got) != "[hi ho]" {
			t.Errorf("handed over: %v", got)
		}
	})
}

func TestQuery(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		other, otherKey := n.active()
		alice, bob := n.grant(id, "alice"), n.grant(id, "bob")
		elsewhere := n.grant(other, "alice")
		n.device("alice", "unavailable")
		status, answer := n.call("GET", "/"+id+"/presence?uid="+alice+","+bob+",nobody,"+elsewhere, key, "")
		want := fmt.Sprintf(`[["%s","unavailable"],["%s","offline"],["nobody","offline"],["%s","offline"]]`, alice, bob, elsewhere)
		if status != http.StatusOK || answer != want {
			t.Errorf("got %d %s, want %s", status, answer, want)
		}
		many := strings.Repeat("x,", mostQuery)
		for _, one := range []struct {
			method, path, key string
			status, errno     int
		}{
			{"GET", "/presence", key, 400, errEmpty},
			{"GET", "/presence?uid=,", key, 400, errEmpty},
			{"GET", "/presence?uid=" + many, key, 200, 0},
			{"GET", "/presence?uid=" + many + "y", key, 400, errTooLong},
			{"GET", "/presence?uid=a", "", 401, errKey},
			{"GET", "/presence?uid=a", otherKey, 401, errKey},
			{"POST", "/presence?uid=a", key, 400, errJSON},
			{"GET", "/presence.json", otherKey, 401, errKey},
			{"GET", "/nothing", key, 404, 0},
		} {
			status, answer := n.call(one.method, "/"+id+one.path, one.key, "")
			if status != one.status || one.errno > 0 && !strings.Contains(answer, fmt.Sprintf(`"errno":%d,`, one.errno)) {
				t.Errorf("%s %.30s: got %d %s, want %d, errno %d", one.method, one.path, status, answer, one.status, one.errno)
			}
		}
	})
}

// The endless stream begins with who is there.
func TestStream(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		alice, bob := n.grant(id, "alice"), n.grant(id, "bob")
		a := n.device("alice", "online")
		n.device("carol", "online")
		p := n.stream("/"+id+"/presence.json", key)
		wait(time.Millisecond)
		if got, want := p.lines(), fmt.Sprintf(`["%s","online"]`, alice); got != want {
			t.Errorf("who is there: got %q, want %q", got, want)
		}
		n.device("bob", "unavailable")
		a.say(`{"status":"offline"}`)
		if got, want := p.lines(), fmt.Sprintf("[%q,\"unavailable\"]\n[%q,\"offline\"]", bob, alice); got != want {
			t.Errorf("what changes: got %q, want %q", got, want)
		}
		wait(streamRest)
		if got := p.lines(); got != "" {
			t.Errorf("silence: got %q, want empty lines", got)
		}
	})
}
