package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// nodeRole makes this test program one node of several: a part in JSON.
const nodeRole = "PORCHLIGHT_CHAOS_NODE"

// part is what one node of several is made of.
type part struct {
	Name, Config, Data, GRPC, HTTP string
	Clock                          string // file that says how wrong its clock is
	Wordy                          bool   // its log says what the engine says, who leads which stream with it

	Listen  string   // where its engine listens for the others' engines; empty: Servers
	Peers   []string // where all engines listen
	Servers []string // of a NATS cluster
}

// beNode runs a node until SIGTERM, as the command does.
func beNode(text string) error {
	var p part
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	c, err := config.Load(p.Config)
	if err != nil {
		return err
	}
	c.Data, c.Listen.GRPC, c.Listen.HTTP = p.Data, p.GRPC, p.HTTP
	n := &app.Nodes{Name: p.Name}
	if p.Listen != "" {
		n.Peers = &natsbus.Peers{Name: p.Name, Listen: p.Listen, Peers: p.Peers, Password: "among us"}
	} else {
		n.Cluster = &natsbus.Cluster{URLs: p.Servers, Synced: true}
	}
	level := slog.LevelInfo
	if p.Wordy {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	a, err := app.New(app.Params{Config: c, Nodes: n, Usage: natsstore.Room(1 << 40), Logger: log, Version: "chaos"})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go followClock(ctx, p.Clock)
	if err = a.Start(ctx); err == nil {
		select {
		case <-ctx.Done():
		case err = <-a.Failed():
		}
	}
	stopping, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if e := a.Stop(stopping); err == nil {
		err = e
	}
	return err
}

// fleet is the nodes of one cluster, each a process of its own.
type fleet struct {
	nodes   []*node
	servers *natsbustest.Servers // where the store is; nil: with the nodes
	server  int                  // the last one that was harmed
	steps   bool                 // clocks can be set
	cables

	mu   sync.Mutex  // guards all below
	away []time.Time // of each node: since when devices that dial pass it over; zero: they do not
	went []time.Time // of each node: when its process last went, or was stopped
}

// setting is how a fleet is built.
type setting struct {
	count    int
	settings string // of the configuration, beside the apps
	app      string // more lines of the app's
	policy   string
	wordy    bool                 // logs say who leads which stream
	stepping string               // this test program with a clock that can be set; empty: it cannot
	servers  *natsbustest.Servers // nil: the engines form the cluster
	network  *network             // nil: loopback
	binary   string               // of the command; empty: this test program plays it
}

// hookAddr is where nodes reach a receiver of webhooks.
func (s *setting) hookAddr(t *testing.T) string {
	t.Helper()
	if s.network == nil {
		return freeAddr(t)
	}
	return s.network.addr(ourHost) + ":0"
}

// newFleet prepares the nodes; none is started.
func newFleet(t *testing.T, set setting) *fleet {
	t.Helper()
	f := &fleet{away: make([]time.Time, set.count), went: make([]time.Time, set.count), servers: set.servers, steps: set.stepping != "", cables: cables{network: set.network}}
	secret := fmt.Sprintf("%016x%016x%016x", rand.Uint64(), rand.Uint64(), rand.Uint64())
	issuer := token.Issuer{App: "demo", Issuer: "https://id.chaos.test", Audience: "demo", Keys: []token.Key{{ID: "k", Secret: []byte(secret)}}}
	at := func(i int) string {
		if set.network == nil {
			return freeAddr(t)
		}
		return fmt.Sprintf("%s:%d", set.network.addr(i), firstPort+rand.IntN(lastPort-firstPort))
	}
	var peers []string
	for i := range set.count {
		peers = append(peers, at(i))
	}
	root := t.TempDir()
	if dir := os.Getenv("PORCHLIGHT_CHAOS_DIR"); dir != "" {
		root = filepath.Join(dir, t.Name())
	}
	for i := range set.count {
		name := fmt.Sprintf("n%d", i+1)
		n := &node{program: cmp.Or(set.stepping, os.Args[0]), args: []string{"-test.run=^$"}, dir: filepath.Join(root, name), grpc: at(i), http: at(i), issuer: issuer}
		if set.network != nil {
			all := set.network.at(i, append([]string{n.program}, n.args...)...)
			n.program, n.args = all[0], all[1:]
		}
		n.settings = fmt.Sprintf("apps:\n  demo:\n    jwt: {issuer: %s, audience: demo, keys: [{id: k, secret: %q}]}\n    policy: {%s}\n%s",
			issuer.Issuer, secret, set.policy, set.app)
		if set.binary != "" {
			n.makeRoom(t)
		}
		n.prepare(t)
		n.configure(t, set.settings)
		p := part{Name: name, Config: n.configFile(), Data: n.data(), GRPC: n.grpc, HTTP: n.http, Clock: clockFile(n), Wordy: set.wordy}
		f.cables.lay(t, set, i, peers, &p)
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		n.role = string(b)
		if set.binary != "" {
			n.program, n.role = set.binary, ""
			n.args = []string{"--node", name, "--peers", strings.Join(append([]string{peers[i]}, slices.Delete(slices.Clone(peers), i, i+1)...), ",")}
		}
		f.nodes = append(f.nodes, n)
	}
	return f
}

// start starts nodes at once and waits until all are ready.
func (f *fleet) start(which ...int) error {
	for _, i := range which {
		if err := f.nodes[i].start(); err != nil {
			return err
		}
	}
	for _, i := range which {
		if _, _, err := f.nodes[i].ready(); err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
		f.set(i, false)
	}
	return nil
}

// set says that a node went now, or is there again.
func (f *fleet) set(i int, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away[i] = time.Time{}
	if gone {
		f.away[i] = time.Now()
		f.went[i] = f.away[i]
	}
}

// kill ends a node with -9 and says when.
func (f *fleet) kill(i int) time.Time {
	f.set(i, true)
	f.nodes[i].kill()
	return f.wentAt(i)
}

// signal sends a node a signal.
func (f *fleet) signal(i int, s syscall.Signal) error { return f.nodes[i].cmd.Process.Signal(s) }

func (f *fleet) wentAt(i int) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.went[i]
}

// there are the nodes that a device may dial.
func (f *fleet) there() (list []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, t := range f.away {
		if t.IsZero() {
			list = append(list, i)
		}
	}
	return list
}

// all are all nodes.
func (f *fleet) all() (list []int) {
	for i := range f.nodes {
		list = append(list, i)
	}
	return list
}
