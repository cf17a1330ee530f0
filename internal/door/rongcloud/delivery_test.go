package rongcloud

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient is a core whose sessions do not time out in a test.
var patient = doortest.Config{Policy: tracker.Policy{HeartbeatTimeout: time.Hour}}

// inHook runs f on a real tracker whose app has this callback.
func inHook(t *testing.T, cfg doortest.Config, change func(*CallbackConfig, *webhook.Endpoint), f func(t *testing.T, c *doortest.Core, h *doortest.Hook)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := doortest.New(t, cfg)
		defer c.Stop()
		callback := CallbackConfig{Key: appKey, Secret: c.Log.Secret(appSecret)}
		endpoint := webhook.Endpoint{}
		if change != nil {
			change(&callback, &endpoint)
		}
		format, err := NewCallback(callback)
		if err != nil {
			t.Fatal(err)
		}
		h := c.Hook(format, func(e *webhook.Endpoint) { e.Lanes = endpoint.Lanes })
		defer h.Stop()
		f(t, c, h)
	})
}

// events are what arrived, as "user status os", one request to a line; each is
// verified as a receiver does it.
func events(t testing.TB, h *doortest.Hook) (lines []string) {
	t.Helper()
	for _, q := range h.Requests() {
		verify(t, webhook.Request{URL: q.URL})
		var list []event
		if err := json.Unmarshal([]byte(q.Body), &list); err != nil {
			t.Fatalf("%s: %v", q.Body, err)
		}
		var line []string
		for _, e := range list {
			line = append(line, e.User+" "+e.Status+" "+e.OS)
		}
		lines = append(lines, strings.Join(line, ", "))
	}
	return lines
}

func want(t testing.TB, h *doortest.Hook, lines ...string) {
	t.Helper()
	if got := events(t, h); !slices.Equal(got, lines) {
		t.Errorf("got %q, want %q", got, lines)
	}
}

// One connection's life, and what stands in an event.
func TestComesAndGoes(t *testing.T) {
	inHook(t, doortest.Config{}, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		began := time.Now()
		ref := c.Open("bob", presence.Device{Platform: "ios"})
		doortest.Elapse(200 * time.Millisecond)
		want(t, h, "bob 0 iOS")
		if at := h.Times(); !slices.Equal(at, []time.Duration{200 * time.Millisecond}) {
			t.Errorf("sent at %v, want after the linger of 200 ms", at)
		}
		session := c.Tracker.Sessions(ref.User)[0].Public.String()
		body := fmt.Sprintf(`[{"userid":"bob","status":"0","os":"iOS","time":%d,"clientIp":"192.0.2.7:41748","sessionId":"%s"}]`, began.UnixMilli(), session)
		if got := h.Requests()[0].Body; got != body {
			t.Errorf("got %s, want %s", got, body)
		}
		c.Close(ref, presence.ReasonLogout)
		doortest.Elapse(time.Second)
		want(t, h, "bob 0 iOS", "bob 2 iOS")
	})
}

// A user on two platforms who drops one yields a 1 although he is still online;
// with the vendor's switch off he does not.
func TestTwoPlatforms(t *testing.T) {
	for name, lastOnly := range map[string]bool{"all": false, "last only": true} {
		t.Run(name, func(t *testing.T) {
			inHook(t, doortest.Config{}, func(c *CallbackConfig, _ *webhook.Endpoint) { c.LastOnly = lastOnly }, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
				phone, page := c.Open("bob", presence.Device{Platform: "android"}), c.Open("bob", presence.Device{Platform: "web"})
				doortest.Elapse(time.Second)
				c.Close(phone, presence.ReasonLeft)
				doortest.Elapse(time.Second)
				c.Close(page, presence.ReasonLeft)
				doortest.Elapse(time.Second)
				lines := []string{"bob 0 Android, bob 0 Websocket", "bob 1 Android", "bob 1 Websocket"}
				if lastOnly {
					lines = slices.Delete(lines, 1, 2)
				}
				want(t, h, lines...)
			})
		})
	}
}

// A login on B kicks A: A's 1 comes first, in the same request, no later than B's 0.
func TestKick(t *testing.T) {
	inHook(t, doortest.Config{Policy: tracker.Policy{MultiDevice: presence.Single}}, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		c.Open("bob", presence.Device{Platform: "android"})
		doortest.Elapse(time.Second)
		c.Open("bob", presence.Device{Platform: "ios"})
		doortest.Elapse(time.Second)
		want(t, h, "bob 0 Android", "bob 1 Android, bob 0 iOS")
		var list []event
		if err := json.Unmarshal([]byte(h.Requests()[1].Body), &list); err != nil || list[0].Time > list[1].Time || list[0].Session == list[1].Session {
			t.Errorf("got %+v, %v", list, err)
		}
	})
}

// A connection that is lost is told after its grace, a client that comes back in
// it not at all; a logout is the one end of its session; whoever is invisible left.
func TestEndsOnce(t *testing.T) {
	inHook(t, doortest.Config{}, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		ref := c.Open("bob", presence.Device{Platform: "web"})
		c.Lose(ref)
		doortest.Elapse(7 * time.Second)
		want(t, h, "bob 0 Websocket", "bob 1 Websocket")
		c.Close(ref, presence.ReasonLogout) // too late: it is over
		doortest.Elapse(time.Second)
		want(t, h, "bob 0 Websocket", "bob 1 Websocket")
	})
}

func TestInvisible(t *testing.T) {
	inHook(t, doortest.Config{}, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		ref := c.Open("bob", presence.Device{Platform: "web"})
		doortest.Elapse(time.Second)
		c.Set(ref, presence.Status{Invisible: true})
		doortest.Elapse(time.Second)
		want(t, h, "bob 0 Websocket", "bob 1 Websocket")
		c.Set(ref, presence.Status{})
		doortest.Elapse(time.Second)
		c.Set(ref, presence.Status{Invisible: true})
		c.Close(ref, presence.ReasonLogout)
		doortest.Elapse(time.Minute)
		want(t, h, "bob 0 Websocket", "bob 1 Websocket", "bob 0 Websocket", "bob 1 Websocket")
	})
}

// No answer within 5 s: twice more, after 0.5 s and 1 s, each signed anew with the
// same body; then it is given up.
func TestThreeAttempts(t *testing.T) {
	inHook(t, doortest.Config{}, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		h.Answers(func(int, doortest.Request) doortest.Answer {
			return doortest.Answer{Status: 200, After: 5*time.Second + 1}
		})
		c.Open("bob", presence.Device{Platform: "web"})
		doortest.Elapse(200*time.Millisecond + 16500*time.Millisecond - 1)
		if s := h.Status(); s.Dead != 0 {
			t.Errorf("given up before its time: %+v", s)
		}
		doortest.Elapse(1)
		linger := 200 * time.Millisecond
		if at := h.Times(); !slices.Equal(at, []time.Duration{linger, linger + 5500*time.Millisecond, linger + 11500*time.Millisecond}) {
			t.Errorf("attempts at %v", at)
		}
		if s := h.Status(); s.Dead != 1 {
			t.Errorf("got %+v, want a dead letter", s)
		}
		seen := map[string]bool{}
		for _, q := range h.Requests() {
			u, err := url.Parse(q.URL)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"nonce", "timestamp", "signature"} {
				if v := u.Query().Get(name); seen[v] {
					t.Errorf("%s %s comes again", name, v)
				} else {
					seen[v] = true
				}
			}
			if q.Body != h.Requests()[0].Body {
				t.Errorf("another body: %s", q.Body)
			}
		}
		events(t, h) // verifies
	})
}

// An answer at 5 s is in time, and one that is not 200 is as bad as none.
func TestAnswers(t *testing.T) {
	inHook(t, patient, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		h.Answers(func(n int, _ doortest.Request) doortest.Answer {
			return []doortest.Answer{{Status: 302}, {}, {Status: 200, Body: "signature error", After: 5*time.Second - 1}}[n-1]
		})
		c.Open("bob", presence.Device{Platform: "web"})
		doortest.Elapse(time.Minute)
		want(t, h, "bob 0 Websocket", "bob 0 Websocket", "bob 0 Websocket")
		if s := h.Status(); s.Dead != 0 || s.Delivered != 1 || s.Failures != 2 {
			t.Errorf("got %+v, want one delivery after two failures", s)
		}
	})
}

// Many time-outs in a short time: a minute without a request, then one; events
// wait meanwhile, and come in order.
func TestPauseOnMassTimeouts(t *testing.T) {
	inHook(t, patient, func(_ *CallbackConfig, e *webhook.Endpoint) { e.Lanes = 16 }, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		h.Answers(func(int, doortest.Request) doortest.Answer { return doortest.Answer{Status: 200, After: time.Hour} })
		for n := range 60 {
			c.Open(fmt.Sprint("user", n), presence.Device{Platform: "web"})
		}
		doortest.Elapse(5200 * time.Millisecond) // all lanes have timed out once: 10 in a row
		s := h.Status()
		if s.Breaker != "open" || s.Pause <= 59*time.Second || s.Pause > time.Minute {
			t.Fatalf("got %+v, want a pause of a minute", s)
		}
		before := len(h.Requests())
		c.Open("late", presence.Device{Platform: "ios"})
		doortest.Elapse(s.Pause - time.Millisecond)
		if n := len(h.Requests()); n != before {
			t.Errorf("%d requests in the pause", n-before)
		}
		h.Answers(func(int, doortest.Request) doortest.Answer { return doortest.Answer{Status: 200, After: time.Second} })
		doortest.Elapse(time.Millisecond)
		if n := len(h.Requests()); n != before+1 {
			t.Errorf("%d requests at the end of the pause, want one", n-before)
		}
		doortest.Elapse(time.Minute)
		if s := h.Status(); s.Breaker != "closed" || s.Waiting != 0 || s.Dead != 0 {
			t.Errorf("got %+v, want all delivered", s)
		}
		if all := strings.Join(events(t, h), ", "); !strings.Contains(all, "late 0 iOS") {
			t.Errorf("what happened in the pause is lost: %s", all)
		}
	})
}
