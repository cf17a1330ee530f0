package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Pieces is what a store may have besides, for tests: all that its bases' part of
// the disk has, decompressed.
type Pieces interface {
	StoredPieces(ctx context.Context) ([][]byte, error)
}

// foldedShard is the state of a shard with these users, each of whom has a
// session open, and some bytes of its writer's behind them that name them too.
func foldedShard(users ...presence.User) []byte {
	b := store.AppendShard(nil, len(users))
	for i, u := range users {
		f := presence.Folded{Seq: 7, LastSeen: 1000}
		r := record(0)
		r.User, r.Session, r.Device.ID = u, presence.SessionID{byte(i), 9}, "phone of "+string(u.ID)
		f.Apply(&r, nil)
		b = presence.AppendFolded(b, u, &f)
	}
	for _, u := range users {
		b = append(b, u.ID...)
	}
	return b
}

// named are the users of a shard in a base, by name, the nameless by their mark.
func named(t testing.TB, s store.Bases, position uint64, n int) map[string]*presence.Folded {
	t.Helper()
	users := map[string]*presence.Folded{}
	err := s.ReadBase(context.Background(), position, n, n, func(_ int, _ uint64, state []byte) error {
		_, err := store.ParseShard(state, func(u presence.User, f *presence.Folded) error {
			name := string(u.ID)
			if mark, ok := store.NamelessMark(u); ok {
				name = fmt.Sprintf("%x", mark)
			}
			users[name] = f
			return nil
		})
		return err
	})
	if err != nil {
		t.Errorf("ReadBase of %d: got %v, want no error", position, err)
	}
	return users
}

// nowhere wants some ids in no base, and with Pieces nowhere on the disk
// where bases are. It returns where they are.
func nowhere(s store.Store, ids ...string) error {
	ctx := context.Background()
	has := func(b []byte) string {
		for _, id := range ids {
			if bytes.Contains(b, []byte(id)) {
				return id
			}
		}
		return ""
	}
	all, err := s.Bases(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		err := s.ReadBase(ctx, b.Position, 0, store.Shards-1, func(n int, _ uint64, state []byte) error {
			if id := has(state); id != "" {
				return fmt.Errorf("shard %d of the base at %d has %s", n, b.Position, id)
			}
			return nil
		})
		if err != nil && !errors.Is(err, store.ErrGap) {
			return err
		}
	}
	p, ok := s.(Pieces)
	if !ok {
		return nil
	}
	pieces, err := p.StoredPieces(ctx)
	for _, b := range pieces {
		if id := has(b); id != "" {
			return fmt.Errorf("a stored piece has %s", id)
		}
	}
	return err
}

// scrubbedBases: who is erased is taken out of the bases there are, and is not in
// those that are made later; his number and his sessions stay without a name.
func scrubbedBases(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	fill(t, s, 4, 1)
	leaver := demoUser("leaver-" + strings.Repeat("x", 20))
	stays, n := demoUser("stays"), store.Shard(leaver)
	var made []store.Base
	for i := range uint64(3) {
		mustSave(t, s)(n, 4+i, foldedShard(stays, leaver))
		mustSave(t, s)(0, 4+i, foldedShard(stays))
		mustAdvance(t, s, 4+i)
		made = append(made, mustBase(t, s))
		mustAppend(t, s, fmt.Sprint("more", i), Records(int(50+i), 1))
	}
	if users := named(t, s, made[0].Position, n); len(users) != 2 || users[string(leaver.ID)] == nil {
		t.Fatalf("before: got %v, want both users", users)
	}
	at := presence.Time(1_800_000_000_000)
	mustAppend(t, s, "erase", []presence.Record{erasedRecord(leaver, at)})
	<-time.After(time.Minute)
	later := mustBase(t, s) // its shard is still as before the erasure
	mustSave(t, s)(n, 8, foldedShard(stays))
	mustAdvance(t, s, 8)
	for _, when := range []string{"same store", "opened again"} {
		if err := nowhere(s, string(leaver.ID)); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if all, err := s.Bases(ctx); len(all) != 4 || err != nil {
			t.Errorf("%s: got %d bases, %v, want all 4", when, len(all), err)
		}
		for _, base := range append(made, later) {
			users := named(t, s, base.Position, n)
			left := users[fmt.Sprintf("%x", store.UserMark(leaver))]
			switch {
			case len(users) != 2 || users["stays"] == nil || users["stays"].Sessions[0].Device.ID != "phone of stays":
				t.Errorf("%s: base at %d: got %v, want who stays as he is", when, base.Position, users)
			case left == nil || left.Seq != 8 || len(left.Sessions) != 1 || left.LastSeen != 0:
				t.Errorf("%s: base at %d: got %+v, want the leaver's number and session without a name", when, base.Position, left)
			default:
				if d := left.Sessions[0].Device; d.Platform != "web" || strings.Contains(d.ID, "leaver") || d.Addr != "" || left.Sessions[0].Status != nil {
					t.Errorf("%s: base at %d: got device %+v, want it stripped", when, base.Position, d)
				}
			}
			if got := named(t, s, base.Position, 0); got["stays"] == nil {
				t.Errorf("%s: base at %d: shard 0 has %v", when, base.Position, got)
			}
		}
		s = b.store()
	}
}
