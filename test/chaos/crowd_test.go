package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// ghost is a session that nobody comes back to.
type ghost struct {
	life  *life
	node  int // where it was
	since time.Time
}

// crowd is a fleet with its guests and watchers.
type crowd struct {
	*world
	fleet    *fleet
	hook     *hook
	users    []string
	guests   []*guest
	watchers []*guest
	random   *rand.Rand
	conns    []*grpc.ClientConn // of queries, by node
	client   *http.Client
	pace     time.Duration // the most between two things that a guest does
	tooLate  time.Duration // after it nobody's session is open any more

	left  []ghost // guarded by world.mu, as is found
	found nodeFigures
}

// nodeFigures are what is printed at the end.
type nodeFigures struct {
	rounds                          map[string]int
	returns, inTime                 int // returns of guests; those within their grace
	young, doubtful, flaps, lost    int
	ghosts                          int
	worstDoors, worstHook, worstAll time.Duration // R1 at doors, at the webhook, and R6
	worstStop, worstKnew            time.Duration
	stories                         []*life // to be told at the end
	lives, openings                 int
	closings, updates               int
}

// add counts what was acknowledged of lives.
func (f *nodeFigures) add(lives []*life) {
	f.lives += len(lives)
	for _, l := range lives {
		for _, o := range l.opens {
			f.openings += count(o)
		}
		for _, b := range l.byes {
			f.closings += count(b)
		}
		f.updates += l.saidBy()
	}
}

// doorOf is where a guest finds a node. Those who watch all stay out of trouble.
func (w *crowd) doorOf(g *guest, node int) string {
	if g.keep {
		return w.fleet.nodes[node].grpc
	}
	return w.fleet.door(node, g.place)
}

func (w *crowd) count(f func(*nodeFigures)) {
	w.note(func(*figures) { f(&w.found) })
}

// leave notes a ghost.
func (w *crowd) leave(g ghost) {
	w.note(func(*figures) { w.left = append(w.left, g) })
}

// ghostsOf are the ghosts of a node since a time.
func (w *crowd) ghostsOf(node int, since time.Time) (list []ghost) {
	w.note(func(*figures) {
		for _, g := range w.left {
			if g.node == node && !g.since.Before(since) {
				list = append(list, g)
			}
		}
	})
	return list
}

// anyNode picks one that is there.
func (w *crowd) anyNode(random *rand.Rand) int {
	there := w.fleet.there()
	if len(there) == 0 {
		return random.IntN(len(w.fleet.nodes))
	}
	return there[random.IntN(len(there))]
}

// lostAt is when a link to a node that began then and has ended was lost, at the
// earliest: a guest that waits for an answer finds out late.
func (w *crowd) lostAt(node int, began time.Time) time.Time {
	if went := w.fleet.wentAt(node); went.After(began) {
		return went
	}
	return time.Now()
}

// crowdSize is PORCHLIGHT_CHAOS_GUESTS, or a few.
func crowdSize(t *testing.T) int {
	t.Helper()
	text := os.Getenv("PORCHLIGHT_CHAOS_GUESTS")
	if text == "" {
		return 150
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 3 {
		t.Fatalf("PORCHLIGHT_CHAOS_GUESTS: %q is not a number of guests", text)
	}
	return n
}

// newCrowd starts a fleet and lets everybody in.
func newCrowd(t *testing.T, set setting, seed uint64) *crowd {
	t.Helper()
	w := &crowd{random: rand.New(rand.NewPCG(seed, 7)), tooLate: 14 * time.Second, found: nodeFigures{rounds: map[string]int{}}}
	w.hook = newHook(t)
	w.hook.tape = newTape()
	set.app += fmt.Sprintf("    server_keys: [{id: k1, secret: %s}]\n    webhooks: {main: {url: %q, secrets: [%s], allow_private: true}}\n", serverKey, w.hook.url, w.hook.secret)
	w.fleet = newFleet(t, set)
	size := crowdSize(t)
	w.pace = max(mostPause, time.Duration(size)*5*time.Millisecond)
	for i := range max(2, size*2/3) {
		w.users = append(w.users, fmt.Sprintf("u%04d", i))
	}
	all := append([]string{}, w.users...)
	for i := range set.count {
		all = append(all, fmt.Sprintf("watcher%d", i))
	}
	w.world = newWorld(t, w.fleet.nodes[0], seed, all)
	w.client = &http.Client{Timeout: callLimit}
	t.Cleanup(w.client.CloseIdleConnections)
	for i := range set.count {
		conn, err := dial(w.fleet.nodes[i].grpc)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		w.conns = append(w.conns, conn)
		w.watchers = append(w.watchers, w.newGuest(t, fmt.Sprintf("watcher%d", i), size+i))
		w.watchers[i].keep, w.watchers[i].ear = true, newLedger(func(_, session string) string { return session })
	}
	for i := range size {
		w.guests = append(w.guests, w.newGuest(t, w.users[i%len(w.users)], i))
	}
	w.enterAll(t)
	return w
}

func (w *crowd) newGuest(t *testing.T, user string, number int) *guest {
	t.Helper()
	d, err := w.newDevice(user, "", uint64(number)+100)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{device: d, crowd: w, place: number}
	t.Cleanup(g.close)
	return g
}

// enterAll starts the nodes; watchers watch everybody, one at each node, and
// guests come.
func (w *crowd) enterAll(t *testing.T) {
	t.Helper()
	if err := w.fleet.start(w.fleet.all()...); err != nil {
		t.Fatal(err)
	}
	for i, g := range w.watchers {
		g.move(i)
		err := g.make()
		if err == nil {
			for some := range slices.Chunk(w.users, 200) {
				if err == nil {
					err = g.subscribe(some...)
				}
			}
		}
		if err == nil {
			err = g.connect(opens, true)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.together(w.guests, func(g *guest) { g.step() })
	pause(w.ctx.Done(), 2*noteDelay)
}

// together runs f for all guests at once and waits for all.
func (w *crowd) together(guests []*guest, f func(*guest)) {
	var all sync.WaitGroup
	for _, g := range guests {
		all.Go(func() { f(g) })
	}
	all.Wait()
}

func (w *crowd) everybody() []*guest { return append(append([]*guest{}, w.guests...), w.watchers...) }

// busy runs f while everybody does what guests do.
func (w *crowd) busy(f func() error) error {
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { w.together(w.everybody(), func(g *guest) { g.live(stop) }) })
	err := f()
	close(stop)
	all.Wait()
	return err
}

// see asks one node as a stranger for users.
func (w *crowd) see(node int, users []string) (view, error) {
	stub := isonlinev1.NewIsOnlineServiceClient(w.conns[node])
	v := view{}
	for some := range slices.Chunk(users, 200) {
		ctx, cancel := context.WithTimeout(w.as(w.ctx, w.asker), callLimit)
		answer, err := stub.BatchGetUserIsOnline(ctx, &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: some})
		cancel()
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", node+1, err)
		}
		for _, u := range answer.GetUsers() {
			if v[u.GetUserId()], err = personOf(u); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// ownAt asks one node as each user.
func (w *crowd) ownAt(node int) (view, error) {
	there := world{ctx: w.ctx, jwts: w.jwts, stub: isonlinev1.NewIsOnlineServiceClient(w.conns[node])}
	return there.owns(w.users)
}

// snapshotAt is what GET /api/v1/snapshot has at one node.
func (w *crowd) snapshotAt(node int) (map[string]known, error) {
	v := visitors{world: &world{ctx: w.ctx, node: w.fleet.nodes[node]}, client: w.client}
	return v.snapshot()
}

// print shows the figures.
func (w *crowd) print(t *testing.T) {
	t.Helper()
	all := everybody(w.history)
	notices := 0
	for _, g := range w.watchers {
		g.ear.mu.Lock()
		notices += g.ear.notices
		g.ear.mu.Unlock()
	}
	events, repeats := w.hook.tape.counts()
	w.history.note(func() { w.found.add(all) })
	f := w.found
	var b strings.Builder
	row := func(name string, value any) { fmt.Fprintf(&b, "  %-66s %v\n", name, value) }
	for _, name := range slices.Sorted(maps.Keys(f.rounds)) {
		row("rounds of "+name, f.rounds[name])
	}
	row("nodes / guests / sessions", fmt.Sprintf("%d / %d / %d", len(w.fleet.nodes), len(w.guests), f.lives))
	row("acknowledged openings / closings / statuses", fmt.Sprintf("%d / %d / %d", f.openings, f.closings, f.updates))
	row("notices to those who watch all / events told to the webhook / repeats", fmt.Sprintf("%d / %d / %d", notices, events, repeats))
	row("returns / within the grace (R3: of them nobody saw anything)", fmt.Sprintf("%d / %d", f.returns, f.inTime))
	row("changes that no device explains (R3, R9; must be 0)", f.flaps)
	row("sessions lost or wrong (R4, R6; must be 0)", f.lost)
	row("ghosts of killed nodes; the last gone at all doors (R1, 10 s)", fmt.Sprintf("%d, %v", f.ghosts, f.worstDoors.Round(time.Millisecond)))
	row("the last told to the webhook (R1, 12 s; 15 s)", f.worstHook.Round(time.Millisecond))
	row("worst time until all nodes and watchers agreed (R6, 5 s)", f.worstAll.Round(time.Millisecond))
	row("worst time until the webhook knew everything", f.worstKnew.Round(time.Millisecond))
	row("longest stop after SIGTERM", f.worstStop.Round(time.Millisecond))
	row("refused because not noted yet / returns too late to be judged", fmt.Sprintf("%d / %d", f.young, f.doubtful))
	row("violations", w.figures.violations)
	t.Logf("seed %d\n%s", w.seed, b.String())
}
