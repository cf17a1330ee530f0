package tracker

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// A node's notes: what the log does not have of its sessions, in groups, for
// whoever takes them over.

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

// groupMessage is notes of sessions of one group.
type groupMessage struct {
	group int
	b     []byte
}

// groupNotes writes what waits of this node's sessions, each group as a message.
func (v *saver) groupNotes(ctx context.Context, dirty []*session) error {
	message := appendNotes(nil, v.t.now())
	if len(dirty) == 0 {
		return v.sendGroup(ctx, 0, false, message) // that it lives
	}
	// Each is looked at once to find its group: of tens of thousands a look is a wait
	// for memory.
	var groups [store.NoteGroups][]*session
	for _, s := range dirty {
		group := v.group(s)
		groups[group] = append(groups[group], s)
	}
	var messages []groupMessage
	for group, these := range groups {
		for i, s := range these {
			message = v.one(message, s)
			if i < len(these)-1 && len(message) < noteMaxBytes {
				continue
			}
			messages = append(messages, groupMessage{group, message})
			message = appendNotes(nil, v.t.now())
		}
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
	return oneReason(errs)
}

// oneReason is the first error of groups with their number: nearly always all of
// them fail for one reason, and its text once is enough.
func oneReason(errs []error) error {
	var first error
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
			first = cmp.Or(first, err)
		}
	}
	if failed > 1 {
		return fmt.Errorf("%w (and %d groups more)", first, failed-1)
	}
	return first
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
	if !v.t.peers.present() {
		return nil
	}
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

// whole writes all of a group in place of its notes: of the sessions that are here, and
// of those that went where nobody may have noted them yet. Where others may have given
// this node up, the notes are what they know of sessions that they closed, which come
// back.
func (v *saver) whole(ctx context.Context, group int) error {
	if !v.t.peers.present() {
		return errUnsaved
	}
	var open []*session
	left := map[presence.SessionID]*shard{}
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
		for _, id := range v.t.leavers(sh) {
			left[id] = sh
		}
		sh.mu.Unlock()
	}
	var messages [][]byte
	message := appendNotes(nil, v.t.now())
	cut := func() {
		if len(message) >= noteMaxBytes {
			messages = append(messages, message)
			message = appendNotes(nil, v.t.now())
		}
	}
	for _, s := range open {
		message = v.one(message, s)
		cut()
	}
	for id, sh := range left {
		message = v.left(message, sh, id)
		cut()
	}
	messages = append(messages, message)
	err := v.sendGroup(ctx, group, true, messages...)
	if err != nil {
		v.again(open)
	}
	return err
}

// listable reports that what the session watches is known.
func (s *session) listable() bool { return !s.kept.fromDisk || s.kept.noted }
