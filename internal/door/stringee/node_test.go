package stringee

import (
	"bytes"
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
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSID    = "SK.0.tests"
	testSecret = "an API key secret of these tests, 32 bytes"
)

func testApps() []App {
	return []App{
		{App: doortest.App, SID: testSID, Secret: testSecret, Project: 25},
		{App: doortest.Other, SID: "SK.0.other", Secret: "the secret of the other app's key, 32 bytes", Project: 26, StrictCty: true},
	}
}

// node is Stringee's door on a core and a network in memory.
type node struct {
	*doortest.Core
	t    *testing.T
	door *Door
	port *doortest.Port
}

// inBubble runs a test on a node with a clock of its own.
func inBubble(t *testing.T, core doortest.Config, cfg Config, f func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, doortest.New(t, core), cfg)
		defer n.stop()
		<-time.After(time.Millisecond) // nothing of a test may fall on a tick of the wheel
		f(t, n)
	})
}

func newNode(t *testing.T, core *doortest.Core, cfg Config) *node {
	n := &node{Core: core, t: t}
	cfg.Gate, cfg.Tracker, cfg.Topics, cfg.Wheel, cfg.Logger = core.Gate, core.Tracker, core.Topics, core.Wheel, core.Logger
	if cfg.Apps == nil {
		cfg.Apps = testApps()
	}
	cfg.Called = func(string, string, time.Duration) {}
	n.door = New(cfg)
	core.Tell(n.door.Changed)
	if err := n.door.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.port = doortest.NewPort(core, n.door)
	return n
}

func (n *node) stop() {
	n.port.HangUp()
	n.port.Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.t.Context()), 10*time.Second)
	defer cancel()
	if err := n.door.Stop(ctx); err != nil {
		n.t.Errorf("stop of the door: %v", err)
	}
	if open, left, from, users, coming := n.door.Open(), n.door.standing.Load(), n.door.from.Len(), n.door.users.count.Load(), n.door.coming.Len(); open+int(left)+from+int(users)+coming != 0 {
		n.t.Errorf("left over: %d connections, %d standing, %d addresses, %d clients, %d coming", open, left, from, users, coming)
	}
	if c := n.Topics.Counts(); c.Subscriptions != 0 || c.Topics != 0 {
		n.t.Errorf("left over: %+v", c)
	}
	n.Core.Stop()
}

// sign makes a token of app demo; claims go over the defaults.
func (n *node) sign(claims map[string]any) string {
	all := map[string]any{"jti": testSID + "-1", "iss": testSID, "exp": time.Now().Add(time.Hour).Unix()}
	for k, v := range claims {
		if v == nil {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	raw, err := token.SignVendor(map[string]any{"cty": contentType}, all, []byte(testSecret))
	if err != nil {
		n.t.Fatal(err)
	}
	return n.Log.Secret(raw)
}

// client signs for a user who hears of topics and publishes attributes, given as
// name>topic.
func (n *node) client(user, topics string, publish ...string) string {
	claims := map[string]any{"userId": user}
	if topics != "" {
		claims["subscribe"] = topics
	}
	var list []map[string]string
	for _, p := range publish {
		name, to, _ := strings.Cut(p, ">")
		list = append(list, map[string]string{"attribute": name, "topic": to})
	}
	if list != nil {
		claims["attributes"] = list
	}
	return n.sign(claims)
}

// peer is a WebSocket connection that is read.
type peer struct {
	*doortest.Peer
	n *node
}

// open makes one; more are headers, in pairs.
func (n *node) open(more ...string) *peer {
	n.t.Helper()
	p, answer := n.handshake(more...)
	if p == nil {
		n.t.Fatalf("handshake: %s", answer.Status)
	}
	go p.Read()
	return p
}

func (n *node) handshake(more ...string) (*peer, *http.Response) {
	n.t.Helper()
	p, answer := doortest.Handshake(n.t, n.port.Dial(), "/", doortest.Header(more...))
	if p == nil {
		return nil, answer
	}
	return &peer{p, n}, answer
}

// ask sends a frame and returns what came back.
func (p *peer) ask(format string, args ...any) string {
	p.n.t.Helper()
	p.Came()
	p.Say(format, args...)
	return strings.Join(p.Came(), "\n")
}

// hello authenticates as the published client does, with a device of that name.
func (p *peer) hello(raw, device string) string {
	p.n.t.Helper()
	p.Say(`{"service":2,"body":{"accesstoken":%q,"deviceId":%q,"browserId":"browser-1","sessionId":"session-1","platform":3,"platformVersion":"","deviceName":"Mozilla","screenSize":"1920x1080","sdkVersion":"2.6.0","requestId":1}}`, raw, device)
	synctest.Wait()
	got := p.Take()
	if len(got) == 0 {
		return ""
	}
	p.Put(got[1:])
	return got[0]
}

// connect opens a connection and authenticates, which must work.
func (n *node) connect(raw, device string) *peer {
	n.t.Helper()
	p := n.open()
	if got := p.hello(raw, device); !strings.Contains(got, `"r":0,`) {
		n.t.Fatalf("authen: got %q", got)
	}
	return p
}

// news are the messages of topics that came, as "topic user attribute=value"; "+"
// says that a call runs.
func (p *peer) news() (list []string) {
	for _, f := range p.Came() {
		var m struct {
			Service int
			Body    told
		}
		if json.Unmarshal([]byte(f), &m) != nil || m.Service != serviceTopic {
			continue
		}
		s := fmt.Sprintf("%s %s %s=%s", m.Body.Topic, m.Body.Message.User, m.Body.Message.Attribute, m.Body.Message.NewValue)
		if !m.Body.Message.CallEnded {
			s += " +"
		}
		list = append(list, s)
	}
	return list
}

func (p *peer) hears(what string, want ...string) {
	p.n.t.Helper()
	if got := p.news(); !slices.Equal(got, want) {
		p.n.t.Errorf("%s: heard %q, want %q", what, got, want)
	}
}

// ended returns the close code.
func (p *peer) ended() int {
	p.n.t.Helper()
	got := p.Came()
	code, _, over := p.End()
	if !over {
		p.n.t.Fatalf("the connection stands; it got %q", got)
	}
	return code
}

func (p *peer) stands() {
	p.n.t.Helper()
	synctest.Wait()
	if code, reason, over := p.End(); over {
		p.n.t.Fatalf("the connection ended: %d %s", code, reason)
	}
}

// hangUp cuts the line without a word.
func (p *peer) hangUp() { p.Conn.Close(); synctest.Wait() }

// call makes a REST call with a server's token.
func (n *node) call(method, path, body string, more ...string) (int, string) {
	code, text, _ := n.callWith(method, path, body, append([]string{"X-STRINGEE-AUTH", n.sign(map[string]any{"rest_api": true})}, more...)...)
	return code, text
}

func (n *node) callWith(method, path, body string, more ...string) (int, string, http.Header) {
	n.t.Helper()
	r := httptest.NewRequestWithContext(n.t.Context(), method, path, io.NopCloser(bytes.NewReader([]byte(body))))
	r.Host = "porchlight.test"
	for i := 0; i < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
	}
	w := httptest.NewRecorder()
	n.door.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

// online is what GET says of a user's onlineStatus.
func (n *node) online(user string) string {
	n.t.Helper()
	code, body := n.call("GET", "/v1/users/"+user, "")
	if code != http.StatusOK {
		return fmt.Sprint(code)
	}
	var p person
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		n.t.Fatal(err)
	}
	return string(p.Attributes[0].Value)
}

func user(id string) presence.User {
	return presence.User{App: doortest.App, ID: presence.UserID(id)}
}

// signApp signs as an app's key does.
func signApp(a App, claims map[string]any) (string, error) {
	claims["iss"], claims["exp"] = a.SID, time.Now().Add(time.Hour).Unix()
	return token.SignVendor(map[string]any{"cty": contentType}, claims, []byte(a.Secret))
}

// addressAt asks a host for the server.
func (n *node) addressAt(host, raw string) string {
	n.t.Helper()
	r := httptest.NewRequestWithContext(n.t.Context(), http.MethodGet, "/v2/getStringeeServerAddress?access_token="+raw, http.NoBody)
	r.Host = host
	w := httptest.NewRecorder()
	n.door.ServeHTTP(w, r)
	return w.Body.String()
}
