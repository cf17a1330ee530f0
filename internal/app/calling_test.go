package app_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// calling is one call at every node: at is where it is made, home where the user is
// connected, other a third node, which must know.
type calling struct {
	t               *testing.T
	at, home, other *app.App
	user            string
	mine            *line // the user's own events stream, at home
	sees            *line // of somebody who watches the user at other
}

// become polls until a user is seen so at all nodes.
func (c calling) become(what string) {
	c.t.Helper()
	for _, a := range []*app.App{c.at, c.home, c.other} {
		asker := speak(c.t, a, "asker")
		happens(c.t, fmt.Sprintf("%s is %s", c.user, what), func() bool { return asker.sees(c.user) == what })
	}
}

// answers polls until a REST call at a node is answered so.
func (c calling) answers(a *app.App, path string, good func(m map[string]any) bool) {
	c.t.Helper()
	var last any
	defer func() {
		if c.t.Failed() {
			c.t.Logf("GET %s: %v", path, last)
		}
	}()
	happens(c.t, "GET "+path+" is answered as it should be", func() bool {
		code, m := restCode(c.t, a, "GET", "/api/v1/users/"+c.user+path, "")
		last = m
		return code == http.StatusOK && good(m)
	})
}

func (c calling) rest(a *app.App, method, path, body string) map[string]any {
	c.t.Helper()
	return rest(c.t, a, method, "/api/v1/users/"+c.user+path, body)
}

// watcher is who watches the user: one for each, since a user has 16 sessions at
// most.
func (c calling) watcher() string { return "watcher-of-" + c.user }

// hears is a device at the live door that is told of a topic.
func (c calling) hears(a *app.App, topic string) func() []string {
	c.t.Helper()
	var mu sync.Mutex
	var got []string
	l, err := client.New(client.Config{
		Addr: "ws://" + a.HTTPAddr().String(),
		Token: func(context.Context) (string, error) {
			return token.SignClaims(token.Development(), token.Claims{User: "listener", TTL: time.Hour, Topics: &token.Topics{Subscribe: []string{topic}}}, time.Now())
		},
		OnTopic: func(m client.TopicMessage) {
			mu.Lock()
			defer mu.Unlock()
			if !m.Missed {
				got = append(got, m.Name+"="+string(m.Value))
			}
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { l.Close() })
	if _, err := l.Open(c.t.Context(), client.Options{}); err != nil {
		c.t.Fatal(err)
	}
	return func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(got) }
}

// agent connects the user at home at the live door as one whose attributes are
// published.
func (c calling) agent(topic string) *client.Session {
	c.t.Helper()
	l, err := client.New(client.Config{
		Addr: "ws://" + c.home.HTTPAddr().String(),
		Token: func(context.Context) (string, error) {
			topics := &token.Topics{Attributes: []token.Publication{{Attribute: "skill", Topic: topic}, {Attribute: "onlineStatus", Topic: topic}}}
			return token.SignClaims(token.Development(), token.Claims{User: presence.UserID(c.user), TTL: time.Hour, Topics: topics}, time.Now())
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { l.Close() })
	s, err := l.Open(c.t.Context(), client.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

const isOnline, isAway, isNowhere = "IS_ONLINE_STATUS_ONLINE", "IS_ONLINE_STATUS_AWAY", "nowhere"

// listens is a publisher's connection to a node: all that it was told.
func (c calling) listens(a *app.App, id, key string) func() []string {
	c.t.Helper()
	conn, err := net.Dial("tcp", a.HTTPAddr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	p, answer := doortest.Handshake(c.t, conn, "/"+id, nil)
	if p == nil {
		c.t.Fatal(answer.Status)
	}
	if err := p.Send(fmt.Sprintf(`{"key":%q}`, key)); err != nil {
		c.t.Fatal(err)
	}
	var read sync.WaitGroup
	read.Go(p.Read)
	c.t.Cleanup(func() { conn.Close(); read.Wait() })
	var got []string
	return func() []string { got = append(got, p.Take()...); return got }
}

// bearer is the header of a user's access token.
func bearer(t *testing.T, user string) string {
	t.Helper()
	jwt, err := token.Sign(token.Development(), presence.UserID(user), time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + jwt
}

// vendor is the header of Stringee's REST calls.
func vendor(t *testing.T) string {
	t.Helper()
	raw, err := token.SignVendor(map[string]any{"cty": "stringee-api;v=1"}, map[string]any{
		"jti": "x-1", "iss": config.DevelopmentStringeeSID, "exp": time.Now().Add(time.Hour).Unix(), "rest_api": true,
	}, []byte(config.DevelopmentStringeeSecret))
	if err != nil {
		t.Fatal(err)
	}
	return "X-STRINGEE-AUTH: " + raw
}

// web makes a request with headers "Name: value", a line each.
func web(t *testing.T, a *app.App, method, path, headers, body string) (code int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.HTTPAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for line := range strings.SplitSeq(headers, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			r.Header.Set(name, value)
		}
	}
	return exchange(t, r)
}

func (s speaker) subscribe(tok, user string) {
	s.t.Helper()
	if _, err := s.SubscribeToUserIsOnline(s.ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: tok, UserId: user}); err != nil {
		s.t.Fatal(err)
	}
}

func (s speaker) heartbeat(tok string) error {
	_, err := s.HeartbeatIsOnlineSession(s.ctx, &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: tok})
	return err
}
