package tracker

import (
	"cmp"
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
	// wholeAfter is how many notes of a group are written before it is written
	// whole, in place of them.
	wholeAfter = 64
	// wholesATime is how many groups are written whole in a round: under load all
	// come due together, and notes must not wait for that.
	wholesATime = 4
	// advanceEvery is how often one node lets the log forget what all have saved.
	advanceEvery = 10 * time.Second
)

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

// groupMessage is notes of sessions of one group.
type groupMessage struct {
	group int
	b     []byte
}

// groupNotes writes what waits of this node's sessions, each group as a message.
func (v *saver) groupNotes(ctx context.Context, dirty []*session) error {
	slices.SortStableFunc(dirty, func(a, b *session) int {
		return cmp.Compare(v.group(a), v.group(b))
	})
	message := appendNotes(nil, v.t.now())
	if len(dirty) == 0 {
		return v.sendGroup(ctx, 0, false, message) // that it lives
	}
	var messages []groupMessage
	for i, s := range dirty {
		group := v.group(s)
		message = v.one(message, s)
		if i < len(dirty)-1 && v.group(dirty[i+1]) == group && len(message) < noteMaxBytes {
			continue
		}
		messages = append(messages, groupMessage{group, message})
		message = appendNotes(nil, v.t.now())
	}
	err := v.sendGroups(ctx, messages)
	if err != nil {
		v.again(dirty)
	}
	return err
}

// groupsATime is how many groups are written at once: each waits for a majority's
// disks, and all of them together must be written within the promised second.
const groupsATime = 16

// sendGroups writes messages that are sorted by group, those of a group in order.
func (v *saver) sendGroups(ctx context.Context, messages []groupMessage) error {
	var all sync.WaitGroup
	errs := make([]error, store.NoteGroups)
	slots := make(chan struct{}, groupsATime)
	for len(messages) > 0 {
		group, n := messages[0].group, 1
		for n < len(messages) && messages[n].group == group {
			n++
		}
		these := messages[:n]
		messages = messages[n:]
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			for i := range these {
				if errs[group] == nil {
					errs[group] = v.sendGroup(ctx, group, false, these[i].b)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (v *saver) group(s *session) int { return v.t.shardIndex(s.user.name) % store.NoteGroups }

func (v *saver) sendGroup(ctx context.Context, group int, whole bool, messages ...[]byte) error {
	err := v.t.peers.Notes.SaveNotes(ctx, v.t.incarnation.Load(), group, whole, messages...)
	switch {
	case err != nil:
	case whole:
		v.nodes.since[group] = 0
	default:
		v.nodes.since[group]++
	}
	return err
}

// notesOfNode writes what waits, and whole groups of which much was written.
func (v *saver) notesOfNode(ctx context.Context) error {
	err := v.notes(ctx)
	if err == nil && v.t.peers.Notes != nil {
		err = v.wholes(ctx)
	}
	return err
}

// wholes writes groups anew of which many notes were written.
func (v *saver) wholes(ctx context.Context) error {
	most := wholesATime
	for range store.NoteGroups {
		group := v.nodes.next
		if most == 0 {
			break
		}
		if v.nodes.next = (group + 1) % store.NoteGroups; v.nodes.since[group] < wholeAfter {
			continue
		}
		if err := v.whole(ctx, group); err != nil {
			return err
		}
		most--
	}
	return nil
}

// whole writes all of a group in place of its notes.
func (v *saver) whole(ctx context.Context, group int) error {
	var open []*session
	for n := group; n < Shards; n += store.NoteGroups {
		sh := &v.t.shards[n]
		sh.mu.Lock()
		for _, u := range sh.users {
			for _, s := range u.sessions {
				if s.phase.Open() && !s.foreign && s.listable() {
					s.kept.listed = false
					open = append(open, s)
				}
			}
		}
		sh.mu.Unlock()
	}
	var messages [][]byte
	message := appendNotes(nil, v.t.now())
	for i, s := range open {
		message = v.one(message, s)
		if len(message) < noteMaxBytes && i < len(open)-1 {
			continue
		}
		messages = append(messages, message)
		message = appendNotes(nil, v.t.now())
	}
	if len(open) == 0 {
		messages = append(messages, message)
	}
	err := v.sendGroup(ctx, group, true, messages...)
	if err != nil {
		v.again(open)
	}
	return err
}

// listable reports that what the session watches is known.
func (s *session) listable() bool { return !s.kept.fromDisk || s.kept.noted }

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

// forget drops what is kept of nodes that are gone for good, and what they noted,
// if that falls to this one.
func (v *saver) forget(ctx context.Context) error {
	p := v.t.peers
	window := v.t.cfg.RestartGrace + v.t.longestWindow() + keepLists
	var gone []uint64
	p.mu.Lock()
	for key, l := range p.lists {
		if v.t.wheel.Now()-l.at > keepLists {
			delete(p.lists, key)
		}
	}
	for _, o := range p.origins {
		if o.over != 0 && v.t.wheel.Now()-o.over > window {
			gone = append(gone, o.incarnation)
		}
	}
	p.mu.Unlock()
	for _, incarnation := range gone {
		if v.t.hasOf(incarnation) {
			continue
		}
		if p.Notes != nil && p.Owner(presence.AppendNumber(nil, incarnation)) == v.t.incarnation.Load() {
			if err := p.Notes.ForgetNotes(ctx, incarnation); err != nil {
				return err
			}
		}
		p.mu.Lock()
		if o := p.origins[incarnation]; o != nil && o.over != 0 {
			p.catch(o) // it counts as silent no more
			delete(p.origins, incarnation)
		}
		p.mu.Unlock()
	}
	return nil
}

// hasOf reports whether any session in the table is a node's.
func (t *Tracker) hasOf(incarnation uint64) bool {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		n := sh.peers.digests[incarnation]
		sh.mu.Unlock()
		if n != 0 {
			return true
		}
	}
	return false
}

func (t *Tracker) longestWindow() (d time.Duration) {
	for _, a := range *t.policies.Load() {
		d = max(d, a.ResumeWindow)
	}
	return d
}

// roundNodes is round among several nodes, without the notes.
func (v *saver) roundNodes(ctx context.Context, most int, age time.Duration) error {
	var failed error
	for range Shards {
		if most == 0 {
			break
		}
		n := v.next
		v.next = (v.next + 1) % Shards
		sh := &v.t.shards[n]
		sh.mu.Lock()
		due := sh.save.changed && v.t.wheel.Now()-sh.save.at >= age
		sh.mu.Unlock()
		if !due || !v.owns(n) {
			continue
		}
		// A node that read more of the log may have written it before it fell to this
		// one, or be writing it now that this one stops.
		if err := v.shard(ctx, n); err != nil && !errors.Is(err, store.ErrBehind) && !errors.Is(err, store.ErrMoved) {
			failed = err
			break
		}
		most--
	}
	if failed != nil {
		return failed
	}
	if err := v.forget(ctx); err != nil {
		return err
	}
	return v.advance(ctx)
}
