package tencentim

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"
	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/revoke"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a door on a real tracker with a log in memory, in a bubble.
type node struct {
	t       testing.TB
	store   *storetest.Memory
	wheel   *wheel.Wheel
	tracker *tracker.Tracker
	door    *Door
	log     bytes.Buffer
	calls   []string
	unsure  bool
}

func inNode(t *testing.T, f func(t *testing.T, n *node)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &node{t: t, store: storetest.NewMemory()}
		n.start()
		defer n.stop()
		f(t, n)
	})
}

func (n *node) start() {
	n.t.Helper()
	logger := slog.New(slog.NewTextHandler(&n.log, nil))
	incarnation, err := n.store.Next(n.t.Context(), "incarnation")
	if err != nil {
		n.t.Fatal(err)
	}
	n.wheel = wheel.New(nil)
	n.tracker = tracker.New(tracker.Config{
		Policies: map[presence.AppID]tracker.Policy{"demo": {}, "other": {}}, Log: n.store, Checkpoints: n.store, Incarnation: incarnation, Wheel: n.wheel, Logger: logger,
	})
	h := hub.New(n.tracker, nil)
	n.tracker.Listen(h, h)
	n.wheel.Start()
	if err := n.tracker.Start(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	n.tracker.Ready()
	revocations := revoke.New(n.store, logger)
	if err := revocations.Start(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	n.door = New(Config{
		Tracker: n.tracker, Revocations: revocations, Logger: logger,
		Apps:   []App{testApp, {App: "other", ID: 5, Key: "other key", Admins: []string{testAdmin}}, {App: "third", ID: 6}},
		Unsure: func(presence.User) bool { return n.unsure },
		Called: func(method, code string, _ time.Duration) { n.calls = append(n.calls, method+" "+code) },
	})
}

func (n *node) stop() {
	n.t.Helper()
	n.store.Recover()
	if err := n.tracker.Stop(n.t.Context()); err != nil && n.t.Context().Err() == nil {
		n.t.Error(err)
	}
	n.wheel.Stop()
	if strings.Contains(n.log.String(), testKey) || strings.Contains(n.log.String(), "eJ") {
		n.t.Error("a key or a usersig is in the log")
	}
}

// admin is the query of a URL that is right.
func (n *node) admin() url.Values {
	n.t.Helper()
	sig, err := tencentyun.GenUserSig(testID, testKey, testAdmin, 86400)
	if err != nil {
		n.t.Fatal(err)
	}
	return url.Values{"sdkappid": {strconv.Itoa(testID)}, "identifier": {testAdmin}, "usersig": {sig}, "random": {"99999999"}, "contenttype": {"json"}}
}

// post sends a request and returns the answer, which always has status 200.
func (n *node) post(path string, query url.Values, body string) string {
	n.t.Helper()
	return n.send(httptest.NewRequest(http.MethodPost, "http://node"+path+"?"+query.Encode(), strings.NewReader(body)))
}

func (n *node) send(r *http.Request) string {
	n.t.Helper()
	w := httptest.NewRecorder()
	n.door.ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		n.t.Errorf("got %d %v %s, want status 200 and JSON", w.Code, w.Header(), w.Body)
	}
	return w.Body.String()
}

// fails wants an answer with a code, in the shape of the interface.
func (n *node) fails(what, answer string, code int) {
	n.t.Helper()
	var got result
	in := json.NewDecoder(strings.NewReader(answer))
	in.DisallowUnknownFields()
	if err := in.Decode(&got); err != nil || got.Status != "FAIL" || got.Code != code || got.Text == "" {
		n.t.Errorf("%s: got %s, want FAIL with %d", what, answer, code)
	}
	if !strings.HasPrefix(answer, `{"ActionStatus":"FAIL","ErrorInfo":"`) {
		n.t.Errorf("%s: got %s, want the fields in their order", what, answer)
	}
	if last := n.calls[len(n.calls)-1]; !strings.HasSuffix(last, " "+strconv.Itoa(code)) {
		n.t.Errorf("%s: counted as %s, want %d", what, last, code)
	}
}

const (
	queryPath = "/v4/openim/query_online_status"
	statePath = "/v4/openim/querystate"
	kickPath  = "/v4/im_open_login_svc/kick"
)

// says asks of one user with details, and wants his state and them.
func (n *node) says(user, want string) {
	n.t.Helper()
	got := n.post(queryPath, n.admin(), `{"To_Account":["`+user+`"],"IsNeedDetail":1}`)
	if want = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"QueryResult":[{"To_Account":"` + user + `",` + want + `}]}`; got != want {
		n.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// link is a connection that says nothing.
type link struct{}

func (link) LastRead() time.Duration { return 0 }
func (link) Shared() bool            { return false }
func (link) End(tracker.End)         {}

// open opens a session of a user of app demo.
func (n *node) open(user, platform string) tracker.Ref {
	n.t.Helper()
	made, err := n.tracker.Make(n.t.Context(), tracker.MakeParams{User: presence.User{App: "demo", ID: presence.UserID(user)}, Device: presence.Device{Platform: platform, Door: "isonline"}})
	if err == nil {
		_, err = n.tracker.Connect(n.t.Context(), made.Ref, tracker.ConnectParams{Link: link{}, Addr: "192.0.2.1:1"})
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return made.Ref
}

// lose cuts the link of a session and waits until its grace is over.
func (n *node) lose(ref tracker.Ref) {
	n.tracker.LinkLost(ref, link{})
	wait(7 * time.Second)
}

func (n *node) end(ref tracker.Ref, reason presence.Reason) {
	n.t.Helper()
	if _, err := n.tracker.Close(n.t.Context(), ref, reason); err != nil {
		n.t.Fatal(err)
	}
}

// wait lets fake time pass.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
