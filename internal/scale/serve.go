package scale

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/bench"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// logBytes is the most that a node's log may take: a million openings are a
// quarter of it.
const logBytes = 1 << 30

// Config says which node to run. All fields are required.
type Config struct {
	bench.Place
	Version string
	Logger  *slog.Logger
}

// node is a node and what was opened on it.
type node struct {
	app   *app.App
	crowd crowd
}

// Serve runs one node: when it takes calls and has the sessions of the others it
// says so to out, then does what in orders, one after the other, until in ends. It
// returns the first error that is not an order's own.
func Serve(ctx context.Context, cfg Config, in io.Reader, out io.Writer) (err error) {
	n, err := start(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		err = errors.Join(err, n.app.Stop(ctx))
	}()
	if err := bench.Ready(out, n.app.HTTPAddr().String()); err != nil {
		return err
	}
	answers := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); ctx.Err() == nil && lines.Scan(); {
		var o bench.Order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("scale: an order cannot be read: %w", err)
		}
		if err := answers.Encode(n.obey(ctx, o)); err != nil {
			return fmt.Errorf("scale: answer: %w", err)
		}
	}
	return nil
}

// stopLimit is how long a node may take to end: nothing of it is needed then.
const stopLimit = 3 * time.Second

// start makes the node and starts it.
func start(ctx context.Context, cfg Config) (*node, error) {
	c, err := config.DevelopmentWith("PORCHLIGHT_PEERS_PASSWORD=" + cfg.Password)
	if err != nil {
		return nil, err
	}
	c.Listen.HTTP, c.Listen.GRPC = "127.0.0.1:0", "127.0.0.1:0"
	c.Data, c.LogMaxBytes, c.Node = cfg.Data, logBytes, cfg.Name
	c.Peers.Listen, c.Peers.Nodes = cfg.Peers[0], cfg.Peers
	engine, err := c.Engine()
	if err != nil {
		return nil, err
	}
	a, err := app.New(app.Params{
		Config: c, Version: cfg.Version, Logger: cfg.Logger,
		Nodes: &app.Nodes{Name: cfg.Name, Peers: engine.Peers, Prefix: engine.Prefix, Fingerprint: c.Fingerprint()},
	})
	if err != nil {
		return nil, err
	}
	if err := a.Start(ctx); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		return nil, errors.Join(err, a.Stop(stop))
	}
	return &node{app: a, crowd: crowd{tracker: a.Tracker(), link: heard{a.Clock()}}}, nil
}

// obey does what one order says.
func (n *node) obey(ctx context.Context, o bench.Order) (s bench.Standing) {
	began := time.Now()
	var err error
	switch o.Do {
	case bench.DoOpen:
		s.Made, err = n.crowd.open(ctx, o.First, o.Count)
	case bench.DoChange:
		s.Made, err = n.crowd.change(ctx, o.Rate, time.Duration(o.Seconds)*time.Second)
	case bench.DoAwait:
		s.First, err = n.await(ctx, o.Count)
	case bench.DoRest:
		runtime.GC()
		runtime.GC()
		debug.FreeOSMemory()
	case bench.DoStand:
	default:
		err = fmt.Errorf("scale: %q is no order", o.Do)
	}
	s.Took = float64(time.Since(began)) / float64(time.Millisecond)
	if err != nil {
		s.Error = err.Error()
	}
	n.stand(&s)
	return s
}

// stand says how the node is doing.
func (n *node) stand(s *bench.Standing) {
	s.Online = n.online()
	counts := n.app.Cluster().Counts()
	s.Sent, s.Received, s.Gaps = counts.Sent.Changes, counts.Received.Changes, counts.Received.Gaps
	s.Repaired = counts.Repairs.Shards["gap"] + counts.Repairs.Shards["drift"]
	s.Copied = counts.Repairs.Sessions
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Heap = m.HeapAlloc
}

func (n *node) online() int { return n.app.Tracker().Count(loadApp).Users }

const (
	awaitLimit = 2 * time.Minute
	awaitLook  = time.Millisecond
)

// await waits until the node knows so many users who are online, and returns when
// their number began to change, in milliseconds since the order.
func (n *node) await(ctx context.Context, count int) (first float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, awaitLimit)
	defer cancel()
	look := time.NewTicker(awaitLook)
	defer look.Stop()
	began, before := time.Now(), n.online()
	for {
		now := n.online()
		if now != before && first == 0 {
			first = float64(time.Since(began)) / float64(time.Millisecond)
		}
		if now == count {
			return first, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return first, fmt.Errorf("scale: %d users are online, not %d, after %v", n.online(), count, awaitLimit)
		}
	}
}
