package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// server calls the server API with the development key and wants 200.
func server(t *testing.T, a *app.App, method, path, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.HTTPAddr().String()+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+config.DevelopmentServerKey)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: got %d %s, %v, want 200", method, path, resp.StatusCode, b, err)
	}
	return string(b)
}

// watcher is bob's session with its stream.
type watcher struct {
	t      *testing.T
	ctx    context.Context
	svc    isonlinev1.IsOnlineServiceClient
	token  string
	stream isonlinev1.IsOnlineService_ConnectToIsOnlineSessionClient
}

func watch(t *testing.T, a *app.App) *watcher {
	t.Helper()
	conn, ctx := dial(t, a)
	w := &watcher{t: t, ctx: ctx, svc: isonlinev1.NewIsOnlineServiceClient(conn)}
	made, err := w.svc.MakeIsOnlineSession(ctx, &isonlinev1.MakeIsOnlineSessionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	w.token = made.GetSessionToken()
	if w.stream, err = w.svc.ConnectToIsOnlineSession(ctx, &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: w.token}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watcher) friends() (int, error) {
	resp, err := w.svc.SubscribeToFriendsIsOnline(w.ctx, &isonlinev1.SubscribeToFriendsIsOnlineRequest{SessionToken: w.token})
	return int(resp.GetFriends()), err
}

// until reads the stream until all of that was said, and returns what was.
func (w *watcher) until(says ...string) string {
	w.t.Helper()
	var all strings.Builder
	for {
		e, err := w.stream.Recv()
		if err != nil {
			w.t.Fatalf("the stream ended with %v before %q; it said\n%s", err, says, all.String())
		}
		fmt.Fprintln(&all, strings.ReplaceAll(e.String(), "  ", " "))
		if !slices.ContainsFunc(says, func(s string) bool { return !strings.Contains(all.String(), s) }) {
			return all.String()
		}
	}
}

// TestFriendsAndBlocksSurvive: what the server API wrote holds after a restart.
func TestFriendsAndBlocksSurvive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := running(t, params(t, dir))
	server(t, a, http.MethodPut, "/users/bob/friends/alice?direction=both", "")
	server(t, a, http.MethodPut, "/users/bob/friends/carol", "")
	server(t, a, http.MethodPut, "/users/carol/blocks/bob", "")
	stop(t, a)
	a = running(t, params(t, dir))
	if n, err := watch(t, a).friends(); n != 2 || err != nil {
		t.Errorf("bob's friends: got %d, %v, want alice and carol", n, err)
	}
	for path, want := range map[string]string{"/users/alice/friends": `"bob"`, "/users/carol/blocks": `"bob"`} {
		if got := server(t, a, http.MethodGet, path, ""); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s in it", path, got, want)
		}
	}
}

// TestErasureTellsTheBlockedNothing: who may not see somebody does not learn
// from his erasure that he was there.
func TestErasureTellsTheBlockedNothing(t *testing.T) {
	t.Parallel()
	a := running(t, params(t, t.TempDir()))
	server(t, a, http.MethodPut, "/users/alice/blocks/bob", "")
	server(t, a, http.MethodPut, "/users/alice/presence", `{"status": "online", "ttl": 300}`)
	server(t, a, http.MethodPut, "/users/carol/presence", `{"status": "online", "ttl": 300}`)
	w := watch(t, a)
	for _, user := range []string{"alice", "carol"} {
		if _, err := w.svc.SubscribeToUserIsOnline(w.ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: w.token, UserId: user}); err != nil {
			t.Fatal(err)
		}
		w.until(`snapshot_done:{user_id:"` + user)
	}
	server(t, a, http.MethodDelete, "/users/alice", "")
	server(t, a, http.MethodDelete, "/users/carol", "")
	for line := range strings.Lines(w.until(`user_id:"carol"`)) {
		if strings.Contains(line, `"alice"`) && (strings.Contains(line, "session:") || strings.Contains(line, "last_seen") || strings.Contains(line, "ONLINE")) {
			t.Errorf("bob, whom alice blocks, was told %s\nwant at most that she was never seen", line)
		}
	}
}

// TestOnlyFriendsAreSeen: who is no friend looks as if he had never been here,
// who becomes one is shown as he is, and who ceases to be one leaves.
func TestOnlyFriendsAreSeen(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	demo := p.Config.Apps["demo"]
	demo.Policy.Visibility = config.VisibleToFriends
	p.Config.Apps["demo"] = demo
	a := running(t, p)
	server(t, a, http.MethodPut, "/users/carol/presence", `{"status": "away", "ttl": 300}`)
	w := watch(t, a)
	if n, err := w.friends(); n != 0 || err != nil {
		t.Errorf("bob's friends: got %d, %v, want none", n, err)
	}
	got, err := w.svc.GetUserIsOnline(w.ctx, &isonlinev1.GetUserIsOnlineRequest{UserId: "carol"})
	if u := got.GetUser(); err != nil || u.GetUserFlag() != isonlinev1.UserFlag_USER_FLAG_OFFLINE || u.GetLastSeen() != nil {
		t.Errorf("carol, no friend: got %v, %v, want OFFLINE and never seen", got, err)
	}
	server(t, a, http.MethodPut, "/users/bob/friends/carol", "")
	for line := range strings.Lines(w.until(`"carol"`)) {
		if strings.Contains(line, `"carol"`) && !strings.Contains(line, "SESSION_EVENT_KIND_CURRENT") {
			t.Errorf("carol, a friend: first got %s, want her as she is", line)
		}
	}
	server(t, a, http.MethodDelete, "/users/bob/friends/carol", "")
	w.until(`subscription_ended:{user_id:"carol" reason:NO_LONGER_FRIEND`)
	got, err = w.svc.GetUserIsOnline(w.ctx, &isonlinev1.GetUserIsOnlineRequest{UserId: "carol"})
	if u := got.GetUser(); err != nil || u.GetUserFlag() != isonlinev1.UserFlag_USER_FLAG_OFFLINE || u.GetLastSeen() == nil {
		t.Errorf("carol, a former friend: got %v, %v, want OFFLINE with the moment of the end", got, err)
	}
}

// backend has everybody's lists, and can be down.
type backend struct {
	mu    sync.Mutex // guards all below
	lists map[string][]string
	down  bool
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct{ Type, App, User string }
	_ = json.NewDecoder(r.Body).Decode(&q)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down || q.Type != "friends.list" || q.App != "demo" || r.Header.Get("Webhook-Signature") == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"friends": b.lists[q.User]})
}

// TestFriendsOfABackend: the app's own backend has the lists.
func TestFriendsOfABackend(t *testing.T) {
	t.Parallel()
	b := &backend{lists: map[string][]string{"bob": {"alice", "carol"}}, down: true}
	served := httptest.NewServer(b)
	t.Cleanup(served.Close)
	p := params(t, t.TempDir())
	demo := p.Config.Apps["demo"]
	demo.Friends = config.Friends{
		Source: config.FriendsFromHTTP, URL: served.URL, Secret: "a secret of the backend, 32 bytes and more", AllowPrivate: true, MaxAge: time.Hour,
	}
	p.Config.Apps["demo"] = demo
	a := running(t, p)
	w := watch(t, a)
	_, err := w.friends()
	reason, retry := "", false
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.RetryInfo:
			retry = true
		}
	}
	if reason != "FRIENDS_UNAVAILABLE" || !retry {
		t.Errorf("with the backend down: got %v, want FRIENDS_UNAVAILABLE with RetryInfo", err)
	}
	b.mu.Lock()
	b.down = false
	b.mu.Unlock()
	if n, err := w.friends(); n != 2 || err != nil {
		t.Errorf("bob's friends: got %d, %v, want 2", n, err)
	}
	w.until("snapshot_done:{friends")
	server(t, a, http.MethodPost, "/friends/changes", `{"changes": [{"user": "bob", "added": ["dave"], "removed": ["carol"]}]}`)
	w.until(`user_id:"dave"`, `user_id:"carol" reason:NO_LONGER_FRIEND`)
}
