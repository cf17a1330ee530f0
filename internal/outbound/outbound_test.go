package outbound_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a backend on this machine, and how often it was called.
func server(t *testing.T, answer http.HandlerFunc) (url string, calls *atomic.Int32) {
	t.Helper()
	calls = &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, calls
}

func client(t *testing.T, cfg outbound.Config) *outbound.Client {
	t.Helper()
	c := outbound.New(cfg)
	t.Cleanup(c.Close)
	return c
}

func TestPost(t *testing.T) {
	t.Parallel()
	url, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Got", r.Method+" "+r.Header.Get("X-Sent"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(append([]byte("got "), body...))
	})
	header := http.Header{"X-Sent": {"a header"}}
	a, err := client(t, outbound.Config{AllowPrivate: true}).Post(context.Background(), url, header, []byte("a body"))
	if err != nil || a.Status != http.StatusTeapot || string(a.Body) != "got a body" || a.Header.Get("X-Got") != "POST a header" {
		t.Errorf("got %d %q %q, %v, want the server's answer", a.Status, a.Body, a.Header.Get("X-Got"), err)
	}
}

// TestRefusesPrivateAddresses: whatever is written, what is dialled counts.
func TestRefusesPrivateAddresses(t *testing.T) {
	t.Parallel()
	url, calls := server(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	strict := client(t, outbound.Config{})
	lenient := client(t, outbound.Config{AllowPrivate: true})
	for _, c := range []struct {
		host    string
		allowed bool // with AllowPrivate; nobody need answer
	}{
		{"127.0.0.1:" + port, true},
		{"localhost:" + port, true},
		{"127.1.2.3:" + port, true},
		{"[::1]:1", true},
		{"[::ffff:127.0.0.1]:" + port, true},
		{"0.0.0.0:" + port, false},
		{"[::]:" + port, false},
		{"169.254.169.254", false},
		{"[fe80::1]:80", false},
		{"224.0.0.1:80", false},
		{"255.255.255.255:80", false},
		{"[64:ff9b::7f00:1]:80", false},
		{"192.0.2.1:80", false},
		{"[fd00:ec2::254]:80", false},
		{"[fd20:ce::254]:80", false},
		{"100.100.100.200:80", false},
	} {
		_, err := strict.Post(context.Background(), "http://"+c.host+"/", nil, nil)
		if !errors.Is(err, outbound.ErrAddress) {
			t.Errorf("%s: got %v, want ErrAddress", c.host, err)
		}
		if _, err = lenient.Post(context.Background(), "http://"+c.host+"/", nil, nil); errors.Is(err, outbound.ErrAddress) == c.allowed {
			t.Errorf("%s with private addresses allowed: got %v, want allowed %v", c.host, err, c.allowed)
		}
	}
	if n := calls.Load(); n > 4 {
		t.Errorf("the server was called %d times, want only the allowed calls", n)
	}
	for _, host := range []string{"10.1.2.3:80", "192.168.1.1:80", "172.16.0.1:80", "100.64.0.1:80", "[fd00::1]:80"} {
		if _, err := strict.Post(context.Background(), "http://"+host, nil, nil); !errors.Is(err, outbound.ErrAddress) {
			t.Errorf("%s: got %v, want ErrAddress", host, err)
		}
	}
}

func TestFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	other, calls := server(t, func(http.ResponseWriter, *http.Request) {})
	url, _ := server(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other, http.StatusTemporaryRedirect) })
	a, err := client(t, outbound.Config{AllowPrivate: true}).Post(context.Background(), url, nil, []byte("x"))
	if err != nil || a.Status != http.StatusTemporaryRedirect || calls.Load() != 0 {
		t.Errorf("got status %d, %v and %d calls of the target, want the redirect itself and none", a.Status, err, calls.Load())
	}
}

func TestUsesNoProxy(t *testing.T) {
	proxy, calls := server(t, func(http.ResponseWriter, *http.Request) {})
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy)
	}
	_, err := client(t, outbound.Config{}).Post(context.Background(), "http://10.1.2.3/", nil, nil)
	if !errors.Is(err, outbound.ErrAddress) || calls.Load() != 0 {
		t.Errorf("got %v and %d calls of the proxy, want ErrAddress and none", err, calls.Load())
	}
}

func TestBoundsTheAnswer(t *testing.T) {
	t.Parallel()
	url, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			_, _ = w.Write(make([]byte, 100))
			w.(http.Flusher).Flush()
		}
	})
	for most, want := range map[int64]error{9999: outbound.ErrTooLarge, 10000: nil} {
		a, err := client(t, outbound.Config{AllowPrivate: true, MaxAnswer: most}).Post(context.Background(), url, nil, nil)
		if !errors.Is(err, want) || want == nil && len(a.Body) != 10000 {
			t.Errorf("10,000 bytes with room for %d: got %d, %v, want %v", most, len(a.Body), err, want)
		}
	}
}

func TestBoundsTheTime(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]bool{"no answer": false, "an answer that does not end": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // from then on the server notices who leaves
				if begin {
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			})
			_, err := client(t, outbound.Config{AllowPrivate: true, Timeout: 50 * time.Millisecond}).Post(context.Background(), url, nil, nil)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("beyond the time: got %v, want DeadlineExceeded", err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err = client(t, outbound.Config{AllowPrivate: true}).Post(ctx, url, nil, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("called off: got %v, want Canceled", err)
			}
		})
	}
}

// TestErrorsKeepSecrets: an address may hold a password or a key.
func TestErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	c := client(t, outbound.Config{})
	for _, url := range []string{
		"http://user:hidden@127.0.0.1:1/hidden?key=hidden", "https://no-such-host.invalid/hidden?key=hidden",
		"://hidden", "http://127.0.0.1:hidden/", "hidden", "http://[hidden", "gopher://127.0.0.1/hidden",
	} {
		_, err := c.Post(context.Background(), url, http.Header{"Authorization": {"hidden"}}, []byte("hidden"))
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: got %v, want an error without what is hidden", url, err)
		}
	}
}

// TestCheckHost: what a client would refuse to dial is known before.
func TestCheckHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]struct{ strict, private bool }{
		"backend.example": {true, true}, "": {true, true}, "8.8.8.8": {true, true}, "2606:4700::1111": {true, true},
		"127.0.0.1": {false, true}, "::1": {false, true}, "::ffff:10.1.2.3": {false, true}, "localhost": {false, true}, "a.LOCALHOST.": {false, true},
		"192.168.0.1": {false, true}, "fd00::1": {false, true}, "100.64.0.1": {false, true},
		"169.254.169.254": {false, false}, "fe80::1": {false, false}, "fd00:ec2::254": {false, false}, "100.100.100.200": {false, false}, "0.0.0.0": {false, false}, "224.0.0.1": {false, false},
	} {
		for private, good := range map[bool]bool{false: want.strict, true: want.private} {
			if err := outbound.CheckHost(host, private); (err == nil) != good || err != nil && !errors.Is(err, outbound.ErrAddress) {
				t.Errorf("%q, private %v: got %v, want it good: %v", host, private, err, good)
			}
		}
	}
}
