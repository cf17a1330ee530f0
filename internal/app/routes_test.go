package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The first segment alone decides, and the whole path reaches who is mounted.
func TestDispatcher(t *testing.T) {
	t.Parallel()
	say := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name+" "+r.URL.Path) })
	}
	d := dispatcher{
		"": {exact: true, to: say("front")}, "healthz": {exact: true, to: say("health")},
		"api": {to: say("api")}, "isonline.v1.IsOnlineService": {to: say("isonline")},
	}
	for _, c := range []struct {
		method, path string
		code         int
		says         string
	}{
		{"GET", "/", 200, "front /"},
		{"GET", "/healthz", 200, "health /healthz"},
		{"HEAD", "/healthz", 200, "health /healthz"},
		{"POST", "/healthz", 405, ""},
		{"GET", "/healthz/", 404, ""},
		{"GET", "/healthz/x", 404, ""},
		{"POST", "/api", 200, "api /api"},
		{"DELETE", "/api/v1/users/a", 200, "api /api/v1/users/a"},
		{"POST", "/isonline.v1.IsOnlineService/GetUserIsOnline", 200, "isonline /isonline.v1.IsOnlineService/GetUserIsOnline"},
		{"GET", "/API/v1", 404, ""},
		{"GET", "//api", 404, ""},
		{"GET", "/nothing", 404, ""},
	} {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(c.method, "http://node"+c.path, nil))
		if w.Code != c.code || c.says != "" && w.Body.String() != c.says {
			t.Errorf("%s %s: got %d %q, want %d %q", c.method, c.path, w.Code, w.Body, c.code, c.says)
		}
	}
}
