package socket

import (
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
		if text := log.String(); strings.Count(text, "level=ERROR") < 2 || !strings.Contains(text, "doors_test.go") {
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
		// A connection is not counted any more just before its door is told, and a peer is
		// answered before it has one.
		for until := time.Now().Add(30 * time.Second); (s.Open() > 0 || closed.Load() < int64(8*rounds)) && time.Now().Before(until); runtime.Gosched() {
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

// What a door appends because of an answer comes behind it, also where the answer was
// given while the door was being asked already.
func TestAnAnswerGoesBeforeWhatFollowsFromIt(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		s := serve(t, cfg, nil, Options{}, func(c *Conn) Door { return &greeter{asked: make(chan struct{}), greeted: make(chan struct{})} })
		p := s.join(t)
		p.send(frame(aText, "hello")...)
		p.expect(aText, "welcome")
		p.expect(aText, "news")
		p.expect(aText, "more")
		p.expectClose(CodeNormal)
	})
}

// greeter welcomes while it is being asked for what waits.
type greeter struct {
	echo
	asked, greeted chan struct{}
	told           bool
}

func (g *greeter) Message(c *Conn, _ Kind, _ []byte) {
	c.MayBlock()
	c.Wake()
	<-g.asked
	c.Send([]byte("welcome"))
	close(g.greeted)
}

func (g *greeter) Fill(c *Conn, out *Out) bool {
	if g.told {
		return false
	}
	g.told = true
	close(g.asked)
	<-g.greeted
	out.Text(func(b []byte) []byte { return append(b, "news"...) })
	c.Close(CodeNormal, "") // its frame goes behind all of this
	out.Text(func(b []byte) []byte { return append(b, "more"...) })
	return false
}
