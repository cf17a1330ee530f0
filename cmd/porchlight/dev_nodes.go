package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/internal/listen"
)

// Bounds of dev --nodes: two cannot outvote a lost third, and one machine has
// nothing of many.
const leastNodes, mostNodes = 3, 7

// several runs nodes that form a cluster, until the process is told to stop or
// one of them fails.
func (d devCommand) several(ctx context.Context, c console) (err error) {
	if d.Nodes < leastNodes || d.Nodes > mostNodes {
		return fmt.Errorf("--nodes %d: give 1, or %d to %d: with two, the loss of one stops both", d.Nodes, leastNodes, mostNodes)
	}
	data := d.Data
	if data == "" {
		if data, err = os.MkdirTemp("", "porchlight-*"); err != nil {
			return fmt.Errorf("temporary data directory: %w", err)
		}
		defer os.RemoveAll(data)
	}
	peers, err := listen.Free(d.Nodes)
	if err != nil {
		return err
	}
	log, password := logger(c), rand.Text()
	nodes := make([]*porchlight.Server, d.Nodes)
	for i := range nodes {
		name := fmt.Sprintf("n%d", i+1)
		o := porchlight.Options{
			HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0", Data: filepath.Join(data, name), Demo: true, Node: name,
			Peers:   append([]string{peers[i]}, peers...),
			Environ: append(d.webhooks(), "PORCHLIGHT_PEERS_PASSWORD="+password), Logger: log.With("at", name),
		}
		if i == 0 {
			o.HTTP, o.GRPC = d.HTTP, d.GRPC
		}
		if nodes[i], err = porchlight.New(o); err != nil {
			break
		}
	}
	defer func() { err = errors.Join(err, stopAll(ctx, nodes)) }()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "%d nodes begin; they wait for each other, which takes some seconds\n", d.Nodes)
	starts := make([]func(context.Context) error, len(nodes))
	for i, n := range nodes {
		starts[i] = n.Start
	}
	if err := startAll(ctx, starts...); err != nil {
		if ctx.Err() != nil {
			return brokenOff(log)
		}
		return err
	}
	if err := d.greet(c, nodes[0], nodes[1:]...); err != nil {
		return err
	}
	failed := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() {
			select {
			case err := <-n.Failed():
				failed <- err
			case <-ctx.Done():
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// startAll starts nodes that wait for each other. Without one the others may wait
// for ever: what fails first ends all.
func startAll(ctx context.Context, starts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var starting sync.WaitGroup
	for _, start := range starts {
		starting.Go(func() {
			if err := start(ctx); err != nil {
				cancel(err)
			}
		})
	}
	starting.Wait()
	return context.Cause(ctx)
}

// stopAll stops those that were made, at once: one after the other, the last
// would be alone and without a majority.
func stopAll(ctx context.Context, nodes []*porchlight.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	errs := make([]error, len(nodes))
	var stopping sync.WaitGroup
	for i, n := range nodes {
		if n != nil {
			stopping.Go(func() { errs[i] = n.Stop(ctx) })
		}
	}
	stopping.Wait()
	return errors.Join(errs...)
}
