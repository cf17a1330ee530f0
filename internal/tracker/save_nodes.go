package tracker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// With several nodes a shard of the checkpoint is the fold alone, written by the
// node that it falls to. What the log does not have of a session, its node notes
// for whoever takes it over.

const (
	methodGood = "checkpoint.good"
	methodSave = "checkpoint.save"
)

// nodeSaver is what the saver has beside that of a single node.
type nodeSaver struct {
	since    [store.NoteGroups]int // notes written since the group was written whole; -1: never
	next     int                   // group to look at next
	advanced time.Time
	shards   chan struct{} // closed when nobody writes shards behind any more
	writing  sync.Mutex    // while a shard is written
}

func shardKey(n int) []byte { return []byte{'s', byte(n >> 8), byte(n)} }

// owns reports whether this node writes shard n.
func (v *saver) owns(n int) bool {
	return v.t.peers == nil || v.t.peers.Owner(shardKey(n)) == v.t.incarnation.Load()
}

// runShards writes shards behind. Notes do not wait for it: during an election a
// shard may take seconds, and they are promised within one.
func (v *saver) runShards(ctx context.Context) {
	defer close(v.nodes.shards)
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	said := v.complaint("shards of the checkpoint cannot be written; the next start reads more of the log")
	for {
		select {
		case <-v.quit:
			return
		case <-tick.C:
			said(ctx, v.roundNodes(ctx, shardsATime, shardEvery))
		}
	}
}

// advance lets the log forget what every node has saved, if that falls to this one.
func (v *saver) advance(ctx context.Context) error {
	p := v.t.peers
	if time.Since(v.nodes.advanced) < advanceEvery || p.frozen.Load() || p.Owner([]byte(methodGood)) != v.t.incarnation.Load() {
		return nil
	}
	v.nodes.advanced = time.Now()
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	through, view := v.t.goodShards()
	for _, node := range p.Nodes() {
		b, err := p.Call(ctx, node, methodGood, nil)
		if err != nil {
			return nil // he may have saved less; he is asked again
		}
		r := reader{b: b}
		theirs, other := r.number(), r.number()
		if r.err != nil || other != view {
			return nil // they do not agree yet on who saves what
		}
		through = min(through, theirs)
	}
	if through == 0 {
		return nil
	}
	err := v.t.cfg.Checkpoints.Advance(ctx, through, 0)
	if errors.Is(err, store.ErrBehind) {
		return nil // another did it, before it fell to this node
	}
	return err
}

// goodShards is the position through which the shards of this node are written,
// and a number that stands for the nodes that it shares them with.
func (t *Tracker) goodShards() (through, view uint64) {
	applied, self := t.applied.Load(), t.incarnation.Load()
	through = applied
	for i := range t.shards {
		if t.peers.Owner(shardKey(i)) != self {
			continue
		}
		sh := &t.shards[i]
		sh.mu.Lock()
		if sh.save.changed {
			through = min(through, sh.save.through)
		} else {
			sh.save.through = applied
		}
		sh.mu.Unlock()
	}
	nodes := append(t.peers.Nodes(), self)
	slices.Sort(nodes)
	for _, n := range nodes {
		view = (view ^ n) * 1099511628211
	}
	return through, view
}

func (t *Tracker) serveGood(context.Context, uint64, []byte) ([]byte, error) {
	through, view := t.goodShards()
	return presence.AppendNumber(presence.AppendNumber(nil, through), view), nil
}

// serveSave writes what this node has on disk of the users of a shard anew.
func (t *Tracker) serveSave(ctx context.Context, _ uint64, b []byte) ([]byte, error) {
	r := reader{b: b}
	n := r.number()
	if r.err != nil || n >= Shards {
		return nil, errTold
	}
	return nil, t.saveRequest(ctx, request{all: true, shard: int(n) + 1})
}

// saveEverywhere returns when no node has anything on disk of who was erased.
func (t *Tracker) saveEverywhere(ctx context.Context, shard int) error {
	if err := t.saveRequest(ctx, request{all: true, shard: shard + 1}); err != nil {
		return err
	}
	for _, node := range t.peers.Nodes() {
		if _, err := t.peers.Call(ctx, node, methodSave, presence.AppendNumber(nil, uint64(shard))); err != nil {
			return errUnsaved
		}
	}
	return nil
}

// oneShard writes shard n, if this node does, and the notes of its group.
func (v *saver) oneShard(ctx context.Context, n int) error {
	if v.t.peers.Notes != nil {
		if err := v.whole(ctx, n%store.NoteGroups); err != nil {
			return err
		}
	}
	if !v.owns(n) {
		return nil
	}
	return v.shard(ctx, n)
}

// roundNodes is round among several nodes, without the notes.
func (v *saver) roundNodes(ctx context.Context, most int, age time.Duration) error {
	for range Shards {
		if most == 0 {
			break
		}
		n, due := v.turn(age)
		if !due || !v.owns(n) {
			continue
		}
		// A node that read more of the log may have written it before it fell to this
		// one, or be writing it now that this one stops.
		if err := v.shard(ctx, n); err != nil && !errors.Is(err, store.ErrBehind) && !errors.Is(err, store.ErrMoved) {
			return err
		}
		most--
	}
	if err := v.forget(ctx); err != nil {
		return err
	}
	return v.advance(ctx)
}
