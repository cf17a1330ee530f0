package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
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
