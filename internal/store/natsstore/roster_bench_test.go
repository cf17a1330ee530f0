package natsstore_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// rosterOf is a value like a list of so many friends.
func rosterOf(friends int) []byte {
	var b bytes.Buffer
	for i := range friends {
		fmt.Fprintf(&b, "user-%08d,", i*7919)
	}
	return b.Bytes()
}

// BenchmarkRoster saves with the disk's sync, loads and scans.
func BenchmarkRoster(b *testing.B) {
	ctx := context.Background()
	for _, friends := range []int{50, 500, 10_000} {
		value := rosterOf(friends)
		b.Run(fmt.Sprintf("save/%d", friends), func(b *testing.B) {
			s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true})
			defer stop()
			r := store.Roster{User: presence.User{App: "demo", ID: "alice"}, Value: value}
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if r.Revision, err = s.SaveRoster(ctx, store.RosterList, r); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("load/%d", friends), func(b *testing.B) {
			s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true})
			defer stop()
			user := presence.User{App: "demo", ID: "alice"}
			if _, err := s.SaveRoster(ctx, store.RosterList, store.Roster{User: user, Value: value}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if r, err := s.LoadRoster(ctx, store.RosterList, user); err != nil || len(r.Value) != len(value) {
					b.Fatalf("got %d bytes, %v, want %d", len(r.Value), err, len(value))
				}
			}
		})
	}
	b.Run("scan/1000 of 50", func(b *testing.B) {
		s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true})
		defer stop()
		for i := range 1000 {
			user := presence.User{App: "demo", ID: presence.UserID(fmt.Sprint("user-", i))}
			if _, err := s.SaveRoster(ctx, store.RosterList, store.Roster{User: user, Value: rosterOf(50)}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			if err := s.ScanRosters(ctx, store.RosterList, "demo", func(store.Roster) error { n++; return nil }); err != nil || n != 1000 {
				b.Fatalf("got %d, %v, want 1,000", n, err)
			}
		}
	})
}
