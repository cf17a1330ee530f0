package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// notify puts live notifications for alice.
func (n *node) notify(texts ...string) {
	n.t.Helper()
	items := make([]mailbox.Item, len(texts))
	for i, s := range texts {
		items[i] = mailbox.Item{
			User: presence.User{App: doortest.App, ID: "alice"}, Publisher: "chat", ID: "id of " + s, Source: "Chat", Text: s, Action: "https://chat.example/", TTL: time.Minute,
		}
	}
	if _, err := n.Mailboxes.Put(n.t.Context(), items); err != nil {
		n.t.Errorf("Put: got %v, want no error", err)
	}
}

// messages are the texts of the live notifications that came.
func (d *device) messages() (texts []string) {
	d.n.t.Helper()
	for _, f := range d.Came() {
		if !strings.HasPrefix(f, `{"t":"m"`) {
			continue
		}
		var frame struct {
			M []struct{ ID, Message string }
		}
		read(d.n.t, f, &frame)
		for _, m := range frame.M {
			if m.ID != "id of "+m.Message {
				d.n.t.Errorf("%q has the id %q", m.Message, m.ID)
			}
			texts = append(texts, m.Message)
		}
	}
	return texts
}

const wantsThem = `"notifications":true`

func (d *device) wantMessages(what string, want ...string) {
	d.n.t.Helper()
	if got := d.messages(); !slices.Equal(got, want) {
		d.n.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (n *node) left(what string, want int) {
	n.t.Helper()
	synctest.Wait()
	if got := n.Mailboxes.Size(presence.User{App: doortest.App, ID: "alice"}, "chat"); got != want {
		n.t.Errorf("%s: %d are left, want %d", what, got, want)
	}
}

func TestLiveNotifications(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		n.notify("1", "2")
		plain := n.hello("alice", "")
		n.left("for a device that did not ask", 2)
		one := n.hello("alice", wantsThem)
		frames := one.Came()
		at, want := presence.At(time.Now()), ""
		if len(frames) > 0 {
			want = fmt.Sprintf(`{"t":"m","m":[{"id":"id of 1","publisher":"chat","source":"Chat","message":"1","action":"https://chat.example/","at":%d,"until":%d},`+
				`{"id":"id of 2","publisher":"chat","source":"Chat","message":"2","action":"https://chat.example/","at":%d,"until":%d}]}`, at, at+60_000, at, at+60_000)
		}
		if len(frames) != 1 || frames[0] != want {
			t.Errorf("on connect: got %q, want\n%s", frames, want)
		}
		n.left("told", 0)
		two := n.hello("alice", wantsThem)
		two.wantMessages("what was told already")
		n.notify("3")
		one.wantMessages("on arrival", "3")
		two.wantMessages("on arrival, at the other device", "3")
		plain.wantMessages("at who did not ask")
		one.Conn.Close()
		two.Conn.Close()
		wait(time.Second)
		n.notify("4")
		n.left("nobody is there", 1)
		wait(3 * time.Second)
		back := n.hello("alice", one.resume("")+","+wantsThem)
		back.wantMessages("resumed", "4")
		n.left("in the end", 0)
		bob := n.hello("bob", wantsThem)
		bob.wantMessages("somebody else's")
	})
}

// A device that does not read holds up nobody, and what it was not told waits.
func TestLiveNotificationsOfTheSlow(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		slow := &device{peer: &peer{nil, n}}
		slow.Peer, _ = doortest.Handshake(t, n.dial(), Path, map[string][]string{"Sec-WebSocket-Protocol": {Protocol}})
		slow.Say(`{"t":"hello","token":%q,"notifications":true}`, n.JWT("alice")) // it reads nothing, not even the welcome
		synctest.Wait()
		n.notify("1")
		wait(2 * time.Second)
		n.left("not written", 1)
		quick := n.hello("alice", wantsThem)
		quick.wantMessages("the quick one", "1")
		n.left("within its second", 1)
		wait(time.Second)
		n.left("after the slow one's second", 0)
		n.notify("2")
		quick.wantMessages("the quick one", "2")
	})
}

func TestBadNotificationsKey(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		p := n.open()
		p.Say(`{"t":"hello","token":%q,"notifications":"yes"}`, n.JWT("alice"))
		if code, last := p.ended(); code != 4400 || !strings.Contains(last, "notifications: got a value of the kind string; want true or false") &&
			!strings.Contains(last, "true or false") {
			t.Errorf("got %d %s, want 4400 and what is wanted", code, last)
		}
	})
}
