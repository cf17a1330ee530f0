package chaos

import (
	"bufio"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Who does not read for a while, and what is certain of him.

// Whoever does not read for a while reads when his round is over: how long it takes
// until others have come back is not his doing, and the server ends who is deaf.
func TestWhoDoesNotReadReadsInTheEnd(t *testing.T) {
	t.Parallel()
	p := &patron{crowd: &crowd{}, random: rand.New(rand.NewPCG(1, 1)), mute: time.Now().Add(time.Minute), sock: &socket{done: make(chan struct{})}}
	p.crowd.patronPace = time.Minute
	p.sock.stuck.Store(true)
	stop := make(chan struct{})
	close(stop)
	p.live(stop)
	if p.sock.stuck.Load() || time.Now().Before(p.mute) {
		t.Error("he does not read, and nobody will make him for a while")
	}
}

// A device that does not read learns late that its link ended: it counts as lost
// since it read last.
func TestWhoDoesNotReadLearnsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ends := func(stuck bool) time.Duration {
			near, far := net.Pipe()
			s := &socket{conn: near, in: bufio.NewReader(near), done: make(chan struct{}), quit: make(chan struct{})}
			s.stuck.Store(stuck)
			go s.read(func([]byte) {})
			began := time.Now()
			if _, err := far.Write([]byte{0x80 | opText, 0}); err != nil {
				t.Fatal(err)
			}
			pause(nil, 2*time.Second)
			far.Close()
			pause(nil, 5*time.Second)
			s.stuck.Store(false)
			<-s.done
			return s.endedAt().Sub(began).Round(time.Second)
		}
		if d := ends(false); d != 2*time.Second {
			t.Errorf("who reads: ended after %v, want 2s", d)
		}
		if d := ends(true); d != 0 {
			t.Errorf("who does not: ended after %v, want 0s", d)
		}
	})
}

// halfway is a connection to a process that was killed: what comes of it is the end,
// and what is written to it is taken, as the system learns by the answer to that.
type halfway struct {
	net.Conn
	killed atomic.Bool
}

func (c *halfway) Write(b []byte) (int, error) {
	if c.killed.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *halfway) SetWriteDeadline(time.Time) error { return nil }

// A device whose node was killed while it did not read states a status on the dead link
// when it reads again, before it learns of the end. Its session was closed meanwhile, and
// who says so is right.
func TestWhoReadsAgainIsNotCertainAtOnce(t *testing.T) {
	t.Parallel()
	for name, killed := range map[string]bool{"its node was killed": true, "its node is there": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { readAgain(t, killed) })
		})
	}
}

func readAgain(t *testing.T, killed bool) {
	t.Helper()
	w, p := crowdOf(nil)
	w.ctx = t.Context()
	near, far := net.Pipe()
	conn := &halfway{Conn: near}
	p.random = rand.New(rand.NewPCG(1, 1))
	p.sock = &socket{conn: conn, in: bufio.NewReader(conn), done: make(chan struct{}), quit: make(chan struct{})}
	p.since, p.proof = time.Now(), time.Now()
	go p.read(p.sock)
	certain := func(when string, want bool) {
		t.Helper()
		if _, _, ok := p.certain(time.Now()); ok != want {
			t.Errorf("%s: certain %v, want %v", when, ok, want)
		}
	}
	pause(nil, time.Second)
	p.stick(true)
	if _, err := far.Write([]byte{0x80, 0}); err != nil { // it notices that it does not read when something comes
		t.Fatal(err)
	}
	pause(nil, 990*time.Millisecond)
	if killed {
		w.hurt(harmKilled, 0)()
		conn.killed.Store(true)
		far.Close()
	} else {
		go answers(far)
	}
	pause(nil, 9*time.Second)
	certain("it does not read", !killed)
	p.stick(false)
	certain("it reads again", !killed)
	said := make(chan struct{})
	go func() {
		defer close(said)
		p.say()
	}()
	synctest.Wait()
	certain("it states a status", !killed)
	<-said
	certain("it knows", !killed)
	if linked := p.sock != nil; linked == killed || p.deaf != (time.Time{}) {
		t.Errorf("in the end: linked %v, deaf since %v", linked, p.deaf)
	}
	p.close()
	far.Close()
}

// answers says ok to each frame.
func answers(far net.Conn) {
	b := make([]byte, 1024)
	for {
		if _, err := far.Read(b); err != nil {
			return
		}
		text := `{"t":"ok"}`
		if _, err := far.Write(append([]byte{0x80 | opText, byte(len(text))}, text...)); err != nil {
			return
		}
	}
}
