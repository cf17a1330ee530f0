package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Frames that break the rules end the connection with the right code, and a
// word that says what was wrong.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	unmasked := []byte{aText, 5, 'h', 'e', 'l', 'l', 'o'}
	huge := []byte{aBinary, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}
	negative := bytes.Clone(huge)
	negative[2] = 0xff
	for _, k := range []struct {
		name   string
		send   []byte
		code   int
		reason string
	}{
		{"not masked", unmasked, CodeProtocol, "not masked"},
		{"a claim of 8 exabytes", huge, CodeTooBig, "too long"},
		{"a negative claim", negative, CodeProtocol, "longer than any"},
		{"one byte over the limit", claim(aText, 1001, ""), CodeTooBig, "too long"},
		{"over the limit in fragments", join(frame(textPart, strings.Repeat("x", 600)), claim(lastPart, 401, "")), CodeTooBig, "too long"},
		{"a claim for a ping", claim(aPing, 60000, ""), CodeProtocol, "125"},
		{"a control frame in fragments", frame(0x08, ""), CodeProtocol, "fragments"},
		{"reserved bit", frame(aText|reserved1, "compressed?"), CodeProtocol, "extension"},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), CodeProtocol, "extension"},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), CodeProtocol, "extension"},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			eachMode(t, func(t *testing.T, cfg Config) {
				ended := make(chan error, 1)
				s := serve(t, cfg, nil, Options{MaxMessage: 1000}, func(*Conn) Door { return &echo{ended: ended} })
				p := s.join(t)
				p.send(k.send...)
				if reason := p.expectClose(k.code); !strings.Contains(reason, k.reason) {
					t.Errorf("reason: got %q, want it to say %q", reason, k.reason)
				}
				p.send(frame(aText, "nobody listens")...)
				p.expectEnd()
				p.Close()
				if why, ok := (<-ended).(*CloseError); !ok || why.Code != k.code || why.Remote {
					t.Errorf("why it ended: got %v, want our close with %d", why, k.code)
				}
			})
		})
	}
}

// What a header claims takes no memory: 200 peers claim 1 MB each.
func TestClaimsTakeNoMemory(t *testing.T) {
	eachMode(t, func(t *testing.T, cfg Config) {
		s := serve(t, cfg, nil, Options{MaxMessage: 1 << 20}, func(*Conn) Door { return &echo{} })
		before := heap()
		for range 200 {
			s.join(t).send(claim(aText, 1<<20, "beginning")...)
		}
		if grown := heap() - before; grown > 20<<20 {
			t.Errorf("200 claims of 1 MB took %d bytes", grown)
		}
	})
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A peer that ends without a word is io.EOF; one that resets is the network's
// error.
func TestLinkLoss(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		ended := make(chan error, 1)
		s := serve(t, cfg, nil, Options{}, func(*Conn) Door { return &echo{ended: ended} })
		s.join(t).Close()
		if why := <-ended; why != io.EOF {
			t.Errorf("a FIN: got %v, want io.EOF", why)
		}
		p := s.join(t)
		p.Conn.(*net.TCPConn).SetLinger(0)
		p.Close()
		var closed *CloseError
		if why := <-ended; why == nil || errors.As(why, &closed) {
			t.Errorf("a reset: got %v, want an error of the network", why)
		}
		if n := s.ports.Open(); n > 0 {
			for until := time.Now().Add(5 * time.Second); s.ports.Open() > 0 && time.Now().Before(until); runtime.Gosched() {
			}
			if n = s.ports.Open(); n > 0 {
				t.Errorf("the port counts %d connections, want 0", n)
			}
		}
	})
}

// After the handshake no goroutine of net/http is left, and in epoll mode none
// of ours.
func TestNoGoroutinePerConnection(t *testing.T) {
	s := serve(t, Config{}, nil, Options{}, func(*Conn) Door { return silent{} })
	s.join(t)
	before := runtime.NumGoroutine()
	for range 200 {
		s.join(t)
	}
	grown := 0
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); runtime.Gosched() {
		if grown = runtime.NumGoroutine() - before; grown < 10 {
			return
		}
	}
	t.Errorf("200 idle connections have %d goroutines", grown)
}

// In both modes, on a real network: a silent peer is asked, one that does not
// answer is cut, and so is one that sends half of a message and no more.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		ended := make(chan error, 1)
		s := serve(t, cfg, nil, Options{Ping: 200 * time.Millisecond, Silence: 3 * time.Second}, func(*Conn) Door { return &echo{ended: ended} })
		p := s.join(t)
		var began time.Time
		for range 3 {
			p.expect(aPing, "")
			began = time.Now()
			p.send(frame(aPong, "")...)
		}
		if why := <-ended; why != ErrSilent {
			t.Errorf("why it ended: got %v, want ErrSilent", why)
		}
		if took := time.Since(began); took < 2*time.Second || took > 15*time.Second {
			t.Errorf("a silent peer was cut after %v, want about 3s", took)
		}

		cfg.MessageLimit = 200 * time.Millisecond
		s = serve(t, cfg, nil, Options{}, func(*Conn) Door { return &echo{ended: ended} })
		p = s.join(t)
		p.send(claim(aText, 100, "half of it")...)
		p.expectClose(CodePolicy)
		p.expectEnd()
		p.Close()
		<-ended
	})
}
