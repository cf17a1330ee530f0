package isonline

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
)

// Which pages may call: those of the token's app. The preflight, which has no
// token, lets in those of any app.
func TestOrigins(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		n.gate.SetOrigins(map[presence.AppID][]string{
			"demo": {"https://Demo.example", "http://localhost:5173"}, "other": {"https://other.example"},
		})
		demo, other := "Bearer "+n.jwt("alice"), "Bearer "+n.sign(doortest.OtherIssuer(), "alice", 1e12)
		web := n.door.Web()
		ask := func(method, origin, bearer string) (*httptest.ResponseRecorder, string) {
			r := httptest.NewRequest(method, "http://api.example/isonline.v1.IsOnlineService/GetUserIsOnline", strings.NewReader(`{"userId":"bob"}`))
			r.Header.Set("Content-Type", "application/json")
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			if bearer != "" {
				r.Header.Set("Authorization", bearer)
			}
			if method == http.MethodOptions {
				r.Header.Set("Access-Control-Request-Method", "POST")
				r.Header.Set("Access-Control-Request-Headers", "authorization,connect-protocol-version,content-type")
			}
			w := httptest.NewRecorder()
			web.ServeHTTP(w, r)
			return w, w.Header().Get("Access-Control-Allow-Origin")
		}
		for _, row := range []struct {
			name, method, origin, bearer string
			code                         int
			allowed                      bool
		}{
			{"no page", "POST", "", demo, 200, false},
			{"a page of the app", "POST", "https://demo.example", demo, 200, true},
			{"upper and lower case", "POST", "https://DEMO.example", demo, 200, true},
			{"a page with a port", "POST", "http://localhost:5173", demo, 200, true},
			{"another port", "POST", "http://localhost:5174", demo, 403, false},
			{"another scheme", "POST", "http://demo.example", demo, 403, false},
			{"a host below it", "POST", "https://evil.demo.example", demo, 403, false},
			{"a host that begins like it", "POST", "https://demo.example.evil", demo, 403, false},
			{"a file", "POST", "null", demo, 403, false},
			{"a page of another app", "POST", "https://other.example", demo, 403, false},
			{"that app's page with its token", "POST", "https://other.example", other, 200, true},
			{"the app's page with another's token", "POST", "https://demo.example", other, 403, false},
			{"a bad token, so that the page can read why", "POST", "https://demo.example", "Bearer x", 401, true},
			{"no token", "POST", "https://demo.example", "", 401, true},
			{"no token, and nobody's page", "POST", "https://evil.example", "", 403, false},
			{"a page of this host", "POST", "https://api.example", demo, 200, false},
			{"preflight", "OPTIONS", "https://demo.example", "", 204, true},
			{"preflight of another app", "OPTIONS", "https://other.example", "", 204, true},
			{"preflight of nobody's page", "OPTIONS", "https://evil.example", "", 403, false},
		} {
			w, allowed := ask(row.method, row.origin, row.bearer)
			if w.Code != row.code || (allowed != "") != row.allowed || row.allowed && allowed != row.origin {
				t.Errorf("%s: got %d, allowed %q; want %d, %v\n%s", row.name, w.Code, allowed, row.code, row.allowed, w.Body)
			}
			if w.Header().Get("Vary") != "Origin" {
				t.Errorf("%s: no Vary: Origin, so a cache may mix the answers up", row.name)
			}
			if row.code == 403 && (strings.Contains(w.Body.String(), "USER_FLAG") || !strings.Contains(w.Body.String(), "cors.origins")) {
				t.Errorf("%s: the refusal says %s", row.name, w.Body)
			}
		}
		w, _ := ask("OPTIONS", "https://demo.example", "")
		for _, name := range []string{"authorization", "connect-protocol-version", "content-type", "x-grpc-web", "grpc-timeout", "connect-timeout-ms", "x-user-agent"} {
			if !strings.Contains(strings.ToLower(w.Header().Get("Access-Control-Allow-Headers")), name) {
				t.Errorf("the preflight does not allow %s", name)
			}
		}

		n.gate.SetOrigins(map[presence.AppID][]string{"demo": {"*"}})
		if w, allowed := ask("POST", "https://anything.example", demo); w.Code != 200 || allowed != "https://anything.example" {
			t.Errorf("any origin: got %d, %q", w.Code, allowed)
		}
		if w, _ := ask("POST", "https://anything.example", other); w.Code != 403 {
			t.Errorf("any origin of another app: got %d, want 403", w.Code)
		}
	})
}

// A page that is refused has changed nothing.
func TestRefusedPagesChangeNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		alice := n.onGRPC("alice").make()
		stream := alice.connect(nil)
		resp := n.web().post(t, "CloseIsOnlineSession", `{"sessionToken":"`+alice.tok+`"}`, "Origin", "https://evil.example", "Authorization", "Bearer "+alice.jwt)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("got %d, want 403", resp.StatusCode)
		}
		stream.stands()
	})
}
