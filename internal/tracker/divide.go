package tracker

import (
	"context"
	"fmt"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Divide writes what a single node noted of its sessions, beside its checkpoint, as
// what the nodes that they are of noted: where several nodes look when a device
// comes back to one that is gone. So a single node's sessions live on where its
// data are moved into a cluster. No tracker may run on the store.
func Divide(ctx context.Context, from store.Checkpoints, to store.NodeNotes) error {
	notes, epochs := noted{}, map[presence.SessionID]presence.Epoch{}
	alive := presence.Time(0)
	_, err := from.Load(ctx, func(n int, _ uint64, b []byte) error {
		users, list, err := parseShard(b)
		if err != nil {
			return fmt.Errorf("shard %d: %w", n, err)
		}
		for _, f := range users {
			for i := range f.Sessions {
				epochs[f.Sessions[i].ID] = f.Sessions[i].Epoch
			}
		}
		for _, one := range list {
			notes.keep(one)
		}
		return nil
	}, func(b []byte) error {
		at, list, err := parseNotes(b)
		alive = max(alive, at)
		for _, one := range list {
			notes.keep(one)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("tracker: load the checkpoint: %w", err)
	}
	type place struct {
		owner uint64
		group int
	}
	groups := map[place][][]byte{}
	for id, n := range notes {
		owner := n.epoch
		if e, ok := epochs[id]; ok && owner.Compare(e) < 0 {
			owner = e
		}
		if n.same || owner.Incarnation == 0 {
			continue // nobody knows what it watched
		}
		at := place{owner.Incarnation, store.Shard(n.ref.User) % store.NoteGroups}
		list := groups[at]
		if len(list) == 0 || len(list[len(list)-1]) >= noteMaxBytes {
			list = append(list, appendNotes(nil, alive))
		}
		list[len(list)-1] = n.append(list[len(list)-1])
		groups[at] = list
	}
	for at, list := range groups {
		if err := to.SaveNotes(ctx, at.owner, at.group, true, list...); err != nil {
			return fmt.Errorf("tracker: notes of sessions: %w", err)
		}
	}
	return nil
}
