package chaos

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

const (
	nodesGrace = 6 * time.Second // design §4, the default
	// graceMargin is how much before the end of its grace a device must be back
	// to be sure that nobody saw it: clocks and the machine take their time.
	graceMargin = time.Second
)

// guest is a device that comes back at any node.
type guest struct {
	*device
	crowd *crowd
	at    int       // the node of its connection
	began time.Time // when its link began
	proof time.Time // when something was last answered by its node
	lost  time.Time // since when it has no link, at the earliest; zero: it has one
	next  time.Time // not before does it come back
	place int       // among all guests

	doubted bool // its session may have been closed since the loss, and that is noted

	unsure map[string]bool // whom it may watch or not, as it ended it without an answer
}

// wait waits, at most until the link is lost.
func (g *guest) wait(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	var cut <-chan struct{}
	if g.line != nil {
		cut = g.line.done
	}
	select {
	case <-stop:
		return false
	case <-timer.C:
	case <-cut:
	}
	return true
}

// live is what a guest does until stop.
func (g *guest) live(stop <-chan struct{}) {
	for g.wait(stop, leastPause+time.Duration(g.random.Int64N(int64(g.crowd.pace)))) {
		g.step()
	}
}

// step does one thing.
func (g *guest) step() {
	if g.linked() {
		if asked, _ := g.life.bye(); !asked && !g.keep {
			g.failed("working", g.once())
			return
		}
	}
	switch {
	case g.life == nil:
		g.move(g.crowd.anyNode(g.random))
		g.failed("opening", g.enter())
	case !g.linked() && time.Now().After(g.next):
		g.comeBack()
	}
}

// linked reports whether it has a link; one that ended is noted, and what the
// guest makes of that.
func (g *guest) linked() bool {
	if g.line == nil {
		return false
	}
	if _, ended := g.line.ended(); !ended {
		return true
	}
	at, _ := g.crowd.lostSince(g.at, g.proof, g.line.endedAt())
	g.unlink(at)
	if g.keep || g.life == nil || !g.life.opening().done() {
		return false
	}
	asked, _ := g.life.bye()
	switch n := g.random.IntN(100); {
	case asked:
	case n < 15:
		g.forget()
	case n < 25: // comes when it is too late
		g.next = g.lost.Add(g.crowd.tooLate + time.Duration(g.random.Int64N(int64(2*time.Second))))
		g.w.history.note(func() { g.life.held, g.life.lostAt, g.life.losses = false, g.lost, g.life.losses+1 })
	default:
		g.next = time.Now().Add(time.Duration(g.random.Int64N(int64(500 * time.Millisecond))))
	}
	return false
}

// forget never comes back to the session.
func (g *guest) forget() {
	l := g.life
	g.life = nil
	g.w.history.note(func() { l.held, l.lostAt, l.losses, l.node = false, g.lost, l.losses+1, -1 })
	g.crowd.leave(ghost{life: l, node: g.at, since: g.lost})
}

// unlink ends the link, which was lost at a time.
func (g *guest) unlink(at time.Time) {
	if g.line == nil {
		return
	}
	g.drop()
	g.lost = at
}

// move takes another connection to a node.
func (g *guest) move(i int) {
	conn, err := dial(g.crowd.doorOf(g, i))
	if err != nil {
		g.w.blame("dial: %v", err)
		return
	}
	g.conn.Close()
	g.conn, g.stub, g.at = conn, isonlinev1.NewIsOnlineServiceClient(conn), i
}

// enter makes a session and opens it, sometimes at another node than made it.
func (g *guest) enter() error {
	g.hidden = !g.keep && g.random.IntN(12) == 0
	g.lost = time.Time{}
	if err := g.make(); err != nil {
		g.life = nil
		return err
	}
	g.ear.resync()
	clear(g.unsure)
	early := g.random.IntN(2) == 0
	if early {
		if err := g.subscribe(g.someUsers()...); err != nil {
			g.life = nil
			return err
		}
	}
	if g.random.IntN(3) == 0 {
		g.move(g.crowd.anyNode(g.random))
	}
	g.began, g.doubted = time.Now(), false
	if err := g.connect(opens, true); err != nil {
		g.late(g.life, g.began, err)
		g.lost = g.began // it may have opened all the same, and was lost at once
		return g.refused(err)
	}
	g.settled()
	if early {
		return nil
	}
	return g.subscribe(g.someUsers()...)
}

// goodbye is bye. At a node that is cut off its watchers are told; who goes from there
// to another one sees the session once more, and its end.
func (g *guest) goodbye() error {
	if l := g.life; g.crowd.severed(g.at) {
		g.w.history.note(func() { l.losses++ })
		g.crowd.toldLate(g.user)
	} else if g.crowd.standsStill(g.at) {
		g.crowd.toldLate(g.user)
	}
	return g.bye()
}

// refused settles SESSION_GONE where that is allowed: of a session that may not
// have been stored, or whose watches may not.
func (g *guest) refused(err error) error {
	l := g.life
	if !gone(err) || l.opening().done() && l.opening().survives(g.crowd.outagesOf(l.node)) {
		return err
	}
	g.w.history.note(func() { l.ended, l.held, l.lostAt, l.losses = endRefused, false, g.lost, l.losses+1 })
	g.crowd.count(func(f *nodeFigures) { f.young++ })
	g.life = nil
	return nil
}

// comeBack is one try to come back at any node.
func (g *guest) comeBack() {
	from := g.at
	g.move(g.crowd.anyNode(g.random))
	l := g.life
	if asked, _ := l.bye(); asked {
		err := g.goodbye()
		if gone(err) { // it was stored, or the session was lost before
			g.w.history.note(func() { l.byes[len(l.byes)-1].acked, l.ended, l.held = time.Now(), endClosed, false })
			g.life, err = nil, nil
		}
		g.failed("the goodbye", err)
		return
	}
	how := resumes
	if !l.opening().done() || !l.held {
		how = opens
	}
	sent := time.Now()
	g.doubt()
	g.began = sent
	err := g.connect(how, g.random.IntN(2) == 0)
	g.doubt()
	g.late(l, sent, err)
	if err == nil {
		g.back(sent)
		return
	}
	if err = g.refused(err); err == nil {
		return
	}
	if gone(err) {
		g.w.blame("node %d refused the return of %s, session %s, %v after its loss at node %d: %v", g.at+1, g.user, l.public, sent.Sub(g.lost).Round(time.Millisecond), from+1, err)
		g.crowd.tell(l)
		g.w.history.note(func() { l.ended, l.held = endRefused, false })
		g.life = nil
		return
	}
	g.failed("the return", err)
	g.next = time.Now().Add(50*time.Millisecond + time.Duration(g.random.Int64N(int64(250*time.Millisecond))))
}

// doubt notes, once while it is away, that its session may have been closed, and opens
// anew; also one whose opening nobody answered, and one whose return came through too
// late.
func (g *guest) doubt() {
	if l := g.life; !g.doubted && l.held && l.opening().asked() && time.Since(g.lost) > nodesGrace-graceMargin {
		g.doubted = true
		g.crowd.toldLate(g.user)
		g.w.history.note(func() { l.doubtful, l.losses = l.doubtful+1, l.losses+1 })
		g.crowd.count(func(f *nodeFigures) { f.doubtful++ })
	}
}

// slowRefusal is how long the refusal of an opening takes, at least, of which the log
// may have a record: then it is shown until it is undone (docs/design/007, open
// issues).
const slowRefusal = 5 * time.Second

// late notes that an opening may have been stored although it was refused, or not
// answered.
func (g *guest) late(l *life, sent time.Time, err error) {
	if err != nil && (reasonOf(err) == "" || time.Since(sent) > slowRefusal) {
		g.w.history.note(func() { l.doubtful, l.losses = l.doubtful+1, l.losses+1 })
		g.crowd.count(func(f *nodeFigures) { f.late++ })
	}
}

// back settles a return.
func (g *guest) back(sent time.Time) {
	away := sent.Sub(g.lost)
	g.crowd.count(func(f *nodeFigures) {
		f.returns++
		if away <= nodesGrace-graceMargin {
			f.inTime++
		}
	})
	g.lost, g.doubted = time.Time{}, false
	g.settled()
	c := g.line.connected
	if c.GetResync() {
		clear(g.unsure)
	}
	if !c.GetResync() || len(g.life.watches) == 0 {
		return
	}
	var users []string
	g.w.history.note(func() {
		for u := range g.life.watches {
			users = append(users, u)
			g.life.watches[u] = act{sent: sent} // what was declared before need not deliver any more
		}
	})
	g.failed("subscribing again", g.subscribe(users...))
}

// settled notes where the session is now.
func (g *guest) settled() {
	g.proof = g.began
	g.w.history.note(func() { g.life.node = g.at })
}

// once does one thing at its node, or a call at another one.
func (g *guest) once() error {
	switch n := g.random.IntN(100); {
	case n < 45:
		return g.anywhere(func() error { return g.update(false) })
	case n < 57:
		return g.anywhere(func() error { return g.update(true) })
	case n < 63:
		g.hidden = !g.hidden
		return g.anywhere(func() error { return g.update(g.random.IntN(2) == 0) })
	case n < 70:
		return g.anywhere(func() error { return g.subscribe(g.someUsers()...) })
	case n < 73:
		for u := range g.life.watches {
			err := g.unsubscribe(u)
			if g.ear.drop(u); err != nil {
				g.unsure[u] = true // a snapshot would not say what closed meanwhile
			}
			return err
		}
		return nil
	case n < 79:
		return g.anywhere(g.goodbye)
	case n < 83:
		g.unlink(time.Now())
		g.next = time.Now()
		return nil
	case n < 85:
		g.unlink(time.Now())
		g.forget()
	}
	return nil
}

// anywhere runs a call, sometimes at another node than the session's.
func (g *guest) anywhere(call func() error) error {
	if g.random.IntN(4) > 0 {
		sent := time.Now()
		err := call()
		if err == nil {
			g.proof = sent
		}
		return err
	}
	conn, err := dial(g.crowd.fleet.nodes[g.crowd.anyNode(g.random)].grpc)
	if err != nil {
		return err
	}
	defer conn.Close()
	own := g.stub
	g.stub = isonlinev1.NewIsOnlineServiceClient(conn)
	defer func() { g.stub = own }()
	return call()
}

// someUsers picks whom to watch.
func (g *guest) someUsers() []string {
	users := make([]string, 1+g.random.IntN(4))
	for i := range users {
		users[i] = g.crowd.users[g.random.IntN(len(g.crowd.users))]
	}
	return users
}

// close ends it with the test.
func (g *guest) close() {
	g.drop()
	g.conn.Close()
}

// failed blames an error that nothing of what happens here explains. A call that
// was forwarded to a node that went then is answered by nobody.
func (g *guest) failed(doing string, err error) {
	if status.Code(err) != codes.DeadlineExceeded {
		g.device.failed(doing, err)
	}
}
