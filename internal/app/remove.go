package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

const (
	// visitLimit bounds the wait until the engines of running nodes let us in.
	visitLimit = 15 * time.Second

	// goneAfter is how long a node must have been silent to be taken away.
	goneAfter = 10 * time.Second
)

// StorageOf is where the running nodes of a configuration have their data.
func StorageOf(c *config.Config) (Storage, error) {
	e, err := c.Engine()
	if err != nil {
		return Storage{}, fmt.Errorf("configuration: %w", err)
	}
	switch {
	case e.Peers != nil:
		e.Dir, e.Visitor, e.Peers.Name = "", true, natsbus.VisitorName()
	case e.Cluster != nil:
		e.Dir = ""
	default:
		return Storage{}, errors.New("the configuration is that of one node alone: name the nodes of a cluster (peers.nodes, --peers), or the servers of one (cluster.urls, --cluster)")
	}
	return Storage{engine: &e}, nil
}

// visit opens the engine that runs.
func (s *Storage) visit(ctx context.Context) (*natsbus.Bus, error) {
	cfg := *s.engine
	cfg.Logger = s.Logger
	bus, err := natsbus.New(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, visitLimit)
	defer cancel()
	if err := bus.Start(ctx); err != nil {
		return nil, errors.Join(err, bus.Stop(ctx))
	}
	return bus, nil
}

// Removed is what a removal left.
type Removed struct {
	Removed string   `json:"removed"`
	Nodes   []string `json:"nodes"`   // that are left
	Streams int      `json:"streams"` // all of which have their copies
}

// RemoveNode takes a node that is gone for good out of a cluster that its nodes
// form, while the others run, and returns when they have made the copies anew that
// it had. It is refused while the node runs, and where anything would have less
// than a majority of its copies meanwhile. told hears how many streams lack copies.
func RemoveNode(ctx context.Context, from Storage, name string, told func(lacking, all int)) (Removed, error) {
	if from.engine == nil || !from.engine.Visitor {
		return Removed{}, errors.New("the nodes of a NATS cluster keep no data: one that is gone for good needs no removal")
	}
	bus, stop, err := from.bus(ctx)
	if err != nil {
		return Removed{}, err
	}
	defer stop()
	id, left, err := gone(ctx, bus.Engines, name)
	if err != nil {
		return Removed{}, err
	}
	if err := copied(ctx, bus, name); err != nil {
		return Removed{}, err
	}
	if err := bus.RemoveEngine(ctx, id); err != nil {
		return Removed{}, err
	}
	all, err := recopied(ctx, bus, name, told)
	if err != nil {
		return Removed{}, fmt.Errorf("%s is removed, and copies of what it had are still being made at the others; `porchlight cluster status` shows how far they are: %w", name, err)
	}
	return Removed{Removed: name, Nodes: left, Streams: all}, nil
}

// gone is the engine's id of a node that may be removed, and who is left. A leader
// of the engines that was elected since has never heard the node, and cannot say
// for how long it is silent: then that is waited for.
func gone(ctx context.Context, ask func(context.Context) ([]natsbus.Engine, error), name string) (id string, left []string, err error) {
	look := time.NewTicker(membersLook)
	defer look.Stop()
	var since time.Time
	for {
		engines, err := ask(ctx)
		if err != nil {
			return "", nil, err
		}
		if since.IsZero() {
			since = time.Now()
		}
		found, left, err := removable(engines, name)
		switch {
		case err != nil:
			return "", nil, err
		case found.Silent >= goneAfter || found.Silent == 0 && time.Since(since) >= goneAfter:
			return found.ID, left, nil
		case found.Silent > 0:
			return "", nil, fmt.Errorf("%s was heard %s ago, and may only stand still: if it is gone for good, try again in %s", name, found.Silent.Round(time.Second), goneAfter)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return "", nil, ctx.Err()
		}
	}
}

// removable is a node that does not run and is not needed, and who is left.
func removable(engines []natsbus.Engine, name string) (found natsbus.Engine, left []string, err error) {
	var all []string
	for _, e := range engines {
		if e.ID == natsbus.EngineID(name) {
			found = e
			all = append(all, name)
			continue
		}
		all, left = append(all, e.Name), append(left, e.Name)
	}
	switch {
	case found.ID == "":
		return found, nil, fmt.Errorf("there is no node %q: the members are %s", name, strings.Join(all, ", "))
	case len(left) < leastMembers:
		return found, nil, fmt.Errorf("%s cannot be taken away: %s would be left, and a cluster has %d nodes or more. "+
			"Put another in its place (the same name, an empty data directory), or add a node first", name, strings.Join(left, " and "), leastMembers)
	case found.Running:
		return found, nil, fmt.Errorf("%s is running: stop it first, and see that it does not start again", name)
	}
	return found, left, nil
}

// copied refuses where a stream has no majority, or where one that the node has a
// copy of has another copy that is not whole.
func copied(ctx context.Context, bus *natsbus.Bus, name string) error {
	all, err := natsstore.Status(ctx, bus)
	if err != nil {
		return err
	}
	return whole(all, name)
}

// whole is copied, of streams as they are.
func whole(all []natsstore.StreamStatus, name string) error {
	for _, s := range all {
		if s.Unavailable != "" || s.Leader == "" {
			return fmt.Errorf("stream %s has no leader: what is in it may be at nodes alone that do not run, %s among them. Start one of them again, and remove a node then", s.Stream, name)
		}
		if !slices.ContainsFunc(s.Servers, func(server string) bool { return isNode(server, name) }) {
			continue
		}
		for _, b := range s.Behind {
			if !isNode(b, name) {
				return fmt.Errorf("stream %s has another copy that is not whole (%s): wait until it is, or start that node again, and remove %s then", s.Stream, b, name)
			}
		}
	}
	return nil
}

// isNode reports whether a server, or what is said of it, is the node's. Servers
// that started since it died know only its id.
func isNode(server, name string) bool {
	return server == name || strings.HasPrefix(server, name+": ") || strings.Contains(server, "peerID: "+natsbus.EngineID(name))
}

// recopied waits until all streams have their copies, none of them at the node.
func recopied(ctx context.Context, bus *natsbus.Bus, name string, told func(lacking, all int)) (int, error) {
	look := time.NewTicker(membersLook)
	defer look.Stop()
	done := map[string]bool{}
	for {
		all, err := natsstore.Status(ctx, bus)
		if err != nil {
			return 0, err
		}
		for i := range all {
			if recopiedStream(&all[i], name) {
				done[all[i].Stream] = true
			}
		}
		if len(done) == len(all) {
			return len(all), nil
		}
		told(len(all)-len(done), len(all))
		select {
		case <-look.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// recopiedStream reports whether a stream has all its copies, none of them at the node.
func recopiedStream(s *natsstore.StreamStatus, name string) bool {
	there := slices.ContainsFunc(s.Servers, func(server string) bool { return isNode(server, name) })
	return s.Whole && s.Leader != "" && len(s.Servers) >= s.Replicas && !there
}
