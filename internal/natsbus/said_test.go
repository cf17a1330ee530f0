package natsbus

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func threePeers() *Bus {
	return &Bus{cfg: Config{Peers: &Peers{Name: "a", Listen: "10.0.0.1:7402", Peers: []string{"10.0.0.2:7402", "10.0.0.3:7402"}}}}
}

// TestRefused: one of three that refuses is waited for, since the third is enough;
// both mean that no waiting helps. Who dialled us says nothing.
func TestRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := threePeers()
		refuse := "%s:%d - rid:7 - Route Error 'Authorization Violation'"
		for _, addr := range []string{"10.0.0.2:7402", "10.0.0.3:49152", "10.0.0.2:7402"} {
			host, port, _ := splitAddress(addr)
			b.said.keep(fmt.Sprintf(refuse, host, port))
			if err := b.refused(); err != nil {
				t.Errorf("%s: got %v, want to wait", addr, err)
			}
		}
		b.said.keep("10.0.0.3:7402 - rid:8 - TLS route handshake error: EOF")
		if err := b.refused(); err != nil {
			t.Errorf("a connection that broke off: got %v, want to wait", err)
		}
		b.said.keep("10.0.0.3:7402 - rid:8 - TLS route handshake error: tls: failed to verify certificate: x509: certificate has expired")
		err := b.refused()
		if err == nil || !strings.Contains(err.Error(), "10.0.0.2:7402 does not take this node's password; 10.0.0.3:7402 cannot speak TLS") {
			t.Errorf("both: got %v, want why each", err)
		}
		<-time.After(refusedFor)
		if err := b.refused(); err != nil {
			t.Errorf("later: got %v, want it forgotten", err)
		}
		b.said.keep(`10.0.0.9:5 - rid:540 - Remote server has a duplicate name: "b"`)
		if err := b.refused(); err != nil {
			t.Errorf("two others of one name: got %v", err)
		}
		b.said.keep(`10.0.0.9:5 - rid:540 - Remote server has a duplicate name: "a"`)
		if err := b.refused(); err == nil || !strings.Contains(err.Error(), "a name of its own") {
			t.Errorf("our name: got %v", err)
		}
	})
}

// TestEngineRepeats: what the engine says again and again is written now and then.
func TestEngineRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := &engineLog{log: slog.New(slog.NewTextHandler(&out, nil)), said: &said{}}
		for i := range 100 {
			l.Errorf("Error trying to connect to route (attempt %d)", i)
		}
		l.Warnf("something else")
		if got := strings.Count(out.String(), "\n"); got != 2 {
			t.Errorf("at once: got %d lines, want one of each kind:\n%s", got, out.String())
		}
		<-time.After(repeatEvery)
		l.Errorf("Error trying to connect to route (attempt 1)")
		if !strings.Contains(out.String(), "repeated=99") {
			t.Errorf("later: got %s, want how often it came meanwhile", out.String())
		}
		for i := range 2 * mostRepeats {
			l.Warnf("line %s", strings.Repeat("x", i))
		}
		if len(l.repeats) > mostRepeats {
			t.Errorf("remembered: got %d lines, want %d at most", len(l.repeats), mostRepeats)
		}
	})
}

func FuzzSaid(f *testing.F) {
	f.Add("10.0.0.2:7402 - rid:60 - Route Error 'Authorization Violation'")
	f.Add(`10.0.0.9:5 - rid:540 - Remote server has a duplicate name: "a"`)
	f.Add("10.0.0.3:7402 - rid:8 - TLS route handshake error: tls: bad certificate")
	f.Fuzz(func(t *testing.T, line string) {
		b := threePeers()
		b.said.keep(line)
		if err := b.refused(); err != nil && !strings.Contains(line, "duplicate name") {
			t.Errorf("one line: got %v, want to wait for the other", err)
		}
	})
}
