package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const oneEvent = `{"position":"7.0.0","event_id":"e","user_seq":3,"kind":"closed","reason":"left","time":"2026-05-04T10:20:30.400Z","user":"bob",
	"session":{"id":"s","opened_at":"2026-05-04T10:20:30.400Z","device":{"platform":"ios","door":"live"},"status":{"show":"busy","text":{"token":"t","args":{"n":9007199254740993},"fallback":"f"},"properties":{"n":9007199254740993,"x":1.5,"on":true}}},
	"invisible":true,"available":false,"was_available":true,"shown_available":false,"shown_was_available":false,"last_session":true,"last_seen":"2026-05-04T10:20:30.400Z"}`

func event() Event {
	at := time.Date(2026, 5, 4, 10, 20, 30, 400e6, time.UTC)
	return Event{
		Position: "7.0.0", ID: "e", Seq: 3, Kind: "closed", Reason: "left", Time: at, User: "bob", Invisible: true, WasAvailable: true, LastSession: true, LastSeen: at,
		Session: &EventSession{ID: "s", OpenedAt: at, Device: EventDevice{Platform: "ios", Door: "live"}, Status: &EventStatus{
			Show: Busy, Text: map[string]any{"token": "t", "args": map[string]any{"n": int64(9007199254740993)}, "fallback": "f"},
			Properties: map[string]any{"n": int64(9007199254740993), "x": 1.5, "on": true},
		}},
	}
}

func TestWebhookRequests(t *testing.T) {
	t.Parallel()
	b, got := restServer(t, func(w http.ResponseWriter, _ int) {
		io.WriteString(w, `{"webhooks":[{"name":"main","doing":"live","dead":2,"replays":[{"replay":"r","progress":0.5}]}],"name":"main","replay":"r","doing":"running","sent":2,"older":["9"],"errors":{"status 500":1}}`)
	})
	ctx := t.Context()
	check := func(name string, err error, ok bool) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: %v, or not what the server said", name, err)
		}
	}
	all, err := b.Webhooks(ctx)
	check("Webhooks", err, len(all) == 1 && all[0].Doing == "live" && all[0].Dead == 2 && all[0].Replays[0].ID == "r")
	h, err := b.Webhook(ctx, "a/b")
	check("Webhook", err, h.Name == "main")
	r, err := b.Replay(ctx, "main", ReplayFrom{Position: "7"})
	check("Replay", err, r.ID == "r" && r.Doing == "running")
	_, err = b.Replay(ctx, "main", ReplayFrom{Time: time.Date(2026, 5, 4, 12, 20, 30, 5e6, time.FixedZone("", 7200))})
	check("Replay", err, true)
	_, err = b.CancelReplay(ctx, "main", "r")
	check("CancelReplay", err, true)
	sent, err := b.Resend(ctx, "main", true)
	check("Resend", err, sent.Sent == 2 && sent.Older[0] == "9" && sent.Errors["status 500"] == 1)
	_, err = b.Resend(ctx, "main", false, "1", "2")
	check("Resend", err, true)
	want := []asked{
		{"GET", "/api/v1/webhooks", ""}, {"GET", "/api/v1/webhooks/a%2Fb", ""},
		{"POST", "/api/v1/webhooks/main/replay", `{"position":"7"}`}, {"POST", "/api/v1/webhooks/main/replay", `{"time":"2026-05-04T10:20:30.005Z"}`},
		{"DELETE", "/api/v1/webhooks/main/replays/r", ""},
		{"POST", "/api/v1/webhooks/main/resend", `{"all":true,"force":true}`}, {"POST", "/api/v1/webhooks/main/resend", `{"force":false,"ids":["1","2"]}`},
	}
	if diff := cmp.Diff(want, got()); diff != "" {
		t.Error(diff)
	}
}

func TestChangesAndHistory(t *testing.T) {
	t.Parallel()
	b, got := restServer(t, func(w http.ResponseWriter, n int) {
		switch n {
		case 1:
			io.WriteString(w, `{"events":[`+oneEvent+`],"next":"8","more":true}`)
		case 2:
			io.WriteString(w, `{"events":[],"gap":{"from":"1","to":"5"},"next":"5","more":true}`)
		case 3:
			io.WriteString(w, `{"events":[`+oneEvent+`],"next":"7"}`)
		default:
			io.WriteString(w, `{"events":[`+oneEvent+`],"letters":[{"id":"4","event":`+oneEvent+`,"died":"2026-05-04T10:20:30Z","attempts":3,"why":"status 500"}]}`)
		}
	})
	ctx := t.Context()
	c, err := b.Changes(ctx, ChangesAfter{Position: "7", Limit: 5, Wait: 90 * time.Millisecond})
	if diff := cmp.Diff(Changes{Events: []Event{event()}, Next: "8", More: true}, c); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if c, err = b.Changes(ctx, ChangesAfter{}); err != nil || c.Gap == nil || c.Gap.To != "5" || c.Next != "5" {
		t.Errorf("got %+v, %v, want a gap", c, err)
	}
	n := 0
	if err := b.History(ctx, "bob", func(e Event) error { n++; return nil }); err != nil || n != 2 {
		t.Errorf("%d events of two pages, %v", n, err)
	}
	stop := errors.New("enough")
	if err := b.History(ctx, "bob", func(Event) error { return stop }); err != stop {
		t.Errorf("got %v, want what f returned", err)
	}
	var letters []DeadLetter
	if err := b.DeadLetters(ctx, "main", func(l DeadLetter) error { letters = append(letters, l); return nil }); err != nil || len(letters) != 1 || letters[0].Why != "status 500" || letters[0].Event.User != "bob" {
		t.Errorf("got %+v, %v", letters, err)
	}
	want := []asked{
		{"GET", "/api/v1/changes?after=7&limit=5&wait=1", ""}, {"GET", "/api/v1/changes?", ""},
		{"GET", "/api/v1/users/bob/history?limit=1000", ""}, {"GET", "/api/v1/users/bob/history?limit=1000&next=7", ""},
		{"GET", "/api/v1/users/bob/history?limit=1000", ""}, {"GET", "/api/v1/webhooks/main/dead?limit=1000", ""},
	}
	if diff := cmp.Diff(want, got()); diff != "" {
		t.Error(diff)
	}
}

// A snapshot is whole, or an error.
func TestSnapshotStream(t *testing.T) {
	t.Parallel()
	const (
		first = `{"type":"snapshot","app":"demo","position":"9"}` + "\n"
		user  = `{"type":"user","user":"bob","user_seq":3,"available":true,"sessions":[{"id":"s","device":{},"status":{"show":"busy","properties":{"n":9007199254740993}},"invisible":true}]}` + "\n"
		end   = `{"type":"end","users":1}` + "\n"
	)
	for name, test := range map[string]struct {
		body, want string
		status     int
		users      int
	}{
		"whole":        {first + user + end, "", 200, 1},
		"nobody":       {first + end, "", 200, 0},
		"cut":          {first + user, "broke off", 200, 1},
		"cut in line":  {first + user[:20], "broke off", 200, 0},
		"with a fault": {first + user + `{"type":"error","code":"LOG_UNAVAILABLE","detail":"the disk"}` + "\n", "the disk", 200, 1},
		"refused":      {`{"code":"POSITION_GONE","detail":"gone"}`, "gone", 410, 0},
	} {
		b, got := restServer(t, func(w http.ResponseWriter, _ int) {
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		var users []SnapshotUser
		at, err := b.Snapshot(t.Context(), SnapshotOf{Position: "9", Online: true}, func(u SnapshotUser) error { users = append(users, u); return nil })
		if test.want == "" && (err != nil || at != "9") || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %q, %v", name, at, err)
		}
		if len(users) != test.users {
			t.Errorf("%s: %d users, want %d", name, len(users), test.users)
		}
		if len(users) > 0 {
			if s := users[0].Sessions[0]; !s.Invisible || s.Status.Properties["n"] != int64(9007199254740993) || users[0].Seq != 3 {
				t.Errorf("%s: got %+v", name, users[0])
			}
		}
		if a := got(); a[0].URI != "/api/v1/snapshot?at=9&online=true" {
			t.Errorf("asked %v", a)
		}
	}
	b, _ := restServer(t, func(w http.ResponseWriter, _ int) { io.WriteString(w, first+user+end) })
	stop := errors.New("enough")
	if _, err := b.Snapshot(t.Context(), SnapshotOf{}, func(SnapshotUser) error { return stop }); err != stop {
		t.Errorf("got %v, want what f returned", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Snapshot(ctx, SnapshotOf{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the caller's end", err)
	}
}
