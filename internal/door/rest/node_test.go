package rest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/revoke"
	"github.com/porchlight-dev/porchlight/internal/roster"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret      = "a server key of the app demo, thirty-two bytes"
	otherSecret = "a server key of the app other, thirty-two bytes"
)

// node is a door on a real tracker with a log in memory.
type node struct {
	t       testing.TB
	store   *storetest.Memory
	tracker *tracker.Tracker
	roster  *roster.Roster
	topics  *topic.Topics

	mailboxes   *mailbox.Mailboxes
	revocations *revoke.Revocations
	facts       *facts.Reader
	webhooks    *webhook.Deliverer
	receiver    *receiver
	door        *Door
	book        doortest.Book

	mu    sync.Mutex // guards calls
	calls []Call
}

// ears are the listeners of a node.
type ears struct {
	*hub.Hub
	topics *topic.Topics
}

// Changed tells both.
func (e ears) Changed(p *presence.Presence) {
	e.Hub.Changed(p)
	e.topics.Changed(p)
}

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{t: t, store: storetest.NewMemory()}
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(&n.book, t.Output()), nil))
	w := wheel.New(nil)
	n.tracker = tracker.New(tracker.Config{
		Policies: map[presence.AppID]tracker.Policy{"demo": {}, "other": {}}, Log: n.store, Checkpoints: n.store, Incarnation: 1, Wheel: w, Logger: logger,
	})
	var err error
	n.roster, err = roster.New(roster.Config{
		Store: n.store, Present: n.tracker.Presence, Logger: logger,
		Apps: map[presence.AppID]roster.AppConfig{"demo": {MaxFriends: 50}, "other": {Source: lists{"alice": {"bob"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(n.tracker, nil)
	if n.topics, err = topic.New(topic.Config{Store: n.store, Source: n.tracker, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	n.roster.Listen(h)
	n.tracker.Listen(ears{h, n.topics}, h)
	if err := n.topics.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.roster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Start()
	if err := n.tracker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.tracker.Ready()
	n.revocations = revoke.New(n.store, logger)
	n.tell(logger)
	if n.mailboxes, err = mailbox.New(mailbox.Config{Store: n.store, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	if err := n.mailboxes.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.door, err = New(Config{
		Tracker: n.tracker, Texts: demoTexts(t), Revocations: n.revocations, Roster: n.roster, Topics: n.topics, Webhooks: n.webhooks, Facts: n.facts, Letters: n.store, Mailboxes: n.mailboxes, Version: "test", Retention: 30 * 24 * time.Hour, Logger: logger, Called: n.called,
		Keys: []Key{{App: "demo", ID: "k1", Secret: secret}, {App: "other", ID: "k1", Secret: otherSecret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.store.Recover()
		n.door.Drain()
		if err := n.mailboxes.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		n.webhooks.Stop(context.WithoutCancel(t.Context()))
		n.facts.Stop(context.WithoutCancel(t.Context()))
		if err := n.tracker.Stop(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		if err := n.roster.Stop(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		if err := n.topics.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		w.Stop()
		for _, s := range []string{secret, otherSecret} {
			if strings.Contains(n.book.String(), s) {
				t.Error("a key is in the log")
			}
		}
	})
	return n
}

func (n *node) called(c Call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, c)
}

// last is the last call that was told of.
func (n *node) last() Call {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[len(n.calls)-1]
}

// do sends a request with the key of app demo. target is a path below Prefix.
func (n *node) do(method, target, body string) *httptest.ResponseRecorder {
	return n.doAs(secret, method, Prefix+target, body)
}

func (n *node) doAs(key, method, target, body string) *httptest.ResponseRecorder {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, "http://node"+target, in)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	n.door.ServeHTTP(w, r)
	return w
}

// ok is do that must succeed, and returns the answer.
func (n *node) ok(method, target, body string) map[string]any {
	n.t.Helper()
	w := n.do(method, target, body)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		n.t.Fatalf("%s %s: got %d %s %s", method, target, w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	return decode(n.t, w)
}

// wants is do that must answer as the JSON says; "*" stands for any text or
// number that differs each time.
func (n *node) wants(method, target, body, want string) {
	n.t.Helper()
	got := n.ok(method, target, body)
	var m map[string]any
	if err := json.Unmarshal([]byte(want), &m); err != nil {
		n.t.Fatal(err)
	}
	if g := blank(got, m); !reflect.DeepEqual(g, any(m)) {
		b, _ := json.Marshal(got)
		n.t.Errorf("%s %s: got %s, want %s", method, target, b, want)
	}
}

// blank puts "*" into got where want has it.
func blank(got, want any) any {
	switch w := want.(type) {
	case string:
		if w == "*" && got != nil && got != "" {
			return "*"
		}
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			for k := range g {
				g[k] = blank(g[k], w[k])
			}
		}
	case []any:
		if g, ok := got.([]any); ok && len(g) == len(w) {
			for i := range g {
				g[i] = blank(g[i], w[i])
			}
		}
	}
	return got
}

// refused is do that must answer with a problem of that status and code.
func (n *node) refused(method, target, body string, status int, code string) map[string]any {
	n.t.Helper()
	return n.problem(n.do(method, target, body), method+" "+target, status, code)
}

func (n *node) problem(w *httptest.ResponseRecorder, what string, status int, code string) map[string]any {
	n.t.Helper()
	p := decode(n.t, w)
	if w.Code != status || p["code"] != code || p["status"] != float64(status) || p["title"] != http.StatusText(status) || p["detail"] == "" ||
		p["request"] != w.Header().Get("X-Request-Id") || w.Header().Get("Content-Type") != "application/problem+json" {
		n.t.Errorf("%s: got %d %s %v, want %d %s", what, w.Code, w.Header(), p, status, code)
	}
	if last := n.last(); last.Code != code {
		n.t.Errorf("%s: counted as %+v, want %s", what, last, code)
	}
	return p
}

func decode(t testing.TB, w *httptest.ResponseRecorder) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return m
}

// lists are friend lists that are not ours.
type lists map[presence.UserID][]presence.UserID

// Friends returns a list.
func (l lists) Friends(_ context.Context, u presence.User) ([]presence.UserID, error) {
	return l[u.ID], nil
}

// link is a connection that says nothing.
type link struct{}

func (link) LastRead() time.Duration { return 0 }
func (link) Shared() bool            { return false }
func (link) End(tracker.End)         {}

// open opens a session of a user of app demo.
func (n *node) open(user string, d presence.Device, s *presence.Status) tracker.Made {
	n.t.Helper()
	made, err := n.tracker.Make(n.t.Context(), tracker.MakeParams{User: presence.User{App: "demo", ID: presence.UserID(user)}, Device: d})
	if err == nil {
		_, err = n.tracker.Connect(n.t.Context(), made.Ref, tracker.ConnectParams{Link: link{}, Initial: s, Addr: "192.0.2.1:1"})
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return made
}
