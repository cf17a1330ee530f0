package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// The table has every kind, and none by accident.
func TestStatusOfEveryKind(t *testing.T) {
	t.Parallel()
	want := map[fault.Kind]int{
		fault.Internal: 500, fault.KeyInvalid: 401, fault.JWTInvalid: 401, fault.JWTExpired: 401, fault.SessionTokenInvalid: 401,
		fault.SessionTokenNotYours: 403, fault.SessionGone: 404, fault.SessionNotConnected: 409, fault.ReplacedStream: 409,
		fault.ResumeFromFuture: 409, fault.LimitSubscriptions: 409, fault.LimitSessions: 409, fault.LimitFriends: 409,
		fault.FieldInvalid: 422, fault.LimitBatch: 422, fault.RateLimited: 429,
		fault.LogUnavailable: 503, fault.FriendsUnavailable: 503, fault.KeysUnavailable: 503, fault.SlowConsumer: 503, fault.Draining: 503, fault.NodeUnavailable: 503,
	}
	for _, k := range fault.Kinds() {
		if got := statusOf(k); got != want[k] {
			t.Errorf("%v: got %d, want %d (0: say it in the table)", k, got, want[k])
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for name, header := range map[string]string{
		"none": "", "another scheme": "Basic " + secret, "no secret": "Bearer", "empty": "Bearer ", "unknown": "Bearer unknown", "half": "Bearer " + secret[:20],
		"not alone": "Bearer " + secret + " x",
	} {
		r := httptest.NewRequest("GET", "http://node"+Prefix+"/users/alice", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		w := httptest.NewRecorder()
		n.door.ServeHTTP(w, r)
		p := n.problem(w, name, http.StatusUnauthorized, "KEY_INVALID")
		if !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer ") || strings.Contains(p["detail"].(string), "unknown ") {
			t.Errorf("%s: got %v %v", name, w.Header(), p)
		}
	}
	// What there is is not told to who has no key.
	n.problem(n.doAs("", "GET", Prefix+"/nothing", ""), "no key, no path", http.StatusUnauthorized, "KEY_INVALID")
	r := httptest.NewRequest("GET", "http://node"+Prefix+"/users/alice", nil)
	r.Header.Set("Authorization", "bearer "+secret)
	w := httptest.NewRecorder()
	if n.door.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("the scheme in small letters: got %d", w.Code)
	}
	n.door.SetKeys([]Key{{App: "demo", ID: "k2", Secret: "another secret of thirty-two bytes"}})
	n.problem(n.do("GET", "/users/alice", ""), "a key that went", http.StatusUnauthorized, "KEY_INVALID")
	if w := n.doAs("another secret of thirty-two bytes", "GET", Prefix+"/users/alice", ""); w.Code != 200 {
		t.Errorf("a key that came: got %d", w.Code)
	}
}

func TestKeysShowNoSecret(t *testing.T) {
	t.Parallel()
	k := Key{App: "demo", ID: "k1", Secret: secret}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "key", k)
	text := log.String() + fmt.Sprintf("%v %+v %#v %s %q %x", k, &k, k, k, []Key{k}, k)
	if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) || !strings.Contains(text, "k1") {
		t.Errorf("got %s, want the key's id and not its secret", text)
	}
}

func TestRateOfKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		keys := []Key{{App: "demo", ID: "slow", Secret: secret, RequestsPerSecond: 0.5}, {App: "other", ID: "free", Secret: otherSecret}}
		n.door.SetKeys(keys)
		n.ok("GET", "/users/alice", "")
		w := n.do("GET", "/users/alice", "")
		n.problem(w, "too many", http.StatusTooManyRequests, "RATE_LIMITED")
		if got := w.Header().Get("Retry-After"); got != "2" {
			t.Errorf("retry after %s, want 2", got)
		}
		if w := n.doAs(otherSecret, "GET", Prefix+"/users/alice", ""); w.Code != 200 {
			t.Errorf("another key: got %d", w.Code)
		}
		n.door.SetKeys(keys) // does not give new requests
		n.refused("GET", "/users/alice", "", http.StatusTooManyRequests, "RATE_LIMITED")
		<-time.After(2 * time.Second)
		n.ok("GET", "/users/alice", "")
		keys[0].RequestsPerSecond = 100
		n.door.SetKeys(keys)
		for range 100 {
			n.ok("GET", "/users/alice", "")
		}
		n.refused("GET", "/users/alice", "", http.StatusTooManyRequests, "RATE_LIMITED")
	})
}

// The keys of an app share its rate; a request that it refuses takes nothing of
// the key's own.
func TestRateOfApps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		const second = "another server key of the app demo, thirty-two bytes"
		n.door.SetKeys([]Key{
			{App: "demo", ID: "a", Secret: secret, RequestsPerSecond: 3}, {App: "demo", ID: "b", Secret: second}, {App: "other", ID: "c", Secret: otherSecret},
		})
		all := map[presence.AppID]float64{"demo": 2, "other": 0}
		n.door.SetRates(all)
		ask := func(what, key string, want int) {
			t.Helper()
			if w := n.doAs(key, "GET", Prefix+"/users/alice", ""); w.Code != want {
				t.Errorf("%s: got %d, want %d", what, w.Code, want)
			}
		}
		ask("the first", second, 200)
		ask("the second, of another key", secret, 200)
		for range 5 {
			ask("more", secret, http.StatusTooManyRequests)
		}
		ask("another app", otherSecret, 200)
		n.door.SetRates(all) // does not give new requests
		ask("set again", second, http.StatusTooManyRequests)
		n.door.SetRates(nil)
		ask("without a limit, of the key's own three", secret, 200)
		ask("the same", secret, 200)
		ask("one too many", secret, http.StatusTooManyRequests)
	})
}

func TestMethodsAndHeaders(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, c := range []struct{ method, target, allow string }{
		{"POST", "/users/alice", "GET, HEAD"}, {"OPTIONS", "/online", "GET, HEAD"}, {"PATCH", "/users/a/presence", "PUT, DELETE"},
		{"DELETE", "/users/query/presence/x", ""}, {"PUT", "/users/a/sessions", "GET, HEAD, DELETE"},
	} {
		if c.allow == "" {
			n.refused(c.method, c.target, "", http.StatusNotFound, "PATH_UNKNOWN")
			continue
		}
		w := n.do(c.method, c.target, "")
		n.problem(w, c.method+" "+c.target, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
		if got := w.Header().Get("Allow"); !strings.Contains(got, c.allow) {
			t.Errorf("%s %s: allowed are %s, want %s", c.method, c.target, got, c.allow)
		}
	}
	if w := n.do("HEAD", "/users/alice", ""); w.Code != 200 {
		t.Errorf("HEAD: got %d", w.Code)
	}
	w := n.do("GET", "/users/alice", "")
	if n.last().Method != "getUser" || n.last().Code != "OK" {
		t.Errorf("counted as %+v", n.last())
	}
	if w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Cache-Control") != "no-store" || len(w.Header().Get("X-Request-Id")) < 20 {
		t.Errorf("headers: %v", w.Header())
	}
	for id, taken := range map[string]bool{"my-request.1_A": true, "": false, strings.Repeat("x", 65): false, "a b": false, "<script>": false} {
		r := httptest.NewRequest("GET", "http://node"+Prefix+"/nothing", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		r.Header.Set("X-Request-Id", id)
		w := httptest.NewRecorder()
		n.door.ServeHTTP(w, r)
		n.problem(w, id, 404, "PATH_UNKNOWN")
		if got := w.Header().Get("X-Request-Id"); (got == id) != taken || got == "" {
			t.Errorf("id %q: got %q", id, got)
		}
	}
	r := httptest.NewRequest("POST", "http://node"+Prefix+"/users/query", strings.NewReader(`users=a`))
	r.Header.Set("Authorization", "Bearer "+secret)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w = httptest.NewRecorder()
	n.door.ServeHTTP(w, r)
	n.problem(w, "a form", http.StatusUnsupportedMediaType, "BODY_TYPE_UNKNOWN")
}

// What is not for the caller stays in the log.
func TestInternalErrors(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.door.mux.HandleFunc("GET "+Prefix+"/panics", func(http.ResponseWriter, *http.Request) { panic("the words of a panic") })
	p := n.refused("GET", "/panics", "", http.StatusInternalServerError, "INTERNAL")
	r := httptest.NewRequest("GET", "http://node", nil)
	w := httptest.NewRecorder()
	n.door.refuse(w, r, errors.New("the words of an error"))
	if body := w.Body.String() + p["detail"].(string); strings.Contains(body, "the words") || !strings.Contains(n.book.String(), "the words of a panic") || !strings.Contains(n.book.String(), "the words of an error") {
		t.Errorf("told: %s, logged: %s", body, n.book.String())
	}
	if !strings.Contains(n.book.String(), p["request"].(string)) {
		t.Error("the request's id is not in the log")
	}
	n.store.Refuse(io.ErrShortWrite)
	w = n.do("PUT", "/users/alice/presence", `{"ttl":60}`)
	n.problem(w, "while the store refuses", http.StatusServiceUnavailable, "LOG_UNAVAILABLE")
	if w.Header().Get("Retry-After") == "" {
		t.Errorf("no Retry-After in %v", w.Header())
	}
}

// deadlines is an answer that notes until when the request may be read.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

// SetReadDeadline is for http.ResponseController.
func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// A body may take its time to arrive and no longer; the call after it has its own.
func TestBodyDeadline(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	r := httptest.NewRequest("PUT", "http://node"+Prefix+"/users/alice/presence", strings.NewReader(`{"ttl":60}`))
	r.Header.Set("Authorization", "Bearer "+secret)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	n.door.ServeHTTP(w, r)
	if len(w.set) != 2 || time.Until(w.set[0]) < 5*time.Second || time.Until(w.set[0]) > bodyTime || !w.set[1].IsZero() || w.Code != 200 {
		t.Errorf("answered %d, deadlines %v; want one of %v, taken back", w.Code, w.set, bodyTime)
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	w := n.doAs("", "GET", OpenAPIPath, "")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("got %d %v", w.Code, w.Header())
	}
	if w := n.doAs("", "HEAD", OpenAPIPath, ""); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("HEAD: got %d, %d bytes", w.Code, w.Body.Len())
	}
	n.problem(n.doAs("", "POST", OpenAPIPath, ""), "POST", http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	doc := decode(t, w)
	if doc["openapi"] != "3.1.0" {
		t.Errorf("OpenAPI %v", doc["openapi"])
	}
	seen := 0
	for at, ops := range n.door.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{ops.Get, ops.Put, ops.Post, ops.Delete, ops.Patch} {
			if op == nil {
				continue
			}
			seen++
			ok := op.Responses["200"].Content["application/json"]
			if ok == nil { // a stream
				ok = op.Responses["200"].Content[typeLines]
			}
			if op.Summary == "" || op.Description == "" || ok.Example == nil || len(op.Security) == 0 || len(op.Tags) == 0 {
				t.Errorf("%s: something is missing in %+v", at, op)
			}
			for _, code := range []string{"401", "422", "429", "500"} {
				if op.Responses[code] == nil {
					t.Errorf("%s does not say when it answers %s", op.OperationID, code)
				}
			}
			if op.RequestBody != nil && op.RequestBody.Content["application/json"].Example == nil {
				t.Errorf("%s has no example of its body", op.OperationID)
			}
			for _, p := range op.Parameters {
				if p.Description == "" {
					t.Errorf("%s does not say what %s is", op.OperationID, p.Name)
				}
			}
			checkExample(t, n, op.OperationID, ok)
			if op.RequestBody != nil {
				checkExample(t, n, op.OperationID, op.RequestBody.Content["application/json"])
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d operations", seen)
	}
	for name, s := range n.door.api.OpenAPI().Components.Schemas.Map() {
		for field, f := range s.Properties {
			if f.Ref == "" && f.Description == "" && !slices.Contains([]string{"device"}, field) {
				t.Errorf("%s.%s has no description", name, field)
			}
		}
	}
}

// checkExample holds an example against the schema it stands beside.
func checkExample(t *testing.T, n *node, op string, m *huma.MediaType) {
	t.Helper()
	b, err := json.Marshal(m.Example)
	var v any
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Errorf("%s: %v", op, err)
		return
	}
	res := &huma.ValidateResult{}
	huma.Validate(n.door.api.OpenAPI().Components.Schemas, m.Schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, v, res)
	for _, e := range res.Errors {
		t.Errorf("%s: example %s: %v", op, b, e)
	}
}
