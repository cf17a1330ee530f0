package native

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

const (
	older = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newer = "a secret as text, long enough"
)

func format(t *testing.T, cfg Config) *Format {
	t.Helper()
	if cfg.Secrets == nil {
		cfg.Secrets = []string{older}
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// changes are one of each kind, with all that a change can have.
func changes() []webhook.Event {
	at := presence.At(time.Date(2026, 1, 1, 0, 0, 0, 123e6, time.UTC))
	session := presence.FoldedSession{
		Public: presence.PublicID{1, 2, 3}, OpenedAt: at, Phase: presence.FoldOpen,
		Device: presence.Device{Platform: "ios", Product: "chat", Locale: "en-US", ID: "phone-1", Version: "17.2", Addr: "192.0.2.7:41748", Door: "live"},
		Status: &presence.Status{
			Show: presence.Away,
			Text: presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{
				Token: "lunch", Fallback: "at lunch",
				Args: []presence.Property{{Key: "until", Value: presence.Value{Kind: presence.KindText, Text: "13:00"}}},
			}},
			Properties: []presence.Property{
				{Key: "level", Value: presence.Value{Kind: presence.KindInteger, Integer: 7}},
				{Key: "load", Value: presence.Value{Kind: presence.KindNumber, Number: 0.5}},
				{Key: "vip", Value: presence.Value{Kind: presence.KindFlag, Flag: true}},
			},
		},
	}
	closed := session
	closed.Phase, closed.Hidden, closed.Status = presence.FoldClosed, true, nil
	alice := presence.User{App: "demo", ID: "alice <&>"}
	return []webhook.Event{
		{
			Position: webhook.Position{Sequence: 17, Index: 3, Ordinal: 1}, ID: "id-1",
			Fact: presence.Fact{
				Kind: presence.RecordOpened, Seq: 1, User: alice, Session: session, Reason: presence.ReasonOpened, Time: at,
				After: true, ShownAfter: true, First: true, Replaces: []presence.PublicID{{9}},
			},
		},
		{
			Position: webhook.Position{Sequence: 18}, ID: "id-2",
			Fact: presence.Fact{
				Kind: presence.RecordClosed, Seq: 2, User: alice, Session: closed, Reason: presence.ReasonLinkLost, Time: at + 1000,
				Before: true, First: true, LastSeen: at + 900, Shown: at,
			},
		},
		{
			Position: webhook.Position{Sequence: 19}, ID: "id-3",
			Fact: presence.Fact{Kind: presence.RecordErased, Seq: 3, User: alice, Time: at + 2000},
		},
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]*webhook.Delivery{
		"changes": {App: "demo", Endpoint: "main", ID: "msg_1", Events: changes()},
		"replay":  {App: "demo", Endpoint: "main", ID: "msg_2", Events: changes()[2:], Replay: "rp_1"},
		"resent":  {App: "demo", Endpoint: "main", ID: "msg_3", Events: changes()[2:], Resent: true},
		"gap": {App: "demo", Endpoint: "main", ID: "msg_4", Gap: &webhook.Gap{
			From: webhook.Position{Sequence: 17, Index: 3, Ordinal: 1}, To: webhook.Position{Sequence: 99, Index: 1<<32 - 1, Ordinal: 1<<32 - 1}, Time: 1767225600123,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, err := format(t, Config{}).Request(d, webhook.Attempt{Number: 1, Time: time.Now(), URL: "https://x/hook"})
			if err != nil || q.URL != "https://x/hook" || q.Header.Get("Content-Type") != "application/json" || q.Header.Get("Webhook-Id") != d.ID {
				t.Errorf("got %+v, %v, want JSON to the address with the delivery's id", q, err)
			}
			file := "testdata/" + name + ".json"
			if os.Getenv("REWRITE") != "" {
				if err := os.WriteFile(file, append(q.Body, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(string(want)), string(q.Body)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
			var back Body
			if err := json.Unmarshal(q.Body, &back); err != nil || len(back.Events) != len(d.Events) {
				t.Errorf("got %v, %v, want it to be read again", back, err)
			}
		})
	}
}

// TestVerifies: other people's verifier takes what is sent, with any of the
// secrets, and nothing that was touched.
func TestVerifies(t *testing.T) {
	t.Parallel()
	n := format(t, Config{Secrets: []string{newer, older}})
	d := &webhook.Delivery{App: "demo", Endpoint: "main", ID: "msg_1", Events: changes()}
	now := time.Now()
	q, err := n.Request(d, webhook.Attempt{Number: 1, Time: now, URL: "https://x"})
	if err != nil {
		t.Fatal(err)
	}
	byText, _ := standardwebhooks.NewWebhookRaw([]byte(newer))
	byCode, err := standardwebhooks.NewWebhook(older)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*standardwebhooks.Webhook{"text": byText, "base64": byCode} {
		if err := v.Verify(q.Body, q.Header); err != nil {
			t.Errorf("%s: got %v, want it verified", name, err)
		}
		if err := v.Verify(append(q.Body[:len(q.Body):len(q.Body)], ' '), q.Header); err == nil {
			t.Errorf("%s: a body that was touched was verified", name)
		}
	}
	stranger, _ := standardwebhooks.NewWebhookRaw([]byte("another secret of some length"))
	if err := stranger.Verify(q.Body, q.Header); err == nil {
		t.Error("a secret that did not sign was taken")
	}
	again, _ := n.Request(d, webhook.Attempt{Number: 2, Time: now.Add(time.Hour), URL: "https://x"})
	if string(again.Body) != string(q.Body) || again.Header.Get("Webhook-Id") != q.Header.Get("Webhook-Id") || again.Header.Get("Webhook-Signature") == q.Header.Get("Webhook-Signature") {
		t.Error("the second attempt has another body or id, or the same signature")
	}
}

// TestPublishedExample is the example of the Standard Webhooks specification.
func TestPublishedExample(t *testing.T) {
	t.Parallel()
	s, err := NewSigner([]string{older})
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	s.Sign(h, Message{ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Time: time.Unix(1614265330, 0), Body: []byte(`{"test": 2432232314}`)})
	if got, want := h.Get("Webhook-Signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for status := 100; status < 600; status++ {
		want := webhook.Failed
		switch {
		case status >= 200 && status < 300:
			want = webhook.Delivered
		case status == 410:
			want = webhook.Gone
		}
		if got := Judge(outbound.Answer{Status: status}, now); got.Outcome != want || strings.Contains(got.Detail, fmt.Sprint(status)) == (want == webhook.Delivered) {
			t.Errorf("status %d: got %+v, want outcome %d", status, got, want)
		}
	}
	for after, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-1": 0, "x": 0, "99999999999999999999": 0, "1.5": 0,
		"Thu, 01 Jan 2026 00:01:00 GMT": time.Minute, "Thu, 01 Jan 2025 00:01:00 GMT": 0,
	} {
		if got := Judge(outbound.Answer{Status: 503, Header: http.Header{"Retry-After": {after}}}, now); got.RetryAfter != want {
			t.Errorf("Retry-After %q: got %v, want %v", after, got.RetryAfter, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Wed, 21 Oct 2026 07:28:00 GMT")
	f.Fuzz(func(t *testing.T, s string) {
		if got := retryAfter(s, time.Unix(1767225600, 0)); got < 0 {
			t.Errorf("%q: got %v, want no negative pause", s, got)
		}
	})
}

func TestWants(t *testing.T) {
	t.Parallel()
	custom := &webhook.Event{Fact: presence.Fact{Kind: presence.RecordCustom}}
	if format(t, Config{}).Wants(custom) || !format(t, Config{IncludeCustom: true}).Wants(custom) {
		t.Error("custom changes come without being asked for, or not although they are")
	}
	for _, kind := range []presence.RecordKind{presence.RecordOpened, presence.RecordClosed, presence.RecordHidden, presence.RecordShown, presence.RecordErased} {
		if !format(t, Config{}).Wants(&webhook.Event{Fact: presence.Fact{Kind: kind}}) {
			t.Errorf("%s does not come", kind)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string][]string{
		"none": nil, "empty": {""}, "short": {"marked"}, "not base64": {"whsec_marked!!"}, "short base64": {"whsec_bWFya2Vk"}, "the second": {older, "marked"},
	} {
		if _, err := New(Config{Secrets: secrets}); err == nil || strings.Contains(err.Error(), "marked") {
			t.Errorf("%s: got %v, want an error without the secret", name, err)
		}
	}
	cfg := Config{Secrets: []string{newer}}
	n := format(t, cfg)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "config", cfg, "format", n, "signer", n.signer)
	all := log.String() + fmt.Sprintf("%v %+v %#v %s %d %x", cfg, cfg, cfg, cfg, cfg, cfg) + fmt.Sprintf("%v %+v %#v %s %d %x", n, n, n, n, n, n) + fmt.Sprintf("%+v %d", n.signer, n.signer)
	for _, secret := range []string{newer, fmt.Sprintf("%x", newer), strings.Trim(fmt.Sprint([]byte(newer)), "[]")} {
		if strings.Contains(all, secret) {
			t.Errorf("the secret shows in %s", all)
		}
	}
}

// A presence that a server set has no device id: what tells it apart here is
// not for others, and databases refuse its first character in JSON.
func TestServersPresenceHasNoDeviceID(t *testing.T) {
	t.Parallel()
	s := SessionOf(&presence.FoldedSession{Device: presence.Device{Platform: "desk", ID: presence.ServedDevice + "phone", Door: "rest"}})
	if want := (Device{Platform: "desk", Door: "rest"}); s.Device != want {
		t.Errorf("got %+v, want %+v", s.Device, want)
	}
}

func BenchmarkRequest(b *testing.B) {
	n, err := New(Config{Secrets: []string{older}})
	if err != nil {
		b.Fatal(err)
	}
	d := &webhook.Delivery{App: "demo", Endpoint: "main", ID: "msg_1"}
	for range 33 {
		d.Events = append(d.Events, changes()...)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Request(d, webhook.Attempt{Number: 1, Time: time.Unix(1767225600, 0), URL: "https://x"}); err != nil {
			b.Fatal(err)
		}
	}
}
