package roster

import (
	"context"
	"fmt"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// Compare with: go test -run '^$' -bench . -count 10 ./internal/roster | benchstat

// benchRoster has alice with so many friends.
func benchRoster(b *testing.B, app AppConfig, friends int) *Roster {
	b.Helper()
	r, err := New(Config{Store: storetest.NewMemory(), Apps: map[presence.AppID]AppConfig{"demo": app}})
	if err != nil {
		b.Fatal(err)
	}
	if err := r.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Stop(context.Background()) })
	list := make([]presence.UserID, friends)
	for i := range list {
		list[i] = presence.UserID(fmt.Sprint("user-", i))
	}
	if _, _, err := r.Replace(context.Background(), demo("alice"), list); err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkSight(b *testing.B) {
	b.Run("everyone", func(b *testing.B) {
		r := benchRoster(b, AppConfig{}, 500)
		b.ReportAllocs()
		for b.Loop() {
			if r.Sight(demo("alice")) != nil {
				b.Fatal("got a Sight, want nil")
			}
		}
	})
	b.Run("everyone, one is blocked", func(b *testing.B) {
		r := benchRoster(b, AppConfig{}, 500)
		if _, err := r.Block(context.Background(), demo("bob"), "carol"); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if r.Sight(demo("alice")) != nil {
				b.Fatal("got a Sight, want nil")
			}
		}
	})
	for _, n := range []int{50, 10_000} {
		b.Run(fmt.Sprintf("of, friends %d", n), func(b *testing.B) {
			r := benchRoster(b, AppConfig{Visibility: Friends}, n)
			if err := r.Hold(context.Background(), demo("alice"), presence.SessionID{1}); err != nil {
				b.Fatal(err)
			}
			s, last := r.Sight(demo("alice")), presence.UserID(fmt.Sprint("user-", n-1))
			b.ReportAllocs()
			for b.Loop() {
				if visible, _, _ := s.Of(last); !visible {
					b.Fatal("a friend is not visible")
				}
			}
		})
	}
}

func BenchmarkFollow(b *testing.B) {
	for _, n := range []int{50, 500, 10_000} {
		use := func(friends []presence.UserID) error {
			if len(friends) != n {
				return fmt.Errorf("%d friends", len(friends))
			}
			return nil
		}
		for name, cached := range map[string]bool{"in memory": true, "stored": false} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				r := benchRoster(b, AppConfig{}, n)
				b.ReportAllocs()
				for b.Loop() {
					if !cached {
						r.mu.Lock()
						r.drop(r.pages[demo("alice")])
						r.mu.Unlock()
					}
					if err := r.Follow(context.Background(), demo("alice"), use); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{50, 9_999} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := benchRoster(b, AppConfig{}, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Add(context.Background(), demo("alice"), "bob", false); err != nil {
					b.Fatal(err)
				}
				if _, err := r.Remove(context.Background(), demo("alice"), "bob", false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
