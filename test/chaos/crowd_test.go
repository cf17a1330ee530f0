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
	ears     *ears
	named    map[string]bool // users of patrons
	users    []string
	guests   []*guest
	watchers []*guest
	random   *rand.Rand
	conns    []*grpc.ClientConn // of queries, by node
	client   *http.Client
	pace     time.Duration // the most between two things that a guest does
	tooLate  time.Duration // after it nobody's session is open any more

	all          []string      // users of guests and patrons
	patrons      []*patron     // cheap guests
	onlookers    []*patron     // who watch everybody at the live door
	patronPace   time.Duration // as pace, of patrons
	mayStick     bool
	entry, born  time.Time
	doubtedUntil time.Time
	read         []int       // of each node: how much of its log was looked at
	awayUntil    []time.Time // of each node: when it was last away; guarded by fleet.mu

	lateIn map[string]time.Time // users of whose last seen webhooks may know less, and since when; guarded by history

	left    []ghost // guarded by world.mu, as is found
	found   nodeFigures
	counted nodeFigures // before the round
}

// nodeFigures are what is printed at the end.
type nodeFigures struct {
	rounds                          map[string]int
	returns, inTime                 int // returns of guests; those within their grace
	young, doubtful, flaps, lost    int
	late                            int // openings that were refused late, and may have been stored
	ghosts                          int
	worstDoors, worstHook, worstAll time.Duration // R1 at doors, at the webhook, and R6
	worstStop, worstKnew            time.Duration
	stories                         []*life // to be told at the end
	lives, openings                 int
	closings, updates               int
	questions, unanswered, stale    int
	alone, stuck                    int
	memory                          float64       // the most of a node, MB
	seenOwn, seenWith               time.Duration // R12
	goodbyes                        int           // guests whose last seen was held against it
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

// sizeOf is what an environment variable says, or usual.
func sizeOf(t *testing.T, name string, least, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least {
		t.Fatalf("%s: %q is not a number from %d on", name, text, least)
	}
	return n
}

// newCrowd starts a fleet and lets everybody in.
func newCrowd(t *testing.T, set setting, seed uint64) *crowd {
	t.Helper()
	w := &crowd{born: time.Now(), random: rand.New(rand.NewPCG(seed, 7)), tooLate: 14 * time.Second, found: nodeFigures{rounds: map[string]int{}}}
	w.hook, w.ears = newHookAt(t, set.hookAddr(t)), newEarsAt(t, set.hookAddr(t))
	w.hook.tape = newTape()
	set.app += w.appOf()
	w.fleet = newFleet(t, set)
	w.awayUntil = make([]time.Time, set.count)
	size := sizeOf(t, "PORCHLIGHT_CHAOS_GUESTS", 3, 150)
	w.pace = max(mostPause, time.Duration(size)*5*time.Millisecond)
	for i := range max(2, size*2/3) {
		w.users = append(w.users, fmt.Sprintf("u%04d", i))
	}
	w.nameEverybody(t)
	signed := append([]string{}, w.all...)
	for i := range set.count {
		signed = append(signed, fmt.Sprintf("watcher%d", i), fmt.Sprintf("onlooker%d", i))
	}
	w.world = newWorld(t, w.fleet.nodes[0], seed, signed)
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
		w.watchers[i].keep = true
	}
	for i := range size {
		w.guests = append(w.guests, w.newGuest(t, w.users[i%len(w.users)], i))
	}
	w.newPatrons(t)
	w.enterAll(t)
	return w
}

func (w *crowd) newGuest(t *testing.T, user string, number int) *guest {
	t.Helper()
	d, err := w.newDevice(user, "", uint64(number)+100)
	if err != nil {
		t.Fatal(err)
	}
	d.ear = newLedger(w.keyOf)
	g := &guest{device: d, crowd: w, place: number, unsure: map[string]bool{}}
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
			for some := range slices.Chunk(w.all, 200) {
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
	w.enterPatrons(t)
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

// busy runs f while everybody does what guests do, and nodes are asked.
func (w *crowd) busy(f func() error) error {
	w.count(func(f *nodeFigures) {
		w.counted = *f
		w.counted.rounds = maps.Clone(f.rounds)
	})
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { w.together(w.everybody(), func(g *guest) { g.live(stop) }) })
	for _, p := range w.everyPatron() {
		all.Go(func() { p.live(stop) })
	}
	for i := range probeCount {
		random := rand.New(rand.NewPCG(w.seed, uint64(time.Now().UnixNano()+int64(i))))
		all.Go(func() { w.probe(stop, random) })
	}
	err := f()
	close(stop)
	all.Wait()
	w.doubtPatrons()
	return err
}

// probeCount is how many ask at once.
const probeCount = 2

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

// undo takes the figures of a round back that does not count.
func (w *crowd) undo() {
	w.count(func(f *nodeFigures) { *f = w.counted })
}

// print shows the figures, and writes the report.
func (w *crowd) print(t *testing.T) {
	t.Helper()
	all := everybody(w.history)
	w.history.note(func() { w.found.add(all) })
	f, r := w.found, w.measured()
	r.write(t)
	var b strings.Builder
	row := func(name string, value any) { fmt.Fprintf(&b, "  %-66s %v\n", name, value) }
	for _, name := range slices.Sorted(maps.Keys(f.rounds)) {
		row("rounds of "+name, f.rounds[name])
	}
	row("nodes / guests and patrons / sessions of guests", fmt.Sprintf("%d / %d and %d / %d", r.Nodes, r.Guests, r.Patrons, f.lives))
	row("acknowledged openings / closings / statuses", fmt.Sprintf("%d / %d / %d", r.Openings, r.Closings, r.Statuses))
	row("notices to those who watch all / events told to webhooks / repeats", fmt.Sprintf("%d / %d / %d", r.Notices, r.Events, r.Repeats))
	row("returns / within the grace (R3: of them nobody saw anything)", fmt.Sprintf("%d / %d", f.returns, f.inTime))
	row("changes that no device explains (R3, R9; must be 0)", f.flaps)
	row("sessions lost or wrong (R4, R6; must be 0)", f.lost)
	row("ghosts of killed nodes; the last gone at all doors (R1, 10 s)", fmt.Sprintf("%d, %v", f.ghosts, r.Doors))
	row("the last told to the webhook (R1, 12 s; 15 s)", r.Hook)
	row("worst time until all nodes and watchers agreed (R6, 5 s)", r.Agree)
	row("worst time until the webhook knew everything", f.worstKnew.Round(time.Millisecond))
	row("longest stop after SIGTERM", r.Stop)
	row("times that a watcher did not read (R7); most memory of a node", fmt.Sprintf("%d, %.0f MB", r.Stuck, r.Memory))
	row("questions while faults are played / to a node alone (R8) / refused / stale", fmt.Sprintf("%d / %d / %d / %d", f.questions, f.alone, f.unanswered, f.stale))
	row("worst last seen, of who went / of who was lost (R12, 1 s; 36 s)", fmt.Sprintf("%v, %v", r.SeenOwn, r.SeenWith))
	row("gRPC devices whose last seen was held against their last word", f.goodbyes)
	row("refused because not noted yet / returns too late to be judged", fmt.Sprintf("%d / %d", f.young, f.doubtful))
	row("openings refused so late that they may have been stored", f.late)
	row("violations", r.Violations)
	t.Logf("seed %d\n%s", w.seed, b.String())
}

// mostMemory is R7: how many megabytes a node may take, and how many more for each
// who comes. Three times what was measured; a node that keeps what it cannot send
// takes more soon.
const (
	mostMemory     = 400.0
	mostMemoryEach = 0.2
)

// tooHeavy is R7, or "".
func (w *crowd) tooHeavy(node int, mb float64) string {
	people := len(w.everybody()) + len(w.everyPatron())
	if limit := mostMemory + mostMemoryEach*float64(people); mb > limit {
		return fmt.Sprintf("R7: node %d takes %.0f MB with %d devices, at most %.0f", node+1, mb, people, limit)
	}
	return ""
}

// memoryOf reads megabytes in use from what the system says of a process; 0: it does
// not say.
func memoryOf(status string) (mb float64) {
	for line := range strings.Lines(status) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, _ = fmt.Sscan(text, &mb) // zero where it says something else
		}
	}
	return mb / 1024
}

// weigh notes how much memory the nodes take, where the system tells.
func (w *crowd) weigh() {
	for _, i := range w.fleet.there() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.fleet.nodes[i].cmd.Process.Pid))
		if err != nil {
			continue
		}
		mb := memoryOf(string(b))
		w.count(func(f *nodeFigures) { f.memory = max(f.memory, mb) })
		if wrong := w.tooHeavy(i, mb); wrong != "" {
			w.blame("%s", wrong)
		}
	}
}
