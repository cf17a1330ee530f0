package roster

import (
	"context"
	"errors"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// TestWhatAServerSaidLongAgo is not written: no friend, no list, no block, nor the end of
// one.
func TestWhatAServerSaidLongAgo(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		ctx, alice := context.Background(), presence.User{App: "demo", ID: "alice"}
		words := map[string]func(presence.UserID) (bool, error){
			"Add":    func(id presence.UserID) (bool, error) { return r.Add(ctx, alice, id, false) },
			"Remove": func(id presence.UserID) (bool, error) { return r.Remove(ctx, alice, id, true) },
			"Replace": func(id presence.UserID) (bool, error) {
				_, _, err := r.Replace(ctx, alice, []presence.UserID{id})
				return true, err
			},
			"Block":   func(id presence.UserID) (bool, error) { return r.Block(ctx, alice, id) },
			"Unblock": func(id presence.UserID) (bool, error) { return r.Unblock(ctx, alice, id) },
		}
		if _, err := r.Add(ctx, alice, "bob", false); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Block(ctx, alice, "dave"); err != nil {
			t.Fatal(err)
		}
		late := fault.New(fault.NodeUnavailable, "it stood still")
		r.cfg.Takes = func() error { return late }
		for name, word := range words {
			for _, id := range []presence.UserID{"bob", "carol", "dave"} {
				if _, err := word(id); !errors.Is(err, late) {
					t.Errorf("%s of %s: got %v, want %v", name, id, err, late)
				}
			}
		}
		friends, err := r.Friends(ctx, alice)
		blocks, e := r.Blocks(ctx, alice)
		if err != nil || e != nil || len(friends) != 1 || friends[0] != "bob" || len(blocks) != 1 || blocks[0] != "dave" {
			t.Errorf("alice has the friends %v and blocks %v (%v, %v)", friends, blocks, err, e)
		}
		r.cfg.Takes = func() error { return nil }
		if changed, err := r.Block(ctx, alice, "carol"); !changed || err != nil {
			t.Errorf("of a server that is there: %v, %v", changed, err)
		}
	})
}

// TestANodeThatStandsStillBeforeItWrites asks again when the store refuses what others
// have overtaken.
func TestANodeThatStandsStillBeforeItWrites(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		ctx, alice := context.Background(), presence.User{App: "demo", ID: "alice"}
		other, err := New(Config{Store: r.store, Apps: r.apps, Shared: true})
		if err != nil {
			t.Fatal(err)
		}
		late := fault.New(fault.NodeUnavailable, "it stood still")
		for _, kind := range []store.RosterKind{store.RosterList, store.RosterBlocks} {
			asked := 0
			r.cfg.Takes = func() error {
				if asked++; asked > 1 {
					return late
				}
				// It stands still here, and the server asks the other one.
				if kind == store.RosterBlocks {
					_, err = other.Block(ctx, alice, "newer")
				} else {
					_, _, err = other.Replace(ctx, alice, []presence.UserID{"newer"})
				}
				return err
			}
			if kind == store.RosterBlocks {
				_, err = r.Block(ctx, alice, "late")
			} else {
				_, _, err = r.Replace(ctx, alice, []presence.UserID{"late"})
			}
			if !errors.Is(err, late) || asked != 2 {
				t.Errorf("%v: got %v after it was asked %d times", kind, err, asked)
			}
		}
	})
}
