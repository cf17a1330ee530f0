package mozpresence

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is the door on a core, with all that is around it, and a network in memory.
type node struct {
	*doortest.Core
	t     *testing.T
	door  *Door
	reg   *publisher.Registry
	boxes *mailbox.Mailboxes
	facts *facts.Reader
	port  *doortest.Port
}

// inBubble runs a test on a node with a clock of its own.
func inBubble(t *testing.T, cfg doortest.Config, f func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Policy.TellShow = true
		n := newNode(t, doortest.New(t, cfg))
		defer n.stop()
		wait(time.Millisecond) // nothing of a test may fall on a tick of the wheel
		f(t, n)
	})
}

func newNode(t *testing.T, core *doortest.Core) *node {
	n := &node{Core: core, t: t}
	var err error
	if n.boxes, err = mailbox.New(mailbox.Config{Store: core.Store, Logger: core.Logger}); err != nil {
		t.Fatal(err)
	}
	if n.reg, err = publisher.New(publisher.Config{Store: core.Store, Logger: core.Logger}); err != nil {
		t.Fatal(err)
	}
	n.facts = facts.New(facts.Config{Store: core.Store, Logger: core.Logger})
	timeout := core.Tracker.Policy(doortest.App).HeartbeatTimeout
	n.door = New(Config{
		Gate: core.Gate, Tracker: core.Tracker, Wheel: core.Wheel, Logger: core.Logger, Publishers: n.reg, Mailboxes: n.boxes, Facts: n.facts,
		Apps: []App{{App: doortest.App, QueueTTL: mailbox.DefaultTTL}}, ShortestTimeout: timeout, LongestTimeout: timeout,
	})
	for _, start := range []func(context.Context) error{n.boxes.Start, n.facts.Start, n.door.Start} {
		if err := start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n.port = doortest.NewPort(core, n.door)
	return n
}

func (n *node) stop() {
	n.port.HangUp()
	n.port.Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.t.Context()), 10*time.Second)
	defer cancel()
	for _, stop := range []func(context.Context) error{n.door.Stop, n.facts.Stop, n.boxes.Stop} {
		if err := stop(ctx); err != nil {
			n.t.Errorf("stop: %v", err)
		}
	}
	if open := n.door.Open(); open != 0 {
		n.t.Errorf("%d connections are left", open)
	}
	n.Core.Stop()
}

// peer is one end of a socket.
type peer struct {
	*doortest.Peer
	t *testing.T
}

// dial opens a socket; header has names and values in turn.
func (n *node) dial(path string, header ...string) *peer {
	n.t.Helper()
	p, answer := n.handshake(path, header...)
	if p == nil {
		n.t.Fatalf("handshake of %s: got %s", path, answer.Status)
	}
	return p
}

// handshake is dial that may be refused.
func (n *node) handshake(path string, header ...string) (*peer, *http.Response) {
	n.t.Helper()
	p, answer := doortest.Handshake(n.t, n.port.Dial(), path, doortest.Header(header...))
	if p == nil {
		return nil, answer
	}
	go p.Read()
	synctest.Wait()
	return &peer{p, n.t}, answer
}

// connect is dial for who reads by itself.
func (n *node) connect(path string) *doortest.Peer {
	n.t.Helper()
	p, answer := doortest.Handshake(n.t, n.port.Dial(), path, nil)
	if p == nil {
		n.t.Fatalf("handshake of %s: got %s", path, answer.Status)
	}
	return p
}

// say sends a frame and returns what came until everything is quiet.
func (p *peer) say(format string, args ...any) []string {
	p.t.Helper()
	p.Say(format, args...)
	return p.Came()
}

// want compares what came.
func (p *peer) want(what string, got []string, want ...string) {
	p.t.Helper()
	if !slices.Equal(got, want) {
		p.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// ended waits for the end.
func (p *peer) ended(what string, code int) {
	p.t.Helper()
	synctest.Wait()
	if got, why, over := p.End(); got != code {
		p.t.Errorf("%s: the end is %v, %d %q, want code %d", what, over, got, why, code)
	}
}

// device is a device of a user that said a status.
func (n *node) device(user, status string, more ...string) *peer {
	n.t.Helper()
	p := n.dial("/presence")
	frame := fmt.Sprintf(`{"email":%q,"assertion":%q,"status":%q%s}`, user, n.JWT(user), status, strings.Join(more, ""))
	got := p.say("%s", frame)
	p.want("status of "+user, got[:min(1, len(got))], fmt.Sprintf(`{"result":"OK","status":%q,"user":%q}`, status, user))
	p.Put(got[min(1, len(got)):])
	return p
}

// active registers a publisher.
func (n *node) active() (id, key string) {
	n.t.Helper()
	ctx := n.t.Context()
	p, err := n.reg.Register(ctx, presence.User{App: doortest.App, ID: "developer"}, publisher.Registration{Domain: "chat.example.com", Name: "ChatRoom", Email: "d@example.com"})
	if err == nil {
		_, err = n.reg.Prove(ctx, p.ID)
	}
	if err == nil {
		key, _, err = n.reg.Activate(ctx, p.ID, 0)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return p.ID, n.Log.Secret(key)
}

func user(id string) presence.User {
	return presence.User{App: doortest.App, ID: presence.UserID(id)}
}

// grant makes a user's grant and returns its uid.
func (n *node) grant(id, who string) string {
	n.t.Helper()
	g, err := n.reg.Grant(n.t.Context(), user(who), id, "")
	if err != nil {
		n.t.Fatal(err)
	}
	return g.UID
}

// listen opens the socket of a publisher.
func (n *node) listen(id, key string) *peer {
	n.t.Helper()
	p := n.dial("/" + id)
	got := p.say(`{"key":%q}`, key)
	p.want("auth", got[:min(1, len(got))], `{"action":"auth","result":"OK"}`)
	p.Put(got[min(1, len(got)):])
	return p
}

// call makes a call of HTTP.
func (n *node) call(method, path, key, body string) (status int, answer string) {
	n.t.Helper()
	r := httptest.NewRequest(method, "http://presence.test"+path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	n.door.ServeHTTP(w, r)
	b, _ := io.ReadAll(w.Body)
	return w.Code, string(b)
}

// post posts notifications that work.
func (n *node) post(id, key string, notes ...string) string {
	n.t.Helper()
	status, answer := n.call("POST", "/"+id+"/notification", key, "["+strings.Join(notes, ",")+"]")
	if status != http.StatusOK {
		n.t.Errorf("post: got %d %s", status, answer)
	}
	return answer
}

func noteFor(uid, message string) string {
	return fmt.Sprintf(`{"userid":%q,"message":%q,"action":"https://chat.example.com/"}`, uid, message)
}

// messages are the messages of the notifications in frames.
func messages(t *testing.T, frames []string) (all []string) {
	t.Helper()
	for _, f := range frames {
		var in struct {
			Status        string
			Notifications []struct{ Message string }
		}
		if err := json.Unmarshal([]byte(f), &in); err != nil || in.Status != "notification" {
			t.Errorf("frame %s: %v, want notifications", f, err)
		}
		for _, one := range in.Notifications {
			all = append(all, one.Message)
		}
	}
	return all
}

// status is a frame to a publisher.
func status(uid, word string) string { return fmt.Sprintf(`{"status":%q,"uid":%q}`, word, uid) }

func (n *node) available(who string) presence.Availability {
	return n.Tracker.Presence(user(who)).Available(false)
}

func (n *node) sessions(who string) []tracker.Session { return n.Tracker.Sessions(user(who)) }

// wait lets time pass.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
