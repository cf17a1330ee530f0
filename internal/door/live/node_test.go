package live

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a live door on a core and a network in memory.
type node struct {
	*doortest.Core
	t    *testing.T
	door *Door
	port *doortest.Port
	tcp  string // address of the listener; "": the network is in memory

	mu   sync.Mutex // guards all below
	told []string
}

// inBubble runs a test on a node with a clock of its own.
func inBubble(t *testing.T, cfg doortest.Config, f func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, doortest.New(t, cfg), Limits{})
		defer n.stop()
		// Nothing of a test may fall on a tick of the wheel.
		<-time.After(time.Millisecond)
		f(t, n)
	})
}

func newNode(t *testing.T, core *doortest.Core, limits Limits) *node {
	return newNodeOn(t, core, Config{Limits: limits}, nil)
}

// newNodeOn serves on a listener, or in memory with nil.
func newNodeOn(t *testing.T, core *doortest.Core, cfg Config, l net.Listener) *node {
	n := &node{Core: core, t: t}
	cfg.Gate, cfg.Tracker, cfg.Wheel, cfg.Logger, cfg.Mailboxes = core.Gate, core.Tracker, core.Wheel, core.Logger, core.Mailboxes
	cfg.ShortestTimeout = core.Tracker.Policy(doortest.App).HeartbeatTimeout
	cfg.Called = func(method, code string, took time.Duration) {
		if took < 0 {
			method = "end of " + method
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.told = append(n.told, method+" "+code)
	}
	n.door = New(cfg)
	if err := n.door.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.port = doortest.NewPortOn(core, n.door, l)
	return n
}

// stopDoor ends the door, as a node that drains does.
func (n *node) stopDoor() {
	n.port.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.door.Stop(ctx); err != nil {
		n.t.Errorf("stop of the door: %v", err)
	}
	if open := n.door.Open(); open != 0 {
		n.t.Errorf("%d connections are left", open)
	}
	if left := n.door.standing.Load(); left != 0 {
		n.t.Errorf("%d connections are counted as standing", left)
	}
	if left := n.door.from.Len(); left != 0 {
		n.t.Errorf("%d addresses are counted", left)
	}
}

func (n *node) stop() {
	n.port.HangUp()
	n.stopDoor()
	n.Core.Stop()
}

// reports are the calls that were told of.
func (n *node) reports() []string {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.told)
}

// dial makes a network connection.
func (n *node) dial() net.Conn {
	if n.tcp != "" {
		c, err := net.Dial("tcp", n.tcp)
		if err != nil {
			n.t.Fatal(err)
		}
		return n.port.Keep(c)
	}
	return n.port.Dial()
}

// peer is a WebSocket connection that is read.
type peer struct {
	*doortest.Peer
	n *node
}

// open makes one; more are headers, in pairs.
func (n *node) open(more ...string) *peer {
	n.t.Helper()
	p, answer := n.handshake(Path, more...)
	if p == nil {
		n.t.Fatalf("handshake: %s", answer.Status)
	}
	go p.Read()
	return p
}

func (n *node) handshake(path string, more ...string) (*peer, *http.Response) {
	n.t.Helper()
	p, answer := doortest.Handshake(n.t, n.dial(), path, doortest.Header(append([]string{"Sec-WebSocket-Protocol", Protocol}, more...)...))
	if p == nil {
		return nil, answer
	}
	return &peer{p, n}, answer
}

// ask sends a frame and returns the one answer; notifications wait for take.
func (p *peer) ask(format string, args ...any) string {
	p.n.t.Helper()
	p.Say(format, args...)
	var answers, notes []string
	for _, f := range p.Came() {
		if strings.HasPrefix(f, `{"t":"n"`) {
			notes = append(notes, f)
		} else {
			answers = append(answers, f)
		}
	}
	p.Put(notes)
	if len(answers) != 1 {
		p.n.t.Fatalf("to %s: got %q, want one answer", format, answers)
	}
	return answers[0]
}

// ended returns the close code and the last frame.
func (p *peer) ended() (code int, last string) {
	p.n.t.Helper()
	got := p.Came()
	code, _, over := p.End()
	if !over {
		p.n.t.Fatalf("the connection stands; it got %q", got)
	}
	if len(got) > 0 {
		last = got[len(got)-1]
	}
	return code, last
}

func (p *peer) stands() {
	p.n.t.Helper()
	synctest.Wait()
	if code, reason, over := p.End(); over {
		p.n.t.Fatalf("the connection ended: %d %s", code, reason)
	}
}

// device is a peer that said hello.
type device struct {
	*peer
	welcome welcomeFrame
}

type welcomeFrame struct {
	Session, Resume string
	Resumed, Resync bool
	Q               uint64
	Time            int64
	Heartbeat       int64
	Grace, Window   int64
	Limits          map[string]int64
	Rejected        []string
}

// hello opens a connection of a user and says hello with more keys.
func (n *node) hello(user string, more string) *device {
	n.t.Helper()
	d := &device{peer: n.open()}
	d.greet(user, more)
	return d
}

// greet says hello and reads the welcome.
func (d *device) greet(user, more string) {
	d.n.t.Helper()
	if more != "" {
		more = "," + more
	}
	d.Say(`{"t":"hello","token":%q,"device":{"platform":"web","product":"chat","locale":"en_US"}%s}`, d.n.JWT(user), more)
	got := d.Came()
	if len(got) == 0 || !strings.HasPrefix(got[0], `{"t":"welcome"`) {
		d.n.t.Fatalf("hello of %s: got %q, want a welcome", user, got)
	}
	read(d.n.t, got[0], &d.welcome)
	d.n.Log.Secret(d.welcome.Resume)
	d.Put(got[1:])
}

// resume is the keys of a hello that takes the session up again.
func (d *device) resume(after string) string {
	s := fmt.Sprintf(`"resume":%q`, d.welcome.Resume)
	if after != "" {
		s += `,"after":` + after
	}
	return s
}

func read(t *testing.T, frame string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(frame), into); err != nil {
		t.Fatalf("%s: %v", frame, err)
	}
}

// notes are the notifications among frames, each as a short line, with the
// number of the last.
func (d *device) notes(frames []string) (lines []string, last uint64) {
	d.n.t.Helper()
	for _, f := range frames {
		if !strings.HasPrefix(f, `{"t":"n"`) {
			continue
		}
		var b batch
		read(d.n.t, f, &b)
		if first := b.Q - uint64(len(b.N)) + 1; last != 0 && first != last+1 {
			d.n.t.Errorf("numbers %d to %d follow %d", first, b.Q, last)
		}
		last = b.Q
		for i := range b.N {
			lines = append(lines, b.N[i].String())
		}
	}
	return lines, last
}

type batch struct {
	Q uint64
	N []note
}

type note struct {
	U, K, User, Why string
	On              *bool
	Seen, At        int64
	Friends, All    bool
	Users           *int
	S               *sessionFrame
}

type sessionFrame struct {
	ID, Platform, Product, Show, Text, Locale, Why string
	Rev                                            uint64
	Since, At                                      int64
	Properties                                     map[string]json.RawMessage
}

func (n note) String() string {
	s := strings.TrimSpace(n.U + " " + n.K)
	if n.On != nil {
		s += map[bool]string{true: " on", false: " off"}[*n.On]
	}
	if n.Users != nil {
		s += fmt.Sprintf(" %s friends=%v all=%v users=%d", n.User, n.Friends, n.All, *n.Users)
	}
	if n.Why != "" {
		s += " " + n.Why
	}
	if n.S != nil {
		s += " " + strings.TrimSpace(n.S.Show+" "+n.S.Text+" "+n.S.Why)
		for _, k := range slices.Sorted(maps.Keys(n.S.Properties)) {
			s += " " + k + "=" + string(n.S.Properties[k])
		}
	}
	return s
}

// wantNotes checks what came since the last look.
func (d *device) wantNotes(what string, want ...string) {
	d.n.t.Helper()
	got, _ := d.notes(d.Came())
	if !slices.Equal(got, want) {
		d.n.t.Errorf("%s: got\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// wait lets time pass.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
