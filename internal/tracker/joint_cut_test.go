package tracker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// cutSeeds are histories that once failed.
var cutSeeds = []uint64{782129742, 1052433489}

// cutDevice is a device that lives while two nodes are cut from each other.
type cutDevice struct {
	m      *cutModel
	dice   *rand.Rand
	ref    Ref
	maker  uint64
	at     *member
	wire   *wire
	story  string
	bye    bool // said goodbye, and it was answered
	asked  bool // said goodbye
	late   bool // it came back so late, or was answered so late, that its session may have ended
	opened bool
}

func (d *cutDevice) tell(format string, args ...any) {
	d.story += fmt.Sprintf(" %v ", time.Since(d.m.began)) + fmt.Sprintf(format, args...)
}

type cutModel struct {
	*joint
	began     time.Time
	nodes     []*member
	onlookers onlookers
	devices   []*cutDevice
	stop      chan struct{}
	all       sync.WaitGroup
}

// TestJointModelOfCuts plays two of three nodes that are cut from each other, both
// ways or one way, while the log is written late by some and read late by others, and
// devices that come, say goodbye anywhere, go over to other nodes, and go. No watcher
// is told that a session closed and then that it is open again, nor of an end that its
// device does not explain; and who said goodbye is gone. PORCHLIGHT_JOINT is how many
// histories are played.
func TestJointModelOfCuts(t *testing.T) {
	t.Parallel()
	seeds := cutSeeds
	count := 10
	if testing.Short() {
		seeds, count = nil, 1
	}
	if n, err := strconv.Atoi(os.Getenv("PORCHLIGHT_JOINT")); err == nil {
		count = n
	}
	for range count {
		seeds = append(seeds, rand.Uint64N(1<<30))
	}
	if n, err := strconv.ParseUint(os.Getenv("PORCHLIGHT_JOINT_SEED"), 10, 64); err == nil {
		seeds = []uint64{n}
	}
	watch := rapidtest.Observe(t, 3*rapidtest.Limit)
	for _, seed := range seeds {
		watch.Play(fmt.Sprint("PORCHLIGHT_JOINT_SEED=", seed), func() {
			synctest.Test(t, func(t *testing.T) {
				for _, trouble := range playCuts(t, seed) {
					t.Errorf("history %d: %s", seed, trouble)
				}
			})
		})
	}
}

func playCuts(t *testing.T, seed uint64) (trouble []string) {
	j := newJoint(t, seed, presence.AllowAll)
	defer j.end()
	m := &cutModel{joint: j, began: time.Now(), stop: make(chan struct{})}
	m.nodes = []*member{j.all["a"], j.all["b"], j.all["c"]}
	m.onlookers = onlook(m.nodes...)
	dice := rand.New(rand.NewPCG(seed, 7))
	for i := range 24 {
		d := &cutDevice{m: m, dice: rand.New(rand.NewPCG(seed, uint64(100+i)))}
		m.devices = append(m.devices, d)
		m.all.Go(func() { d.live(presence.UserID(fmt.Sprint("u", i%8))) })
	}
	m.cuts(dice)
	close(m.stop)
	m.all.Wait()
	wait(12 * time.Second)
	return m.judge()
}

// cuts plays the faults.
func (m *cutModel) cuts(dice *rand.Rand) {
	m.pass(dice, 3*time.Second)
	for range 2 {
		i := dice.IntN(3)
		x, y := m.nodes[i], m.nodes[(i+1+dice.IntN(2))%3]
		m.net.Cut(x.name, y.name)
		if dice.IntN(3) > 0 {
			m.net.Cut(y.name, x.name)
		}
		cut := 2*time.Second + time.Duration(dice.Int64N(int64(14*time.Second)))
		var back []*time.Timer
		for _, n := range []*member{x, y} {
			if dice.IntN(3) > 0 {
				n.store.late.Store(true)
				back = append(back, time.AfterFunc(min(cut, time.Duration(dice.Int64N(int64(16*time.Second)))), func() { n.store.late.Store(false) }))
			}
			if dice.IntN(3) == 0 {
				n.store.slow.Store(true)
				back = append(back, time.AfterFunc(min(cut, time.Duration(dice.Int64N(int64(8*time.Second)))), func() { n.store.slow.Store(false) }))
			}
		}
		wait(cut)
		m.net.Heal()
		wait(200 * time.Millisecond)
		for _, n := range m.nodes {
			n.store.late.Store(false)
			n.store.slow.Store(false)
		}
		for _, b := range back {
			b.Stop()
		}
		m.pass(dice, 9*time.Second)
	}
}

func (m *cutModel) pass(dice *rand.Rand, most time.Duration) {
	wait(time.Duration(dice.Int64N(int64(most))))
}

func (d *cutDevice) over() bool {
	select {
	case <-d.m.stop:
		return true
	default:
		return false
	}
}

func (d *cutDevice) node() *member { return d.m.nodes[d.dice.IntN(3)] }

func (d *cutDevice) pause(most time.Duration) {
	<-time.After(10*time.Millisecond + time.Duration(d.dice.Int64N(int64(most))))
}

// live is what a device does: it comes, goes over to other nodes, and says goodbye or
// just goes, one of these for good.
func (d *cutDevice) live(id presence.UserID) {
	d.pause(20 * time.Second)
	if !d.enter(id) {
		return
	}
	for !d.over() {
		d.pause(1500 * time.Millisecond)
		if len(d.wire.ended()) > 0 {
			d.tell("link ended")
			if !d.comeBack() {
				return
			}
			continue
		}
		switch n := d.dice.IntN(10); {
		case n < 3:
			_, err := d.at.tr.Update(context.Background(), d.ref, func(old *presence.Status) (*presence.Status, error) {
				return &presence.Status{Show: presence.Show(d.dice.IntN(3)), Invisible: old.Invisible}, nil
			})
			d.tell("update %v", err)
		case n == 3:
			_, err := d.at.update(d.ref, presence.Status{Invisible: true})
			d.tell("hides %v", err)
			d.late = d.late || err != nil
		case n < 6:
			d.tell("unlinks")
			if !d.comeBack() {
				return
			}
		case n < 8:
			d.goodbye()
			return
		}
	}
}

func (d *cutDevice) enter(id presence.UserID) bool {
	n := d.node()
	made, err := n.tr.Make(context.Background(), MakeParams{User: presence.User{App: app, ID: id}, Device: presence.Device{Platform: "ios"}})
	if err != nil {
		return false
	}
	d.ref, d.maker, d.at = made.Ref, n.c.Self(), n
	d.m.onlookers.mind(d.ref, made.Public)
	if !d.connect(n) {
		d.late = true
		return false
	}
	d.opened = true
	return true
}

func (d *cutDevice) connect(n *member) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	w := &wire{}
	err := n.tr.Look(ctx, d.ref, d.maker)
	if err == nil {
		_, err = n.tr.Connect(ctx, d.ref, ConnectParams{Link: w, Addr: "192.0.2.1:1", Maker: d.maker})
	}
	d.tell("connect at %s %v", n.name, err)
	if err != nil {
		if fault.KindOf(err) == fault.SessionGone {
			d.late = true
		}
		return false
	}
	d.at, d.wire = n, w
	return true
}

// comeBack loses the link and tries to connect anywhere, until it may.
func (d *cutDevice) comeBack() bool {
	d.at.tr.LinkLost(d.ref, d.wire)
	lost := time.Now()
	for range 30 {
		d.pause(500 * time.Millisecond)
		ok := d.connect(d.node())
		d.late = d.late || time.Since(lost) > 5*time.Second
		if ok {
			return true
		}
	}
	d.late = true
	return false
}

func (d *cutDevice) goodbye() {
	n := d.at
	if d.dice.IntN(2) == 0 {
		n = d.node()
	}
	d.asked = true
	for range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := d.closeAt(ctx, n)
		cancel()
		d.tell("bye at %s %v", n.name, err)
		if err == nil || errors.Is(err, errGone) {
			d.bye = true
			break
		}
		d.pause(time.Second)
		n = d.node()
	}
	d.at.tr.LinkLost(d.ref, d.wire)
}

// closeAt is a goodbye at a node, whose door gives it to the one that made the session
// when nothing is known of it.
func (d *cutDevice) closeAt(ctx context.Context, n *member) error {
	if _, known := n.tr.OwnerOf(d.ref); !known && n.c.Self() != d.maker {
		for _, other := range d.m.nodes {
			if other.c.Self() == d.maker && d.dice.IntN(2) == 0 {
				n, known = other, true
			}
		}
		if !known {
			return errElsewhere
		}
	}
	_, err := n.tr.Close(ctx, d.ref, presence.ReasonLeft)
	return err
}

// judge says what was wrong.
func (m *cutModel) judge() (trouble []string) {
	for _, d := range m.devices {
		if !d.opened {
			continue
		}
		for i, n := range m.nodes {
			s := m.onlookers[i].of[d.ref.Session]
			ends := 0
			if d.asked {
				ends = 1
			}
			switch open := n.phase(d.ref).Open(); {
			case d.bye && open:
				trouble = append(trouble, fmt.Sprintf("%s shows %s, which said goodbye:%s; watchers:%s", n.name, d.ref.User.ID, d.story, s.story))
			case !d.late && (s.opened > 1 || s.closed > ends || s.shown > 1):
				trouble = append(trouble, fmt.Sprintf("a watcher at %s saw %s open %d (%d for others) and close %d times:%s; it:%s", n.name, d.ref.User.ID, s.opened, s.shown, s.closed, s.story, d.story))
			}
			for _, f := range n.tr.foldOf(d.ref) {
				if d.bye && !d.late && f.Reason != presence.ReasonLeft {
					trouble = append(trouble, fmt.Sprintf("%s has read that %s ended as %v:%s", n.name, d.ref.User.ID, f.Reason, d.story))
				}
			}
		}
	}
	return trouble
}

// foldOf is what the log says of a session.
func (t *Tracker) foldOf(ref Ref) []presence.FoldedSession {
	sh := t.shard(ref.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.known(ref.User); u != nil {
		if f := u.folded.Session(ref.Session); f != nil {
			return []presence.FoldedSession{*f}
		}
	}
	return nil
}
