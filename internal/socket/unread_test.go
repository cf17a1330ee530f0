package socket

import (
	"bytes"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A peer that does not read costs the unsent rest of one write, and gets the
// newest when it reads again; it delays nobody else.
func TestStuckPeer(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		var version atomic.Int64
		var stuck atomic.Pointer[Conn]
		var first *news // before stuck is set
		s := serve(t, cfg, nil, Options{}, func(c *Conn) Door {
			d := &news{version: &version}
			if stuck.Load() == nil {
				first = d
			}
			stuck.CompareAndSwap(nil, c)
			return d
		})
		p := s.join(t)
		for stuck.Load() == nil { // the answer to the handshake comes first
			runtime.Gosched()
		}
		other := s.join(t)
		told, moved, in := int64(0), time.Now(), 0
		for began := moved; time.Since(began) < time.Minute; in++ {
			version.Add(1) // until the kernel takes no more
			stuck.Load().Wake()
			runtime.Gosched()
			if now := first.told.Load(); now != told {
				told, moved, in = now, time.Now(), 0
			}
			if time.Since(moved) > 100*time.Millisecond && in > 1000 && (cfg.Goroutines || unsent(stuck.Load()) > 0) {
				break
			}
		}
		other.send(frame(aText, "quick?")...)
		other.expect(aText, "quick?")
		if rest := unsent(stuck.Load()); !cfg.Goroutines && (rest == 0 || rest > lentSize) {
			t.Errorf("kept for a peer that does not read: %d bytes, want some, %d at most", rest, lentSize)
		}
		last := version.Add(1)
		stuck.Load().Wake()
		messages := 0
		for {
			_, b, err := p.read()
			if err != nil {
				t.Fatalf("after %d messages: %v", messages, err)
			}
			messages++
			if v, _, _ := strings.Cut(b, " "); v == itoa(last) {
				break
			}
		}
		if messages >= int(last) {
			t.Errorf("all %d versions were sent: nothing was skipped for a peer that does not read", messages)
		}
	})
}

// unsent is how much is kept of a write that the kernel did not take whole.
func unsent(c *Conn) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil {
		return 0
	}
	return len(c.out.rest)
}

// news is a door that tells the newest version, of any size that is needed.
type news struct {
	echo
	version *atomic.Int64
	told    atomic.Int64
}

func (n *news) Fill(_ *Conn, out *Out) bool {
	if v := n.version.Load(); v != n.told.Load() {
		n.told.Store(v)
		out.Text(func(b []byte) []byte { return append(append(b, itoa(v)+" "...), make([]byte, 4000)...) })
	}
	return false
}

func itoa(n int64) string {
	var b []byte
	for ; n > 0 || len(b) == 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// A peer that asks without reading the answers is not read itself, so that it
// costs no more; when it reads, nothing is lost.
func TestPipelining(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		answer := strings.Repeat("a", 1000)
		s := serve(t, cfg, nil, Options{}, func(*Conn) Door { return &answers{answer: answer} })
		p := s.join(t)
		const asked = 50_000
		done := make(chan error, 1)
		go func() {
			batch := bytes.Repeat(frame(aText, "?"), 500)
			for range asked / 500 {
				if _, err := p.Write(batch); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		<-time.After(200 * time.Millisecond)
		for i := range asked {
			if i%1000 == 0 { // what counts is that it goes on
				p.limit(time.Minute)
			}
			if _, b, err := p.read(); err != nil || b != answer {
				t.Fatalf("answer %d: got %s, %v", i, short(b), err)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

type answers struct {
	echo
	answer string
}

func (a *answers) Message(c *Conn, _ Kind, _ []byte) { c.Send([]byte(a.answer)) }

// A door that says so much that it cannot be kept ends as slow.
func TestTooManyAnswers(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		ended := make(chan error, 1)
		s := serve(t, cfg, nil, Options{}, func(c *Conn) Door { return &flood{echo{ended}} })
		p := s.join(t)
		p.send(frame(aText, "?")...)
		if why := <-ended; why != ErrSlow {
			t.Errorf("why it ended: got %v, want ErrSlow", why)
		}
	})
}

type flood struct{ echo }

func (*flood) Message(c *Conn, _ Kind, _ []byte) {
	for range 100_000 {
		c.Send(make([]byte, 1000))
	}
}

// A flood of pings with the answers unread ends, and takes little until then.
func TestPingFlood(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		cfg.WriteLimit = 500 * time.Millisecond
		ended := make(chan error, 1)
		s := serve(t, cfg, nil, Options{}, func(c *Conn) Door { return &echo{ended: ended} })
		p := s.join(t)
		p.limit(60 * time.Second)
		batch := bytes.Repeat(frame(aPing, strings.Repeat("p", 125)), 500)
		for {
			if _, err := p.Write(batch); err != nil {
				break
			}
		}
		if why := <-ended; why != ErrSlow {
			t.Errorf("why it ended: got %v, want ErrSlow", why)
		}
	})
}
