package isonline

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// What curl may send, and what it is told.
func TestPlainRequests(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		bearer := "Bearer " + n.jwt("alice")
		for _, row := range []struct {
			name, procedure, body string
			header                []string
			code                  int
			says                  string
		}{
			{"a query", "GetUserIsOnline", `{"userId":"bob"}`, nil, 200, "USER_FLAG_OFFLINE"},
			{"names as in the .proto", "GetUserIsOnline", `{"user_id":"bob"}`, nil, 200, "USER_FLAG_OFFLINE"},
			{"with a charset", "GetUserIsOnline", `{"userId":"bob"}`, []string{"Content-Type", "application/json; charset=utf-8"}, 200, "USER_FLAG_OFFLINE"},
			{"a field that is not known", "GetUserIsOnline", `{"userId":"bob","later":1}`, nil, 200, "USER_FLAG_OFFLINE"},
			{"a field of the wrong kind", "GetUserIsOnline", `{"userId":7}`, nil, 400, "invalid_argument"},
			{"no JSON", "GetUserIsOnline", `userId=bob`, nil, 400, "invalid_argument"},
			{"nothing", "GetUserIsOnline", ``, nil, 400, "a request without fields is {}"},
			{"a field out of its bounds", "GetUserIsOnline", `{}`, nil, 400, "FIELD_INVALID"},
			{"no token", "GetUserIsOnline", `{"userId":"bob"}`, []string{"Authorization", ""}, 401, "JWT_INVALID"},
			{"a form", "GetUserIsOnline", `userId=bob`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, ""},
			{"no such call", "NoSuch", `{}`, nil, 404, ""},
			{"a stream without frames", "ConnectToIsOnlineSession", `{}`, nil, 415, ""},
			{"a frame that is cut", "ConnectToIsOnlineSession", "\x00\x00\x00\x00\xff{}", []string{"Content-Type", "application/connect+json"}, 200, "promised 255 bytes"},
		} {
			header := append([]string{"Authorization", bearer}, row.header...)
			resp := n.web().post(t, row.procedure, row.body, header...)
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != row.code || !strings.Contains(string(b), row.says) {
				t.Errorf("%s: got %d %s (%v), want %d with %q", row.name, resp.StatusCode, b, err, row.code, row.says)
			}
		}
		if resp, err := n.web().client(t, false).Get("http://porchlight" + isonlinev1.IsOnlineService_GetUserIsOnline_FullMethodName); err != nil || resp.StatusCode != 405 {
			t.Errorf("GET: got %v, %v; want 405", resp, err)
		} else {
			resp.Body.Close()
		}
	})
}

// A body that does not come holds its connection no longer than bodyLimit.
func TestBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		for _, procedure := range []string{"GetUserIsOnline", "ConnectToIsOnlineSession"} {
			began := time.Now()
			body, never := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://porchlight/isonline.v1.IsOnlineService/"+procedure, body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", map[bool]string{true: "application/json", false: "application/connect+json"}[procedure == "GetUserIsOnline"])
			resp, err := n.web().client(t, false).Do(req)
			if err == nil {
				said, _ := io.ReadAll(resp.Body)
				if !strings.Contains(string(said), "did not arrive within 10s") || strings.Contains(string(said), "i/o timeout") {
					t.Errorf("%s: got %s, want our own words", procedure, said)
				}
				resp.Body.Close()
			}
			never.Close()
			if took := time.Since(began); took < bodyLimit || took > bodyLimit+2*time.Second {
				t.Errorf("%s: it took %v, want %v", procedure, took, bodyLimit)
			}
		}
	})
}

// A call may take longer than a body may: the store gives it ten seconds.
func TestCallsOutliveTheBodyLimit(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		n.speaks = &dialect{json: true}
		alice := n.device("alice").make()
		if got := refusalOf(logHangs(t, n, alice)); got.code != codes.Unavailable || got.reason != "LOG_UNAVAILABLE" {
			t.Errorf("got %v, want LOG_UNAVAILABLE", got)
		}
	})
}

// The headers that calls look at are where they are on the gRPC port.
func TestHeadersAreHeard(t *testing.T) {
	t.Parallel()
	r := &http.Request{Header: http.Header{"Accept-Language": {"da-DK,da;q=0.9"}, "Authorization": {"Bearer a", "Bearer b"}, "Cookie": {"c"}}}
	md, _ := metadata.FromIncomingContext((&exchange{}).context(r.WithContext(t.Context())))
	if want := (metadata.MD{"accept-language": {"da-DK,da;q=0.9"}, "authorization": {"Bearer a", "Bearer b"}}); !reflect.DeepEqual(md, want) {
		t.Errorf("got %v, want %v", md, want)
	}
}

// FuzzPlainRequests sends any body in any content type: it is answered, never
// with an internal error, and an answer in JSON is JSON.
func FuzzPlainRequests(f *testing.F) {
	f.Add("application/json", []byte(`{"userId":"bob","locale":"da","detail":"DETAIL_USER"}`))
	f.Add("application/proto", []byte("\x0a\x03bob"))
	f.Add("application/grpc-web+proto", []byte("\x00\x00\x00\x00\x05\x0a\x03bob"))
	f.Add("application/connect+json", []byte("\x00\x00\x00\x00\x02{}"))
	f.Add("application/grpc-web-text", []byte("AAAAAAUKA2JvYg=="))
	verifier, err := token.NewVerifier([]token.Issuer{token.Development()}, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	door := New(Config{
		Gate: admit.New(admit.Config{Verifier: verifier}), Wheel: wheel.New(nil), ShortestTimeout: time.Minute, LongestTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
	}).Web()
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		for _, procedure := range []string{"GetUserIsOnline", "MakeIsOnlineSession", "ConnectToIsOnlineSession"} {
			req := httptest.NewRequest(http.MethodPost, "/isonline.v1.IsOnlineService/"+procedure, bytes.NewReader(body))
			req.Header.Set("Content-Type", kind)
			w := httptest.NewRecorder()
			door.ServeHTTP(w, req)
			if w.Code >= 500 {
				t.Errorf("%s as %q: %d %s", procedure, kind, w.Code, w.Body)
			}
			if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s as %q: an answer that is no JSON: %s", procedure, kind, w.Body)
			}
		}
	})
}
