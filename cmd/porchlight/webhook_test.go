package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// A receiver says what came, and what is wrong with it.
func TestWebhookListen(t *testing.T) {
	t.Parallel()
	listen := start(t, "webhook", "listen", "--addr", "127.0.0.1:0", "--format", "rongcloud", "--secret", "plSecret-7hQ2", "--answer", "202")
	at := strings.TrimSuffix(strings.Fields(listen.line("webhooks of format rongcloud at ", "checked with --secret"))[5], ",")
	post := func(query string, want int) {
		t.Helper()
		resp, err := http.Post(at+"?"+query, "application/json", strings.NewReader(`[{"userid":"bob","status":"0","os":"iOS","time":1437982625625,"clientIp":"192.0.2.1:9","sessionId":"x"}]`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("answered %d, want %d", resp.StatusCode, want)
		}
	}
	post("appKey=a&timestamp=1767225600123&nonce=48213&signature=6e0c16b78d2e327e60f71b619ce2534c38f560da", 202)
	listen.line("1 event, signature good, answered 202")
	listen.line("bob", "online", "iOS")
	post("appKey=a&timestamp=1767225600123&nonce=48213&signature=6E0C16B78D2E327E60F71B619CE2534C38F560DA", 401)
	listen.line("signature wrong, answered 401")
	listen.line("in capitals")
	if err := listen.stop(); err != nil {
		t.Errorf("ended with %v", err)
	}

	lines := start(t, "webhook", "listen", "--addr", "127.0.0.1:0", "--format", "rongcloud", "--json", "--fail-rate", "1")
	var began struct{ Listening string }
	if err := json.Unmarshal([]byte(lines.line("listening")), &began); err != nil {
		t.Fatal(err)
	}
	at = began.Listening
	post("", 401)
	var got struct{ Signature, Problem string }
	if err := json.Unmarshal([]byte(lines.line("signature")), &got); err != nil || got.Signature != "wrong" || !strings.Contains(got.Problem, "missing") {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWebhookListenRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"format":  {[]string{"--format", "xml"}, "native"},
		"answer":  {[]string{"--answer", "99"}, "no HTTP status"},
		"rate":    {[]string{"--fail-rate", "2"}, "between 0 and 1"},
		"secret":  {[]string{"--secret", "hunter2"}, "begins with whsec_"},
		"address": {[]string{"--addr", "192.0.2.1:1"}, "192.0.2.1:1"},
	} {
		if _, stderr, err := once(t, append([]string{"webhook", "listen"}, test.args...)...); err == nil || !strings.Contains(stderr, test.want) || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: %v, %q; want %q", name, err, stderr, test.want)
		}
	}
	out, _, err := once(t, "webhook", "listen", "--help")
	if err != nil || !strings.Contains(out, "Example") {
		t.Errorf("--help: %v, %s", err, out)
	}
}

// TestResendThatFails: a script sees by the exit code that letters stay dead.
func TestResendThatFails(t *testing.T) {
	t.Parallel()
	answer := `{"sent":1,"failed":2,"older":["7"],"errors":{"status 503":2}}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	out, errs, err := once(t, "webhook", "resend", "main", "--all", "--http", srv.URL)
	if err == nil || !strings.Contains(out, "1 sent, 2 failed\n  2 times: status 503\nnot sent, as older") || !strings.Contains(errs, "still a dead letter") {
		t.Errorf("got %q, %q, %v; want what failed and an error", out, errs, err)
	}
}

// TestWebhookCommands sees a node tell a receiver, and what the commands say of it.
func TestWebhookCommands(t *testing.T) {
	t.Parallel()
	listen := start(t, "webhook", "listen", "--addr", "127.0.0.1:0")
	hook := strings.TrimSuffix(strings.Fields(listen.line("webhooks of format native at ", "porchlight dev"))[5], ",")
	dev := start(t, "dev", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--webhook", hook)
	at := "http://" + strings.Fields(dev.line("http  "))[1]
	dev.line(`webhook "dev" tells `+hook, "format native", config.DevelopmentWebhookSecret)
	b, err := client.NewBackend(client.BackendConfig{URL: at, Key: config.DevelopmentServerKey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutPresence(t.Context(), "bob", client.ServerPresence{TTL: time.Minute, Device: client.Device{Platform: "desk"}}); err != nil {
		t.Fatal(err)
	}
	listen.line("1 event, signature good, answered 200")
	listen.line("bob", "opened", "#1", "desk", "now available")
	says := func(args []string, wants ...string) string {
		t.Helper()
		out, errs, err := once(t, append(args, "--http", at)...)
		if err != nil {
			t.Errorf("%v: %v, %s", args, err, errs)
		}
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%v: got %q (%s), want %q", args, out, errs, want)
			}
		}
		return out
	}
	for end := time.Now().Add(limit); !strings.Contains(says([]string{"webhook", "list"}, "NAME", "dev   native"), "live   none  0        1"); {
		if time.Now().After(end) {
			t.Fatal("never told as delivered")
		}
	}
	says([]string{"webhook", "list", "--json"}, `"name":"dev"`, `"delivered":1`)
	says([]string{"webhook", "show", "dev", "--dead"}, "dev, format native, to "+strings.TrimSuffix(hook, "/"), "dead letters  0", "1 events delivered")
	says([]string{"webhook", "replay", "dev", "--since", "1h"}, "done, 1 events delivered")
	listen.line("1 event, signature good, replay rp_", "answered 200")
	listen.line("bob", "<- repeat")
	var r client.Replay
	if err := json.Unmarshal([]byte(says([]string{"webhook", "replay", "dev", "--position", "0", "--json"})), &r); err != nil || r.Doing != "done" || r.Events != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	says([]string{"webhook", "replay", "dev", "--time", "2026-01-01T00:00:00Z", "--detach"}, "replay rp_")
	says([]string{"webhook", "cancel", "dev", r.ID}, r.ID+" done")
	says([]string{"webhook", "resend", "dev", "--all"}, "0 sent, 0 failed")
	says([]string{"webhook", "resend", "dev", "--all", "--json"}, `"sent":0`)
	says([]string{"changes"}, "bob", "opened", "#1", "on desk", "now online")
	says([]string{"changes", "--json"}, `"user":"bob"`, `"event_id"`)
	says([]string{"snapshot"}, "bob", "online", "on desk")
	says([]string{"snapshot", "--json", "--online"}, `"user":"bob"`, `"available":true`)
	says([]string{"history", "bob"}, "opened", "#1")
	says([]string{"history", "bob", "--json", "--limit", "1"}, `"kind":"opened"`)
	says([]string{"history", "nobody"}, "nothing is known of nobody")
	follow := start(t, "changes", "--follow", "--http", at)
	follow.line("bob", "opened")
	if _, err := b.RemovePresence(t.Context(), "bob", ""); err != nil {
		t.Fatal(err)
	}
	follow.line("bob", "closed", "#2", "now offline")
	if err := follow.stop(); err != nil {
		t.Errorf("changes --follow ended with %v", err)
	}
	listen.line("bob", "closed", "#2")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no such webhook":   {[]string{"webhook", "show", "nope"}, "WEBHOOK_UNKNOWN"},
		"nowhere to begin":  {[]string{"webhook", "replay", "dev"}, "--since"},
		"two beginnings":    {[]string{"webhook", "replay", "dev", "--since", "1h", "--position", "1"}, "one of"},
		"no time":           {[]string{"webhook", "replay", "dev", "--time", "noon"}, "2026-05-04T09:00:00Z"},
		"in the future":     {[]string{"webhook", "replay", "dev", "--since=-1h"}, "future"},
		"no position":       {[]string{"webhook", "replay", "dev", "--position", "x"}, "FIELD_INVALID"},
		"no letters":        {[]string{"webhook", "resend", "dev"}, "--all"},
		"letters and all":   {[]string{"webhook", "resend", "dev", "1", "--all"}, "--all"},
		"no such letter":    {[]string{"webhook", "resend", "dev", "99"}, "FIELD_INVALID"},
		"no such replay":    {[]string{"webhook", "cancel", "dev", "rp_x"}, "REPLAY_UNKNOWN"},
		"no such position":  {[]string{"changes", "--after", "99999"}, "behind the end of the log"},
		"no such snapshot":  {[]string{"snapshot", "--at", "x"}, "FIELD_INVALID"},
		"a history of none": {[]string{"history", "bob", "--limit", "0"}, "1 or more"},
	} {
		if _, stderr, err := once(t, append(test.args, "--http", at)...); err == nil || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: %v, %q; want %q", name, err, stderr, test.want)
		}
	}
	if _, stderr, err := once(t, "dev", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--webhook", "nonsense"); err == nil || !strings.Contains(stderr, "PORCHLIGHT_APPS_DEMO_WEBHOOKS_DEV_URL") || !strings.Contains(stderr, "is not a URL") {
		t.Errorf("a webhook that is none: %v, %q", err, stderr)
	}
}
