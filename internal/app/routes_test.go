package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

// bounded is an answer that notes how long it may be read.
type bounded struct {
	*httptest.ResponseRecorder
	set []time.Time
}

// SetWriteDeadline is for http.ResponseController.
func (b *bounded) SetWriteDeadline(t time.Time) error {
	b.set = append(b.set, t)
	return nil
}

// Who does not read an answer is given up after a while, which begins with the
// answer and not with the call; streams see to that themselves.
func TestAnswersAreReadInTime(t *testing.T) {
	t.Parallel()
	w := &bounded{ResponseRecorder: httptest.NewRecorder()}
	slow := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if len(w.set) > 0 {
			t.Errorf("%s: the time to read began before the answer", r.URL.Path)
		}
		io.WriteString(rw, "an")
		io.WriteString(rw, "swer")
	})
	d := dispatcher{"metrics": {exact: true, to: slow}, "api": {to: slow}, "stream": {to: slow, streams: true}, "both": {to: slow, sockets: true}}
	for path, want := range map[string]int{"/metrics": 1, "/api/v1/users/a": 1, "/nothing": 1, "/stream/x": 0, "/both/page": 1, "/both/socket": 0} {
		w.set = nil
		r := httptest.NewRequest("GET", "http://node"+path, nil)
		if strings.HasSuffix(path, "/socket") {
			r.Header.Set("Upgrade", "websocket")
		}
		d.ServeHTTP(w, r)
		if len(w.set) != want || want > 0 && (time.Until(w.set[0]) > answerLimit || time.Until(w.set[0]) < answerLimit/2) {
			t.Errorf("%s: got write deadlines %v, want %d of %v", path, w.set, want, answerLimit)
		}
	}
}

// pipes is a listener with connections in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A body that does not come holds no connection longer than bodyLimit, also
// where nobody wants one; without a body there is no limit.
func TestBodiesComeInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who are you?", http.StatusUnauthorized) })
		long := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(2 * bodyLimit):
			case <-r.Context().Done():
				t.Error("a call without a body was cut short")
			}
		})
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		srv := &http.Server{Handler: dispatcher{"healthz": {exact: true, to: refuse}, "api": {to: refuse}, "stream": {to: refuse, streams: true}, "long": {to: long}}}
		go srv.Serve(listener)
		defer srv.Close()
		for _, c := range []struct {
			ask  string
			body bool
			code int
			took time.Duration
		}{
			{"PUT /api/v1/users/a/friends", true, 401, bodyLimit},
			{"GET /api/v1/users/a", true, 401, bodyLimit},
			{"GET /api/v1/users/a", false, 401, 0},
			{"POST /stream/call", true, 401, bodyLimit},
			{"POST /healthz", true, 405, bodyLimit},
			{"GET /healthz", true, 401, bodyLimit},
			{"GET /nothing", true, 404, bodyLimit},
			{"GET /long", false, 200, 2 * bodyLimit},
		} {
			peer, conn := net.Pipe()
			listener.conns <- conn
			began := time.Now()
			length := ""
			if c.body {
				length = "Content-Length: 100\r\n"
			}
			fmt.Fprintf(peer, "%s HTTP/1.1\r\nHost: node\r\n%s\r\n", c.ask, length)
			resp, err := http.ReadResponse(bufio.NewReader(peer), nil)
			if err != nil {
				t.Fatalf("%s: %v", c.ask, err)
			}
			if took := time.Since(began); resp.StatusCode != c.code || took != c.took {
				t.Errorf("%s, body %v: got %d after %v, want %d after %v", c.ask, c.body, resp.StatusCode, took, c.code, c.took)
			}
			resp.Body.Close()
			peer.Close()
		}
	})
}
