package socket

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// talker is a door that sends when it is woken, as much as the peer takes.
type talker struct {
	echo
	body string
}

func (k *talker) Fill(_ *Conn, out *Out) bool {
	for !out.Full() {
		out.Text(func(b []byte) []byte { return append(b, k.body...) })
	}
	return true
}

// bubble runs a test under a fake clock. What it waits for must be made inside.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// within wants a time span, from the limit to a sweep or two later.
func within(t *testing.T, what string, got, limit time.Duration) {
	t.Helper()
	if got < limit || got > limit+2*sweepEvery {
		t.Errorf("%s: got %v, want %v, up to %v more", what, got, limit, 2*sweepEvery)
	}
}

func TestPings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := serve(t, Config{}, newPipes(), Options{Ping: 20 * time.Second}, func(*Conn) Door { return &echo{} })
		p := s.join(t)
		p.limit(time.Hour)
		began := time.Now()
		for range 3 {
			p.expect(aPing, "")
			within(t, "a ping to a silent peer", time.Since(began), 20*time.Second)
			began = time.Now()
		}
		for range 10 { // a peer that says something is not asked
			<-time.After(10 * time.Second)
			p.send(frame(aText, "x")...)
			p.expect(aText, "x")
		}
		began = time.Now()
		p.expect(aPing, "")
		within(t, "a ping after the last word", time.Since(began), 20*time.Second)
	})
}

func TestNoPings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := serve(t, Config{}, newPipes(), Options{Ping: -1}, func(*Conn) Door { return &echo{} })
		p := s.join(t)
		p.limit(time.Hour)
		if first, _, err := p.read(); !isTimeout(err) {
			t.Errorf("got frame %#x, %v; want nothing for an hour", first, err)
		}
	})
}

// A half-open peer ends by Silence; pongs are signs of life.
func TestSilence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ended := make(chan error, 1)
		s := serve(t, Config{}, newPipes(), Options{Ping: 10 * time.Second, Silence: 35 * time.Second}, func(*Conn) Door { return &echo{ended: ended} })
		p := s.join(t)
		p.limit(time.Hour)
		for range 20 {
			p.expect(aPing, "")
			p.send(frame(aPong, "")...)
		}
		began := time.Now()
		go io.Copy(io.Discard, p)
		if why := <-ended; why != ErrSilent {
			t.Errorf("why it ended: got %v, want ErrSilent", why)
		}
		within(t, "the end of a silent peer", time.Since(began), 35*time.Second)
	})
}

// A peer that never reads is cut by the sweep.
func TestWriteLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ended := make(chan error, 1)
		s := serve(t, Config{}, newPipes(), Options{}, func(c *Conn) Door {
			c.Wake()
			return &talker{echo{ended}, "never read"}
		})
		s.join(t)
		began := time.Now()
		if why := <-ended; why != ErrSlow {
			t.Errorf("why it ended: got %v, want ErrSlow", why)
		}
		if took := time.Since(began); took < DefaultWriteLimit || took > DefaultWriteLimit+lookEvery+sweepEvery {
			t.Errorf("a peer that never reads: cut after %v, want %v, up to %v more", took, DefaultWriteLimit, lookEvery+sweepEvery)
		}
	})
}

// A peer that sends a message byte by byte may not do so for ever; one that
// pauses between messages may.
func TestMessageLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := serve(t, Config{}, newPipes(), Options{Ping: -1}, func(*Conn) Door { return &echo{} })
		p := s.join(t)
		p.limit(time.Hour)
		for range 3 {
			p.send(frame(aText, "whole")...)
			p.expect(aText, "whole")
			<-time.After(10 * time.Minute)
		}
		began := time.Now()
		gone := make(chan struct{})
		defer func() { <-gone }()
		go func() {
			defer close(gone)
			for _, b := range frame(aText, string(make([]byte, 1000))) {
				<-time.After(time.Second)
				if _, err := p.Write([]byte{b}); err != nil {
					return
				}
			}
		}()
		p.expectClose(CodePolicy)
		took := time.Since(began)
		if took < DefaultMessageLimit || took > DefaultMessageLimit+lookEvery+sweepEvery {
			t.Errorf("closed after %v, want %v, up to %v more", took, DefaultMessageLimit, lookEvery+sweepEvery)
		}
		p.Close()
	})
}

// Whoever does not answer a close frame is cut.
func TestCloseLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ended := make(chan error, 1)
		s := serve(t, Config{}, newPipes(), Options{}, func(c *Conn) Door {
			c.Close(4410, "the session is gone")
			c.Close(4000, "too late")
			return &echo{ended: ended}
		})
		began := time.Now()
		p := s.join(t)
		if reason := p.expectClose(4410); reason != "the session is gone" {
			t.Errorf("reason: got %q", reason)
		}
		if why, ok := (<-ended).(*CloseError); !ok || why.Code != 4410 || why.Remote {
			t.Errorf("why it ended: got %v, want our own close", why)
		}
		within(t, "the end of a peer that does not answer", time.Since(began), DefaultCloseLimit)
		p.expectEnd()
	})
}

// A peer that does not even read the answer to its handshake takes no place.
func TestHandshakeLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := serve(t, Config{}, newPipes(), Options{}, func(*Conn) Door {
			t.Error("a connection was opened")
			return &echo{}
		})
		raw, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		io.WriteString(raw, handshake)
		<-time.After(DefaultHandshakeLimit + time.Second)
		synctest.Wait()
		if n := s.ports.Open(); n != 0 {
			t.Errorf("%d connections are open, want 0", n)
		}
	})
}

// Stop says 1001 and waits for answers, but not for peers that give none.
func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ended := make(chan error, 2)
		s := serve(t, Config{}, newPipes(), Options{}, func(*Conn) Door { return &echo{ended: ended} })
		good, deaf := s.join(t), s.join(t)
		go func() {
			good.expectClose(CodeGoingAway)
			good.send(frame(aClose, "\x03\xe9")...)
		}()
		began := time.Now()
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != DefaultCloseLimit {
			t.Errorf("Stop took %v, want the time to answer, %v", took, DefaultCloseLimit)
		}
		for range 2 {
			why := <-ended
			if c, ok := why.(*CloseError); !ok || c.Code != CodeGoingAway {
				t.Errorf("why it ended: got %v, want going away", why)
			}
		}
		deaf.Close()
		raw, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		late := &peer{Conn: raw, t: t}
		late.send([]byte(handshake)...)
		buf := make([]byte, 100)
		n, err := raw.Read(buf)
		if err != nil || string(buf[:min(n, 12)]) != "HTTP/1.1 503" {
			t.Errorf("a handshake after Stop: got %.40q, %v; want 503", buf[:n], err)
		}
	})
}

// Wheel time of the last byte is the connection's sign of life.
func TestLastRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var conn *Conn
		s := serve(t, Config{}, newPipes(), Options{Ping: -1}, func(c *Conn) Door {
			conn = c
			return &echo{}
		})
		p := s.join(t)
		p.limit(time.Hour)
		<-time.After(time.Minute)
		p.send(frame(aPong, "")...)
		synctest.Wait()
		<-time.After(time.Minute)
		if ago := s.wheel.Now() - conn.LastRead(); ago < 59*time.Second || ago > 61*time.Second {
			t.Errorf("the last sign of life was %v ago, want 1m0s", ago)
		}
	})
}

// The handshake refuses what it should, in words.
func TestRefusedHandshakes(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		errs := make(chan error, 1)
		s := serve(t, cfg, nil, Options{}, func(*Conn) Door {
			t.Error("a connection was opened")
			return &echo{}
		})
		s.refused = errs
		for _, k := range []struct {
			name   string
			change func(r *http.Request)
			code   int
			err    error
		}{
			{"no upgrade", func(r *http.Request) { r.Header.Del("Upgrade") }, 426, ErrNoHandshake},
			{"POST", func(r *http.Request) { r.Method = "POST" }, 426, ErrNoHandshake},
			{"another origin", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403, ErrOrigin},
			{"an origin that is none", func(r *http.Request) { r.Header.Set("Origin", "%zz") }, 403, ErrOrigin},
			{"an old version", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 426, nil},
			{"no version", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }, 400, nil},
			{"no key", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, 400, nil},
		} {
			r, _ := http.NewRequest("GET", "http://"+s.addr, nil)
			r.Header = http.Header{
				"Upgrade": {"websocket"}, "Connection": {"keep-alive, Upgrade"},
				"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
			}
			k.change(r)
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Errorf("%s: %v", k.name, err)
				continue
			}
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode != k.code || len(body) == 0 {
				t.Errorf("%s: got %s %q, want %d with words", k.name, answer.Status, body, k.code)
			}
			if err := <-errs; err == nil || k.err != nil && !errors.Is(err, k.err) {
				t.Errorf("%s: Upgrade returned %v, want %v", k.name, err, k.err)
			}
		}
	})
}

// Over HTTP/2 the refusal has none of the headers of a connection: clients take
// an answer with them for a broken one, and show nobody its words.
func TestRefusedOverHTTP2(t *testing.T) {
	t.Parallel()
	l := New(Config{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := l.Upgrade(w, r, Options{}, nil); !errors.Is(err, ErrNoHandshake) {
			t.Errorf("Upgrade returned %v, want %v", err, ErrNoHandshake)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	answer, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.ProtoMajor != 2 || answer.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("got %s %s, want HTTP/2 and 426", answer.Proto, answer.Status)
	}
	for _, name := range []string{"Connection", "Upgrade"} {
		if got := answer.Header.Get(name); got != "" {
			t.Errorf("the answer has the header %s: %s", name, got)
		}
	}
	if body, _ := io.ReadAll(answer.Body); !strings.Contains(string(body), "HTTP/1.1") {
		t.Errorf("got %q, want it to say that HTTP/1.1 is needed", body)
	}
}
