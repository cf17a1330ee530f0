package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func TestLiveSession(t *testing.T) {
	t.Parallel()
	f := &liveFake{scripts: []func(*livePeer){func(p *livePeer) {
		p.welcome(`"resume":"r1","q":0`)
		r, _ := p.hears()
		p.says(liveNews(1, "bob", "current", "b1", "hi", 1), `{"t":"n","q":2,"n":[`+bobIsHere+`]}`, fmt.Sprintf(`{"t":"ok","id":%d}`, r.ID))
		p.serves()
	}}}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Watch: []string{"bob"}, Status: Status{Show: Away, Text: "soon"}})
		expectTales(t, s, "bob online current:b1=hi")
		if p, ok := s.Presence("bob"); !ok || p.Sessions[0].Show != Busy || p.Sessions[0].ConnectedAt.UnixMilli() != 1772366400000 {
			t.Errorf("got %+v, want bob's session", p)
		}
		if err := errors.Join(
			s.Set(t.Context(), Status{Show: Busy, Template: &Ref{Token: "match", Args: map[string]any{"n": 3}}, Properties: map[string]any{"a": 5, "b": 5.0, "c": true, "d": "x"}}),
			s.SetPartial(t.Context(), Patch{ClearText: true, ClearProperties: []string{"a"}}),
			s.WatchFriends(t.Context()), s.UnwatchFriends(t.Context()), s.Unwatch(t.Context(), "bob"), s.Logout(t.Context()),
		); err != nil {
			t.Error(err)
		}
		if s.ID() != "mine" || !errors.Is(s.Err(), ErrClosed) {
			t.Errorf("got session %q, over by %v", s.ID(), s.Err())
		}
		f.expect(t, `{"t":"hello","token":"t0","device":{"platform":"web","id":"d1"},"status":{"show":"away","text":"soon","invisible":false}}`, watchBob,
			`{"t":"set","id":2,"status":{"show":"busy","text":{"token":"match","args":{"n":3}},"properties":{"a":5,"b":5.0,"c":true,"d":"x"},"invisible":false}}`,
			`{"t":"patch","id":3,"status":{},"clear":["a"],"clear_text":true}`,
			`{"t":"watch","id":4,"friends":true}`, `{"t":"unwatch","id":5,"friends":true}`, `{"t":"unwatch","id":6,"users":["bob"]}`,
			`{"t":"bye","id":7,"mode":"logout"}`)
	})
}

// Live notifications are told once, though a node that died tells one again.
func TestLiveNotifications(t *testing.T) {
	t.Parallel()
	f := &liveFake{scripts: []func(*livePeer){func(p *livePeer) {
		p.welcome(`"resume":"r1","q":0,"notifications":true`)
		p.says(`{"t":"m","m":[{"id":"1","message":"one","action":"https://a.example/","source":"Chat","publisher":"chat","at":1772366400000,"until":1772366700000},{"id":"1","message":"other"}]}`)
		p.says(`{"t":"m","m":[{"id":"1","message":"one","publisher":"chat"},{"id":"2","message":"two"}]}`, `{"t":"m"}`)
		p.serves()
	}}}
	var told []LiveNotification
	f.notify = func(n LiveNotification) { told = append(told, n) }
	liveBubble(t, f, func(t *testing.T, c *Client) {
		open(t, c, Options{})
		synctest.Wait()
		want := []LiveNotification{
			{"1", "chat", "Chat", "one", "https://a.example/", time.UnixMilli(1772366400000).UTC(), time.UnixMilli(1772366700000).UTC()},
			{ID: "1", Text: "other"}, {ID: "2", Text: "two"},
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %+v, want %+v", told, want)
		}
		f.expect(t, `{"t":"hello","token":"t0","device":{"platform":"web","id":"d1"},"status":{"invisible":false},"notifications":true}`)
	})
	if _, err := New(Config{Addr: "localhost:7401", Token: func(context.Context) (string, error) { return "", nil }, OnNotification: f.notify}); err == nil {
		t.Error("notifications over gRPC: got no error, want one")
	}
}

// A link that breaks is taken up again, and the reader sees nobody leave and
// come back.
func TestLiveResume(t *testing.T) {
	t.Parallel()
	f := &liveFake{scripts: []func(*livePeer){
		func(p *livePeer) {
			p.welcome(`"resume":"r1","q":0`)
			p.hears()
			p.says(`{"t":"ok","id":1}`, liveNews(1, "bob", "current", "b1", "hi", 1), `{"t":"n","q":2,"n":[`+bobIsHere+`]}`)
			wait(p.ctx, time.Second)
		},
		func(p *livePeer) {
			p.welcome(`"resume":"r2","resumed":true,"q":2`)
			p.says(liveNews(3, "bob", "updated", "b1", "again", 2))
			wait(p.ctx, time.Second)
		},
		func(p *livePeer) { // the server lost it all
			p.hears()
			p.says(`{"t":"bye","reason":"SESSION_GONE","kept":false}`)
			_ = p.conn.Close(4410, "SESSION_GONE")
		},
		func(p *livePeer) {
			p.welcome(`"resume":"r9","q":0`)
			p.hears()
			p.says(`{"t":"ok","id":1}`, liveNews(1, "bob", "current", "b1", "again", 7), `{"t":"n","q":2,"n":[`+bobIsHere+`]}`)
			p.serves()
		},
	}}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Watch: []string{"bob"}})
		expectTales(t, s, "bob online current:b1=hi", "link_down", "link_up", "bob online updated:b1=again", "link_down", "link_up")
		expectQuiet(t, s, time.Second)
		resume := `{"t":"hello","token":"t0","resume":%q,"after":%d,"device":{"platform":"web","id":"d1"},"status":{"invisible":false}}`
		f.expect(t, helloAs, watchBob, fmt.Sprintf(resume, "r1", 2), fmt.Sprintf(resume, "r2", 3), helloAs, watchBob)
		// Half of the first pause is random; a lost session is made anew at once.
		if d := f.connected(); d[1]-d[0] < 1500*time.Millisecond || d[1]-d[0] > 2*time.Second || d[3] != d[2] {
			t.Errorf("connected at %v", d)
		}
	})
}

func TestLiveAccessTokens(t *testing.T) {
	t.Parallel()
	f := &liveFake{tokens: []string{"old", "new", "newer"}, scripts: []func(*livePeer){
		func(p *livePeer) {
			p.hears()
			p.says(`{"t":"bye","reason":"JWT_EXPIRED","message":"it expired","kept":false}`)
			_ = p.conn.Close(4401, "JWT_EXPIRED")
		},
		func(p *livePeer) {
			p.welcome(`"resume":"r1","q":0`)
			p.hears()
			p.says(`{"t":"error","id":1,"reason":"JWT_EXPIRED","message":"it expired"}`)
			p.serves()
		},
	}}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		if err := s.Set(t.Context(), Status{Show: Busy}); err != nil {
			t.Error(err)
		}
		hello := `{"t":"hello","token":%q,"device":{"platform":"web","id":"d1"},"status":{"invisible":false}}`
		f.expect(t, fmt.Sprintf(hello, "old"), fmt.Sprintf(hello, "new"), `{"t":"set","id":1,"status":{"show":"busy","invisible":false}}`,
			`{"t":"token","id":2,"token":"newer"}`, `{"t":"set","id":3,"status":{"show":"busy","invisible":false}}`)
	})
	f = &liveFake{scripts: f.scripts[:1]}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		_, err := c.Open(t.Context(), Options{})
		if ReasonOf(err) != ReasonJWTExpired || !strings.Contains(err.Error(), "no fresher") {
			t.Errorf("the same token again: got %v", err)
		}
	})
}

// A node that goes is left for the next address: at its own a session would be
// refused until it has gone. A link that only broke is made there again.
func TestLiveLeavesANodeThatStops(t *testing.T) {
	t.Parallel()
	f := &liveFake{more: []string{"ws://localhost:7401", "ws://localhost:7402"}, scripts: []func(*livePeer){
		func(p *livePeer) {
			p.welcome(`"resume":"r1","q":0`)
			wait(p.ctx, 2*time.Second)
			p.says(`{"t":"bye","reason":"DRAINING","retry_after":300,"kept":true}`)
			_ = p.conn.Close(1001, "DRAINING")
		},
		func(p *livePeer) { p.welcome(`"resume":"r2","resumed":true,"q":0`); wait(p.ctx, time.Second) },
		func(p *livePeer) { p.welcome(`"resume":"r3","resumed":true,"q":0`); p.serves() },
	}}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		expectTales(t, s, "link_down", "link_up", "link_down", "link_up")
		if got := fmt.Sprint(f.dialed); got != "[localhost:7400 localhost:7401 localhost:7401]" {
			t.Errorf("dialed %s", got)
		}
		if at := f.connected(); at[1]-at[0] != 2300*time.Millisecond {
			t.Errorf("came to the next node after %v, want after the pause that was asked for", at[1]-at[0])
		}
	})
}

// A query while the link is down says that it may succeed later, and does; one
// without any session says what is missing.
func TestLiveQueryWhileTheLinkIsDown(t *testing.T) {
	t.Parallel()
	f := &liveFake{scripts: []func(*livePeer){
		func(p *livePeer) { p.welcome(`"resume":"r1","q":0`); wait(p.ctx, time.Second) },
		func(p *livePeer) { p.welcome(`"resume":"r2","resumed":true,"q":0`); p.serves() },
	}}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		if _, err := c.Query(t.Context(), "bob"); ReasonOf(err) != ReasonSessionNotConnected {
			t.Errorf("without a session: got %v", err)
		}
		s := open(t, c, Options{})
		expectTales(t, s, "link_down")
		var e *Error
		if _, err := c.Query(t.Context(), "bob"); !errors.As(err, &e) || e.Code != CodeUnavailable || !e.Temporary() {
			t.Errorf("while the link is down: got %v, want a temporary error", err)
		}
		expectTales(t, s, "link_up")
	})
}

// Pings of the server are its signs of life; without them the link is given up
// and made anew.
func TestLiveSilence(t *testing.T) {
	t.Parallel()
	f := &liveFake{scripts: []func(*livePeer){
		func(p *livePeer) {
			p.welcome(`"resume":"r1","q":0`)
			p.conn.CloseRead(p.ctx)
			wait(p.ctx, 29*time.Second) // as late as it may be
			if err := p.conn.Ping(p.ctx); err != nil {
				t.Errorf("ping: %v", err)
			}
			<-p.ctx.Done()
		},
		func(p *livePeer) { p.welcome(`"resume":"r2","resumed":true,"q":0`); p.serves() },
	}}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		if got := next(t, s); got.Kind != ChangeLinkDown || !strings.Contains(got.Err.Error(), "silent") {
			t.Errorf("got %+v, want a lost link", got)
		}
		if since := time.Since(f.began); since != 59*time.Second {
			t.Errorf("the link was given up after %s, want 29 s and three heartbeats of 10 s", since)
		}
		expectTales(t, s, "link_up")
	})
}

func TestLiveEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, says string
		close      websocket.StatusCode
		want       Reason // of the session's end; "" when it goes on
	}{
		{"replaced", `{"t":"bye","reason":"REPLACED_STREAM","kept":true}`, 4409, ReasonReplacedStream},
		{"replaced without a word", "", 4409, ReasonReplacedStream},
		{"dropped", `{"t":"bye","reason":"SESSION_CLOSED","kept":false,"why":"ADMIN"}`, 1000, ReasonSessionClosed},
		{"draining", `{"t":"bye","reason":"DRAINING","retry_after":2500,"kept":true}`, 1001, ""},
		{"slow", "", 4413, ""},
		{"internal", `{"t":"bye","reason":"INTERNAL","message":"internal error","kept":true}`, 1011, ""},
		{"nonsense", `[`, 4400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &liveFake{scripts: []func(*livePeer){
				func(p *livePeer) {
					p.welcome(`"resume":"r1","q":0`)
					if tt.says != "" {
						p.says(tt.says)
					}
					_ = p.conn.Close(tt.close, tt.name)
				},
				func(p *livePeer) { p.welcome(`"resume":"r2","resumed":true,"q":0`); p.serves() },
			}}
			liveBubble(t, f, func(t *testing.T, c *Client) {
				s := open(t, c, Options{})
				if tt.want == "" {
					expectTales(t, s, "link_down", "link_up")
					if took := f.connected()[1] - f.connected()[0]; tt.name == "draining" && took != 2500*time.Millisecond {
						t.Errorf("back after %s, want the 2.5 s that the server asked for", took)
					}
					return
				}
				<-s.Done()
				if got := ReasonOf(s.Err()); got != tt.want {
					t.Errorf("over by %v, want %s", s.Err(), tt.want)
				}
			})
		})
	}
}

// What a call's answer says, and what is kept of a call that failed for a while.
func TestLiveRefusals(t *testing.T) {
	t.Parallel()
	f := &liveFake{scripts: []func(*livePeer){func(p *livePeer) {
		p.welcome(`"resume":"r1","q":0`)
		p.hears()
		p.says(`{"t":"error","id":1,"reason":"FIELD_INVALID","message":"m","fields":[{"path":"status.text","message":"too long"}]}`)
		p.hears()
		p.says(`{"t":"ok","id":2,"rejected":["nobody"]}`)
		p.hears()
		p.says(`{"t":"error","id":3,"reason":"RATE_LIMITED","message":"m","retry_after":1500}`)
		p.serves()
	}}}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		var e *Error
		if err := s.Set(t.Context(), Status{Text: "x"}); !errors.As(err, &e) || e.Code != CodeInvalidArgument || len(e.Fields) != 1 || e.Fields[0] != (Field{"status.text", "too long"}) {
			t.Errorf("refused status: got %#v", err)
		}
		if err := s.Watch(t.Context(), "nobody", "bob"); ReasonOf(err) != ReasonWatchRejected {
			t.Errorf("refused watch: got %v", err)
		}
		if err := s.Set(t.Context(), Status{Show: Away}); !errors.As(err, &e) || !e.Temporary() || e.RetryAfter != 1500*time.Millisecond {
			t.Errorf("too fast: got %#v", err)
		}
		wait(t.Context(), 3*time.Second)
		f.mu.Lock()
		last := f.heard[len(f.heard)-1]
		f.mu.Unlock()
		if last != `{"t":"set","id":5,"status":{"show":"away","invisible":false}}` {
			t.Errorf("what was owed is not told later: %s", last)
		}
		if _, err := c.Query(t.Context(), "bob"); err != nil {
			t.Errorf("query on the session: %v", err)
		}
		if next, err := s.Heartbeat(t.Context()); err != nil || next != 10*time.Second {
			t.Errorf("heartbeat: %s, %v", next, err)
		}
	})
}

func TestLiveHandshakeFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		want   Code
	}{{404, CodeUnimplemented}, {403, CodePermissionDenied}, {429, CodeResourceExhausted}, {503, CodeUnavailable}, {302, CodeUnavailable}} {
		e := fromHandshake(t.Context(), &http.Response{StatusCode: tt.status, Status: fmt.Sprint(tt.status), Header: http.Header{"Retry-After": {"3"}}}, io.EOF)
		if e.Code != tt.want || e.RetryAfter != 3*time.Second || !strings.Contains(e.Error(), fmt.Sprint(tt.status)) {
			t.Errorf("%d: got %#v, want %s", tt.status, e, tt.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{Addr: "ws://localhost:7400", Token: func(context.Context) (string, error) { return "t0", nil },
			Dialer: func(context.Context, string) (net.Conn, error) { return nil, errors.New("no route") }})
		if err != nil {
			t.Fatal(err)
		}
		var e *Error
		if _, err := c.Open(t.Context(), Options{}); !errors.As(err, &e) || e.Code != CodeUnavailable || !strings.Contains(err.Error(), "no route") {
			t.Errorf("nobody there: got %v", err)
		}
		if _, err := c.Query(t.Context(), "bob"); !errors.As(err, &e) || e.Code != CodeFailedPrecondition || !strings.Contains(err.Error(), "Open first") {
			t.Errorf("query without a session: got %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Whatever a server sends, frames and errors come of it.
func FuzzLiveMessage(f *testing.F) {
	f.Add([]byte(liveNews(3, "bob", "updated", "b1", "again", 2)))
	f.Add([]byte(`{"t":"welcome","heartbeat":1e300,"limits":{"batch":-1}}`))
	f.Add([]byte(`{"t":"n","q":1,"n":[{"k":"done","all":true},{"k":"ended","u":"x"},{},{"u":"a","k":"none","seen":-1}]}`))
	f.Add([]byte(`{"t":"error","id":1,"reason":"X","retry_after":-5,"fields":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m liveMessage
		if decode(b, &m) != nil {
			return
		}
		p := newPicture()
		for _, fr := range m.frames() {
			if fr.notification != nil {
				p.apply(fr.notification)
			}
		}
		if e := m.fault(); e.Code == "" || e.RetryAfter < 0 {
			t.Errorf("got %#v", e)
		}
		fromLiveUsers(m.Users)
		m.closing()
	})
}
