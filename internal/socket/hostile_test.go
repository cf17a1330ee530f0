package socket

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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

// A peer that does not read costs the unsent rest of one write, and gets the
// newest when it reads again; it delays nobody else.
func TestStuckPeer(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		var version atomic.Int64
		var stuck atomic.Pointer[Conn]
		s := serve(t, cfg, nil, Options{}, func(c *Conn) Door {
			stuck.CompareAndSwap(nil, c)
			return &news{version: &version}
		})
		p := s.join(t)
		for stuck.Load() == nil { // the answer to the handshake comes first
			runtime.Gosched()
		}
		other := s.join(t)
		until := time.Now().Add(300 * time.Millisecond)
		for time.Now().Before(until) { // far more than the kernel takes, as the test sees below
			version.Add(1)
			stuck.Load().Wake()
			runtime.Gosched()
		}
		other.send(frame(aText, "quick?")...)
		other.expect(aText, "quick?")
		if !cfg.Goroutines {
			stuck.Load().mu.Lock()
			rest := len(stuck.Load().out.rest)
			stuck.Load().mu.Unlock()
			if rest == 0 || rest > lentSize {
				t.Errorf("kept for a peer that does not read: %d bytes, want some, %d at most", rest, lentSize)
			}
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

// news is a door that tells the newest version, of any size that is needed.
type news struct {
	echo
	version *atomic.Int64
	told    int64
}

func (n *news) Fill(_ *Conn, out *Out) bool {
	if v := n.version.Load(); v != n.told {
		n.told = v
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
		p.limit(30 * time.Second)
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

// Doors that wait hold up neither other connections nor what is sent to their
// own, whether they say so or not.
func TestDoorsThatWait(t *testing.T) {
	t.Parallel()
	for _, says := range []bool{true, false} {
		t.Run(map[bool]string{true: "said", false: "not said"}[says], func(t *testing.T) {
			t.Parallel()
			eachMode(t, func(t *testing.T, cfg Config) {
				release := make(chan struct{})
				var once sync.Once
				free := func() { once.Do(func() { close(release) }) }
				s := serve(t, cfg, nil, Options{}, func(*Conn) Door { return &waits{says: says, release: release} })
				t.Cleanup(free)
				var stuck []*peer
				for range 20 {
					p := s.join(t)
					p.send(frame(aText, "wait")...)
					p.send(frame(aText, "after")...)
					stuck = append(stuck, p)
				}
				free2 := s.join(t)
				free2.send(frame(aText, "quick")...)
				free2.expect(aText, "quick")
				if says {
					for _, p := range stuck {
						p.expect(aText, "soon")
					}
				}
				free()
				for _, p := range stuck {
					if !says {
						p.expect(aText, "soon")
					}
					p.expect(aText, "done")
					p.expect(aText, "after")
				}
			})
		})
	}
}

type waits struct {
	echo
	says    bool
	release chan struct{}
}

func (w *waits) Message(c *Conn, kind Kind, b []byte) {
	if string(b) != "wait" {
		w.echo.Message(c, kind, b)
		return
	}
	c.Send([]byte("soon"))
	if w.says {
		c.MayBlock()
	}
	<-w.release
	c.Send([]byte("done"))
}

// A panic in a door ends its connection, not the process.
func TestPanics(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		var log logBook
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s := serve(t, cfg, nil, Options{}, func(c *Conn) Door { return &clumsy{} })
		for _, word := range []string{"message", "fill"} {
			p := s.join(t)
			p.send(frame(aText, word)...)
			p.expectClose(CodeInternal)
			p.send(frame(aClose, "\x03\xf3")...)
			p.expectEnd()
		}
		if text := log.String(); strings.Count(text, "level=ERROR") < 2 || !strings.Contains(text, "hostile_test.go") {
			t.Errorf("the log does not tell of the panics:\n%s", text)
		}
	})
}

type clumsy struct{ echo }

func (*clumsy) Message(c *Conn, _ Kind, b []byte) {
	if string(b) == "message" {
		panic("message")
	}
	c.Wake()
}

func (*clumsy) Fill(*Conn, *Out) bool { panic("fill") }
func (*clumsy) Closed(*Conn, error)   { panic("closed") }

type logBook struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Peers that vanish in the middle of anything, doors that close, wake and send
// from many goroutines: each door is told of its end once, last, and nothing is
// left. Descriptors are used again all the time.
func TestCloseRaces(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		var opened, closed atomic.Int64
		s := serve(t, cfg, nil, Options{}, func(c *Conn) Door {
			opened.Add(1)
			d := &fickle{conn: c, closed: &closed, t: t}
			if rand.IntN(10) == 0 {
				c.Close(4000, "at once")
			}
			go d.worry()
			return d
		})
		rounds := 60
		if testing.Short() {
			rounds = 20
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range rounds {
					p := s.join(t)
					for range rand.IntN(4) {
						p.Write(frame(aText, strings.Repeat("x", rand.IntN(3000))))
					}
					switch rand.IntN(4) {
					case 0:
						p.Write(frame(aClose, "\x03\xe8"))
						io.Copy(io.Discard, p)
					case 1:
						p.Conn.(*net.TCPConn).SetLinger(0)
					case 2:
						p.Write(claim(aText, 900, "half"))
					}
					p.Close()
				}
			})
		}
		all.Wait()
		// A connection is not counted any more just before its door is told.
		for until := time.Now().Add(30 * time.Second); (s.Open() > 0 || closed.Load() < opened.Load()) && time.Now().Before(until); runtime.Gosched() {
		}
		if s.Open() != 0 || opened.Load() != closed.Load() || opened.Load() != int64(8*rounds) {
			t.Errorf("%d opened of %d, %d told of their end, %d open still", opened.Load(), 8*rounds, closed.Load(), s.Open())
		}
	})
}

// fickle is a door that closes, wakes and sends at odd moments.
type fickle struct {
	conn   *Conn
	over   atomic.Bool
	inside atomic.Int32
	closed *atomic.Int64
	t      *testing.T
}

func (f *fickle) worry() {
	for range 20 {
		f.conn.Wake()
		f.conn.Send([]byte("worry"))
		runtime.Gosched()
	}
	if rand.IntN(3) == 0 {
		f.conn.Close(4001, "changed its mind")
	}
}

func (f *fickle) use(where string) func() {
	if f.over.Load() {
		f.t.Errorf("%s was called after Closed", where)
	}
	f.inside.Add(1)
	return func() { f.inside.Add(-1) }
}

func (f *fickle) Message(c *Conn, _ Kind, b []byte) {
	defer f.use("Message")()
	c.Send(b)
	if rand.IntN(5) == 0 {
		c.MayBlock()
		runtime.Gosched()
	}
}

func (f *fickle) Fill(_ *Conn, out *Out) bool {
	defer f.use("Fill")()
	out.Text(func(b []byte) []byte { return append(b, "news"...) })
	return rand.IntN(3) == 0
}

func (f *fickle) Closed(_ *Conn, why error) {
	if f.over.Swap(true) {
		f.t.Error("Closed was called twice")
	}
	if f.inside.Load() != 0 {
		f.t.Error("Closed was called while another method ran")
	}
	if why == nil {
		f.t.Error("Closed was not told why")
	}
	f.closed.Add(1)
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
		for range 3 {
			p.expect(aPing, "")
			p.send(frame(aPong, "")...)
		}
		began := time.Now()
		if why := <-ended; why != ErrSilent {
			t.Errorf("why it ended: got %v, want ErrSilent", why)
		}
		if took := time.Since(began); took < 2*time.Second || took > 8*time.Second {
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

// A connection is deaf while its door waits, and until what came meanwhile is read.
func TestDeaf(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		conns, release := make(chan *Conn, 1), make(chan struct{})
		s := serve(t, cfg, nil, Options{}, func(c *Conn) Door {
			conns <- c
			return &waits{says: true, release: release}
		})
		p := s.join(t)
		c := <-conns
		if c.Deaf() {
			t.Error("deaf before anything was said")
		}
		p.send(frame(aText, "wait")...)
		p.expect(aText, "soon")
		becomes := func(deaf bool) {
			for began := time.Now(); c.Deaf() != deaf; <-time.After(time.Millisecond) {
				if time.Since(began) > 10*time.Second {
					t.Fatalf("deaf: %v, for good", !deaf)
				}
			}
		}
		becomes(true) // its door says so just after its word
		close(release)
		p.expect(aText, "done")
		becomes(false)
	})
}
