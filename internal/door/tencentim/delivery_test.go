package tencentim

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

const ms = time.Millisecond

// good is the answer that the documents ask for.
var good = doortest.Answer{Status: 200, Body: `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`}

// patient is a core whose sessions do not time out in a test.
var patient = doortest.Config{Policy: tracker.Policy{HeartbeatTimeout: time.Hour}}

// inHook runs f on a real tracker whose app has this callback.
func inHook(t *testing.T, cfg doortest.Config, change func(*CallbackConfig), f func(t *testing.T, c *doortest.Core, h *doortest.Hook)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := doortest.New(t, cfg)
		defer c.Stop()
		h := c.Hook(newCallback(t, change), nil)
		defer h.Stop()
		h.Answers(func(int, doortest.Request) doortest.Answer { return good })
		f(t, c, h)
	})
}

// want says what must have arrived, as "action reason user platform".
func want(t testing.TB, h *doortest.Hook, lines ...string) {
	t.Helper()
	var got []string
	for _, q := range h.Requests() {
		var b body
		in := json.NewDecoder(strings.NewReader(q.Body))
		in.DisallowUnknownFields()
		if err := in.Decode(&b); err != nil {
			t.Fatalf("%s: %v", q.Body, err)
		}
		u, err := url.Parse(q.URL)
		if err != nil {
			t.Fatal(err)
		}
		line := b.Info.Action + " " + b.Info.Reason + " " + b.Info.Account + " " + u.Query().Get("OptPlatform")
		for _, k := range b.Kicked {
			line += " kicked " + k.Platform
		}
		if b.Info.Custom != nil {
			line += " " + *b.Info.Custom
		}
		got = append(got, line)
	}
	if !slices.Equal(got, lines) {
		t.Errorf("got  %q\nwant %q", got, lines)
	}
}

// A login waits 100 ms for a logout; a logout waits for nothing.
func TestComesAndGoes(t *testing.T) {
	inHook(t, patient, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		ref := c.Open("bob", presence.Device{Platform: "ios"})
		doortest.Elapse(time.Second)
		c.Close(ref, presence.ReasonLogout)
		doortest.Elapse(0)
		want(t, h, "Login Register bob IOS", "Logout Unregister bob IOS")
		at := h.Times()
		if at[0] < 100*ms || at[0] > 101*ms || at[1] != time.Second {
			t.Errorf("sent at %v, want after 100 ms, and at once", at)
		}
		if b := h.Requests()[1].Body; b != `{"CallbackCommand":"State.StateChange","Info":{"Action":"Logout","To_Account":"bob","Reason":"Unregister"}}` {
			t.Errorf("got %s", b)
		}
		if u := h.Requests()[1].URL; u != "https://receiver.example/hook?SdkAppid=888888&CallbackCommand=State.StateChange&contenttype=json&ClientIP=192.0.2.7&OptPlatform=IOS" {
			t.Errorf("got %s", u)
		}
	})
}

// Login and logout within 100 ms: the logout alone. A millisecond more: both.
func TestAtTheSameTime(t *testing.T) {
	for after, lines := range map[time.Duration][]string{
		0: {"Logout Unregister bob Web"}, 100 * ms: {"Logout Unregister bob Web"}, 101 * ms: {"Login Register bob Web", "Logout Unregister bob Web"},
	} {
		t.Run(after.String(), func(t *testing.T) {
			inHook(t, patient, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
				ref := c.Open("bob", presence.Device{Platform: "web"})
				if after > 0 {
					<-time.After(after)
				}
				c.Close(ref, presence.ReasonLogout)
				doortest.Elapse(time.Second)
				want(t, h, lines...)
			})
		})
	}
}

// Only the logout of the same device swallows a login; nothing else of the user
// overtakes it.
func TestOrderWhileHeld(t *testing.T) {
	inHook(t, patient, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		phone := c.Open("bob", presence.Device{Platform: "ios"})
		doortest.Elapse(time.Second)
		c.Open("bob", presence.Device{Platform: "web"})
		<-time.After(50 * ms)
		c.Close(phone, presence.ReasonLogout)
		doortest.Elapse(time.Second)
		want(t, h, "Login Register bob IOS", "Login Register bob Web", "Logout Unregister bob IOS")
	})
}

// 2 s for an answer, and no second try.
func TestNoRetry(t *testing.T) {
	inHook(t, patient, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		h.Answers(func(n int, _ doortest.Request) doortest.Answer {
			late := good
			if late.After = 2*time.Second + 1; n == 2 {
				late.After = 2*time.Second - 1
			}
			return late
		})
		ref := c.Open("bob", presence.Device{Platform: "web"})
		doortest.Elapse(10 * time.Second)
		want(t, h, "Login Register bob Web")
		if s := h.Status(); s.Dead != 1 || s.Delivered != 0 {
			t.Errorf("got %+v, want a dead letter", s)
		}
		c.Close(ref, presence.ReasonLeft)
		doortest.Elapse(10 * time.Second)
		want(t, h, "Login Register bob Web", "Disconnect LinkClose bob Web")
		if s := h.Status(); s.Dead != 1 || s.Delivered != 1 {
			t.Errorf("an answer just in time: got %+v, want it delivered", s)
		}
	})
}

// A receiver that says FAIL has taken it: the change has happened. People see it.
func TestReceiverSaysFail(t *testing.T) {
	inHook(t, patient, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		h.Answers(func(int, doortest.Request) doortest.Answer {
			return doortest.Answer{Status: 200, Body: `{"ActionStatus":"FAIL","ErrorCode":1,"ErrorInfo":"database"}`}
		})
		c.Open("bob", presence.Device{Platform: "web"})
		doortest.Elapse(time.Second)
		if s := h.Status(); s.Delivered != 1 || s.Failures != 0 || s.Dead != 0 || !strings.Contains(s.LastError, "ErrorCode 1") {
			t.Errorf("got %+v, want it delivered, with the complaint as last error", s)
		}
	})
}

// In the profile of 2025 a time-out may be tried again, an answer that is bad not.
func TestRetry(t *testing.T) {
	inHook(t, patient, func(c *CallbackConfig) { c.Profile, c.Retry, c.Token = Profile2025, true, "plCallbackToken1" }, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		h.Answers(func(int, doortest.Request) doortest.Answer { return doortest.Answer{Status: 200, After: time.Hour} })
		ref := c.Open("bob", presence.Device{Platform: "web"})
		doortest.Elapse(20 * time.Second)
		at := h.Times()
		if len(at) != 2 || at[1]-at[0] != 2500*ms || h.Status().Dead != 1 {
			t.Errorf("attempts at %v, want two, 2.5 s apart", at)
		}
		signs := map[string]bool{}
		for _, q := range h.Requests() {
			u, err := url.Parse(q.URL)
			if err != nil {
				t.Fatal(err)
			}
			v := u.Query()
			if signs[v.Get("Sign")] = true; v.Get("Sign") != Sign("plCallbackToken1", v.Get("RequestTime")) {
				t.Errorf("%s is signed wrongly", q.URL)
			}
		}
		if len(signs) != 2 {
			t.Errorf("%d signatures, want one for each attempt", len(signs))
		}
		h.Answers(func(int, doortest.Request) doortest.Answer { return doortest.Answer{Status: 200, Body: "success"} })
		c.Close(ref, presence.ReasonLeft)
		doortest.Elapse(20 * time.Second)
		if n := len(h.Requests()); n != 3 || h.Status().Dead != 2 {
			t.Errorf("an answer that is not JSON: got %d requests and %+v, want no second try", n-2, h.Status())
		}
	})
}

// With the preset of 2020 a heartbeat that stays away is told after 400 s.
func TestHeartbeatOf400Seconds(t *testing.T) {
	inHook(t, doortest.Config{Policy: tracker.Policy{HeartbeatTimeout: 400 * time.Second}}, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		c.Open("bob", presence.Device{Platform: "android"})
		doortest.Elapse(400*time.Second - ms)
		want(t, h, "Login Register bob Android")
		doortest.Elapse(time.Second)
		want(t, h, "Login Register bob Android", "Disconnect TimeOut bob Android")
		if at := h.Times()[1]; at < 400*time.Second || at > 401*time.Second {
			t.Errorf("told after %v, want 400 s", at)
		}
	})
}

// Another device kicks the first: two callbacks in 2020, one in 2025.
func TestKickedByAnotherDevice(t *testing.T) {
	for profile, lines := range map[string][]string{
		Profile2020: {"Login Register bob Windows", "Logout Unregister bob Windows", "Login Register bob Web"},
		Profile2025: {"Login Register bob Windows", "Login Register bob Web kicked Windows"},
	} {
		t.Run(profile, func(t *testing.T) {
			cfg := doortest.Config{Policy: tracker.Policy{HeartbeatTimeout: time.Hour, MultiDevice: presence.Single}}
			inHook(t, cfg, func(c *CallbackConfig) { c.Profile = profile }, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
				c.Open("bob", presence.Device{Platform: "windows"})
				doortest.Elapse(time.Second)
				c.Open("bob", presence.Device{Platform: "web"})
				doortest.Elapse(time.Second)
				want(t, h, lines...)
			})
		})
	}
}

// What a server drops says RESTAPI; a user who is invisible has left.
func TestDroppedAndInvisible(t *testing.T) {
	inHook(t, patient, nil, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
		ref := c.Open("bob", presence.Device{Platform: "web"})
		doortest.Elapse(time.Second)
		if _, err := c.Tracker.Drop(t.Context(), ref.User, nil); err != nil {
			t.Fatal(err)
		}
		ref = c.Open("carol", presence.Device{Platform: "web"})
		doortest.Elapse(time.Second)
		c.Set(ref, presence.Status{Invisible: true})
		doortest.Elapse(time.Second)
		c.Close(ref, presence.ReasonLogout)
		doortest.Elapse(time.Second)
		var lines []string
		for _, q := range h.Requests() {
			lines = append(lines, q.Body)
		}
		slices.Sort(lines) // two users may stand in two lanes
		const begin, end = `{"CallbackCommand":"State.StateChange","Info":{"Action":`, `"}}`
		if all := []string{
			begin + `"Disconnect","To_Account":"carol","Reason":"LinkClose` + end, begin + `"Login","To_Account":"bob","Reason":"Register` + end,
			begin + `"Login","To_Account":"carol","Reason":"Register` + end, begin + `"Logout","To_Account":"bob","Reason":"Unregister` + end,
		}; !slices.Equal(lines, all) {
			t.Errorf("got %q, want %q", lines, all)
		}
		for _, q := range h.Requests() {
			if dropped := strings.Contains(q.Body, "Logout"); dropped != strings.HasSuffix(q.URL, "OptPlatform=RESTAPI") {
				t.Errorf("%s to %s", q.Body, q.URL)
			}
		}
	})
}

// A new text of a status is a CustomStatusChange, in the profile of 2025.
func TestCustomStatus(t *testing.T) {
	text := func(s string) presence.Status {
		return presence.Status{Text: presence.Value{Kind: presence.KindText, Text: s}}
	}
	for profile, lines := range map[string][]string{
		Profile2020: {"Login Register bob Web"},
		Profile2025: {"Login Register bob Web", "CustomStatusChange SetCustomStatus bob Web at lunch", "CustomStatusChange SetCustomStatus bob Web "},
	} {
		t.Run(profile, func(t *testing.T) {
			cfg := patient
			cfg.Policy.TellCustom = true
			inHook(t, cfg, func(c *CallbackConfig) { c.Profile = profile }, func(t *testing.T, c *doortest.Core, h *doortest.Hook) {
				ref := c.Open("bob", presence.Device{Platform: "web"})
				doortest.Elapse(time.Second)
				for _, s := range []presence.Status{text("at lunch"), {Show: presence.Busy, Text: text("at lunch").Text}, {}} {
					c.Set(ref, s)
					doortest.Elapse(time.Second)
				}
				want(t, h, lines...)
			})
		})
	}
}
