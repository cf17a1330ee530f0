package httpsource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "a secret for tests that is long enough"

func alice() presence.User { return presence.User{App: "demo", ID: "alice"} }

// source asks a backend on this machine that answers so.
func source(t *testing.T, cfg Config, answer http.HandlerFunc) *Source {
	t.Helper()
	backend := httptest.NewServer(answer)
	t.Cleanup(backend.Close)
	cfg.URL, cfg.Secret, cfg.AllowPrivate = backend.URL+"/friends?tenant=7", secret, true
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// text answers with a status and a body.
func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestAsks(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	s := source(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.RequestURI() != "/friends?tenant=7" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s %s of %s, want a POST of JSON to the address", r.Method, r.URL, r.Header.Get("Content-Type"))
		}
		if want := `{"type":"friends.list","app":"demo","user":"alice"}`; string(body) != want {
			t.Errorf("got body %s, want %s", body, want)
		}
		var at int64
		_, _ = fmt.Sscan(r.Header.Get("Webhook-Timestamp"), &at)
		if age := time.Since(time.Unix(at, 0)); age < -time.Minute || age > time.Minute {
			t.Errorf("got a timestamp %v old, want now", age)
		}
		id := r.Header.Get("Webhook-Id")
		if id == "" || ids[id] {
			t.Errorf("got id %q, want a new one", id)
		}
		ids[id] = true
		s, _ := New(Config{URL: "x", Secret: secret})
		if want := s.sign(id, time.Unix(at, 0), body).Get("Webhook-Signature"); r.Header.Get("Webhook-Signature") != want {
			t.Errorf("got signature %q, want %q", r.Header.Get("Webhook-Signature"), want)
		}
		_, _ = io.WriteString(w, `{"friends": ["bob", "carol"], "more": "is ignored"}`)
	})
	for range 2 {
		got, err := s.Friends(context.Background(), alice())
		if err != nil || !slices.Equal(got, []presence.UserID{"bob", "carol"}) {
			t.Errorf("got %v, %v, want bob and carol", got, err)
		}
	}
}

// pages answers with so many pages of size friends each.
func pages(count, size int, calls *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var q question
		_ = json.NewDecoder(r.Body).Decode(&q)
		n := 0
		_, _ = fmt.Sscanf(q.Next, "page %d", &n)
		answer := map[string]any{}
		ids := make([]string, size)
		for i := range ids {
			ids[i] = fmt.Sprint("friend ", n*size+i)
		}
		if answer["friends"] = ids; n+1 < count {
			answer["next"] = fmt.Sprint("page ", n+1)
		}
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func TestReadsPages(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	got, err := source(t, Config{}, pages(4, 250, &calls)).Friends(context.Background(), alice())
	if err != nil || len(got) != 1000 || got[999] != "friend 999" || calls.Load() != 4 {
		t.Errorf("4 pages: got %d friends, %v in %d calls, want 1,000 in 4", len(got), err, calls.Load())
	}
	calls.Store(0)
	got, err = source(t, Config{Most: 300}, pages(1000, 250, &calls)).Friends(context.Background(), alice())
	if err != nil || len(got) <= 300 || calls.Load() != 2 {
		t.Errorf("more than are of interest: got %d friends, %v in %d calls, want more than 300 in 2", len(got), err, calls.Load())
	}
}

func TestTakesALargeList(t *testing.T) {
	t.Parallel()
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("%0128d", i)
	}
	body, _ := json.Marshal(map[string]any{"friends": ids})
	got, err := source(t, Config{Timeout: time.Minute}, text(200, string(body))).Friends(context.Background(), alice())
	if err != nil || len(got) != len(ids) {
		t.Errorf("got %d friends, %v, want 10,000", len(got), err)
	}
}

// TestTakesNoOtherForAList: what is not certainly a list is an error, which
// says what is wrong and repeats nothing of the answer.
func TestTakesNoOtherForAList(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"down":                  {text(503, "marked"), "status 503"},
		"not found":             {text(404, `{"friends": []}`), "status 404"},
		"no content":            {text(204, ""), "status 204"},
		"a redirect":            {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/marked", 307) }, "status 307"},
		"nothing":               {text(200, ""), "not JSON"},
		"a page":                {text(200, "<html>marked</html>"), "not JSON"},
		"cut":                   {text(200, `{"friends": ["bob"`), "not JSON"},
		"more after it":         {text(200, `{"friends": []} marked`), "not JSON"},
		"another shape":         {text(200, `["marked"]`), "another type"},
		"friends of numbers":    {text(200, `{"friends": [1]}`), "another type"},
		"no friends":            {text(200, `{"error": "marked"}`), `no "friends"`},
		"friends of null":       {text(200, `{"friends": null}`), `no "friends"`},
		"a null among them":     {text(200, `{"friends": ["bob", null]}`), "friends[1]"},
		"an empty id":           {text(200, `{"friends": [""]}`), "friends[0]"},
		"a long id":             {text(200, `{"friends": ["`+strings.Repeat("x", 129)+`"]}`), "friends[0]"},
		"a control character":   {text(200, `{"friends": ["marked\n"]}`), "friends[0]"},
		"not UTF-8":             {text(200, "{\"friends\": [\"\xff\"]}"), "UTF-8"},
		"a long token":          {text(200, `{"friends": ["bob"], "next": "`+strings.Repeat("x", 1025)+`"}`), "1024"},
		"an empty page of many": {text(200, `{"friends": [], "next": "on"}`), "page without friends"},
		"the same page":         {pages(1<<30, 1, &calls), ""}, // ends by count
		"too large":             {text(200, `{"friends": ["`+strings.Repeat("x", maxAnswer)+`"]}`), "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := source(t, Config{Timeout: time.Minute, Most: 20}, c.answer).Friends(context.Background(), alice())
			if c.want == "" {
				if err != nil || len(got) != 21 {
					t.Errorf("got %d friends, %v, want it cut at 21", len(got), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "marked") || strings.Contains(err.Error(), "tenant") {
				t.Errorf("got %v, %v, want an error with %q and nothing of the answer or the address", got, err, c.want)
			}
		})
	}
}

func TestASlowBackendEnds(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	more := pages(1000, 1, &calls)
	s := source(t, Config{Timeout: 100 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if calls.Load() < 3 {
			more(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	// The time is for the whole list: each page alone would be in time.
	if _, err := s.Friends(context.Background(), alice()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
}

func TestAsksNoPrivateAddress(t *testing.T) {
	t.Parallel()
	s, err := New(Config{URL: "http://127.0.0.1:1/", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Friends(context.Background(), alice()); !errors.Is(err, outbound.ErrAddress) {
		t.Errorf("got %v, want ErrAddress", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"no URL": {Secret: secret}, "no secret": {URL: "https://x"}, "a secret that is none": {URL: "https://x", Secret: "whsec_!!marked"},
		"an empty secret": {URL: "https://x", Secret: "whsec_"},
	} {
		if _, err := New(cfg); err == nil || strings.Contains(err.Error(), "marked") {
			t.Errorf("%s: got %v, want an error without the secret", name, err)
		}
	}
	s, err := New(Config{URL: "https://x", Secret: "whsec_aGVsbG8="})
	if err != nil || string(s.key) != "hello" {
		t.Errorf("a secret of Standard Webhooks: got %q, %v, want it decoded", s.key, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, s); strings.Contains(got, "hello") || strings.Contains(got, "104 101") {
			t.Errorf("%s: got %q, want it without the key", verb, got)
		}
	}
}

func TestShowsNoSecret(t *testing.T) {
	t.Parallel()
	cfg := Config{URL: "https://backend.example/?token=" + secret, Secret: secret}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "config", cfg, "source", s)
	for _, text := range []string{
		log.String(), fmt.Sprintf("%v %+v %#v %s %d %x", cfg, cfg, cfg, cfg, cfg, cfg), fmt.Sprintf("%v %+v %#v %s %d %x", s, s, s, s, s, s),
	} {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) || strings.Contains(text, strings.Trim(fmt.Sprint([]byte(secret)), "[]")) {
			t.Errorf("the secret shows in %s", text)
		}
	}
}

// TestTheDocumentsExample: the page's example is what is sent and understood.
func TestTheDocumentsExample(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/interfaces/friends-source.md")
	if err != nil {
		t.Fatal(err)
	}
	find := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindSubmatch(doc)
		if m == nil {
			t.Fatalf("the page has nothing like %s", pattern)
		}
		return string(m[1])
	}
	var at int64
	_, _ = fmt.Sscan(find(`(?m)^webhook-timestamp: (\d+)$`), &at)
	s, err := New(Config{URL: "https://x", Secret: find("signed with the secret `([^`]+)`")})
	if err != nil {
		t.Fatal(err)
	}
	body := find(`(?m)^(\{"type":.*\})$`)
	if want, _ := json.Marshal(question{Type: requestType, App: "demo", User: "alice"}); body != string(want) {
		t.Errorf("the page's request is %s, and %s is sent", body, want)
	}
	got := find(`(?m)^webhook-signature: (v1,\S+)$`)
	if want := s.sign(find(`(?m)^webhook-id: (\S+)$`), time.Unix(at, 0), []byte(body)).Get("Webhook-Signature"); got != want {
		t.Errorf("the page's signature is %s, and %s is sent", got, want)
	}
	for answer, want := range map[string]page{
		find(`(?m)^(\{"friends":.*\]\})$`):        {[]presence.UserID{"bob", "carol"}, ""},
		find(`(?m)^(\{"friends":.*"next":.*\})$`): {[]presence.UserID{"bob", "carol"}, "2"},
	} {
		if p, err := parsePage([]byte(answer)); err != nil || !slices.Equal(p.friends, want.friends) || p.next != want.next {
			t.Errorf("the page's answer %s: got %v, %v, want %v", answer, p, err, want)
		}
	}
}

func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"friends": ["bob", "carol"], "next": "2"}`))
	f.Add([]byte(`{"friends": null}`))
	f.Add([]byte(`{"friends": ["\ud800"]}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(b)
		if err != nil {
			return
		}
		for _, id := range p.friends {
			if !presence.ValidUserID(string(id)) {
				t.Errorf("got the id %q, want none that is not valid", id)
			}
		}
		again, err := json.Marshal(map[string]any{"friends": p.friends, "next": p.next})
		if err != nil {
			t.Fatal(err)
		}
		if same, err := parsePage(again); len(p.next) <= maxNext && (err != nil || !slices.Equal(same.friends, p.friends)) && p.friends != nil {
			t.Errorf("written again as %s: got %v, %v, want %v", again, same, err, p)
		}
	})
}
