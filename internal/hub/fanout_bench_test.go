package hub

import (
	"fmt"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// go test ./internal/hub -run xxx -bench . -count 10 | benchstat -

// flat is an Encoder that costs nothing, so that a benchmark sees the hub alone.
type flat struct{}

// Encode returns the same body for everything.
func (*flat) Encode(*Notification) Body { return nil }

// Locale returns it as it is.
func (*flat) Locale(_ presence.AppID, locale string) string { return locale }

// One change reaches the queues of all its watchers; each then drains it.
func BenchmarkFanOut(b *testing.B) {
	for _, watchers := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			w := newWorld()
			all := make([]*Watcher, watchers)
			streams := make([]uint64, watchers)
			enc := &flat{}
			for i := range all {
				all[i] = w.hub.Join(presence.SessionID{byte(i), byte(i >> 8), byte(i >> 16)}, Params{User: named("bob"), Limit: 1})
				all[i].Watch([]presence.UserID{"alice"}, ScopeNone)
				a, err := all[i].Attach(enc, func() {}, nil)
				if err != nil {
					b.Fatal(err)
				}
				streams[i] = a.Stream
			}
			w.opens("alice", number(1), nil)
			frames := make([]Frame, 0, 8)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				w.tell(w.updates("alice", number(1), presence.Status{Show: presence.Show(n % 3)}))
				for i, v := range all {
					frames, _ = v.Drain(streams[i], frames[:0], 32)
				}
			}
			if len(frames) != 1 {
				b.Fatalf("the last watcher got %d frames, want 1", len(frames))
			}
		})
	}
}

// What a login costs the hub: watching friends of whom a third is online, and
// the snapshot.
func BenchmarkSnapshot(b *testing.B) {
	for _, friends := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("friends=%d", friends), func(b *testing.B) {
			w, ids := crowd(friends)
			enc := &flat{}
			frames := make([]Frame, 0, 2*friends)
			b.ReportAllocs()
			for b.Loop() {
				v := w.hub.Join(presence.SessionID{1}, Params{User: named("bob"), Limit: friends})
				v.Watch(ids, ScopeAll)
				a, _ := v.Attach(enc, func() {}, nil)
				more := true
				for frames = frames[:0]; more; {
					frames, more = v.Drain(a.Stream, frames, 32+len(frames))
				}
				w.hub.Gone(presence.SessionID{1})
			}
			if len(frames) != friends+1 {
				b.Fatalf("got %d frames, want %d", len(frames), friends+1)
			}
		})
	}
}

// One drain of what gathered while the connection was busy.
func BenchmarkDrain(b *testing.B) {
	for _, pending := range []int{1, 10, 50} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			w, ids := crowd(pending)
			v := w.hub.Join(presence.SessionID{1}, Params{User: named("bob"), Limit: pending})
			v.Watch(ids, ScopeNone)
			a, _ := v.Attach(&flat{}, func() {}, nil)
			frames, _ := v.Drain(a.Stream, nil, 1000)
			for _, id := range ids { // those that are offline come online
				if len(w.publics(id, (*stay).open)) == 0 {
					w.tell(w.opens(id, number(1), nil))
				}
			}
			frames, _ = v.Drain(a.Stream, frames[:0], 1000)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				for _, id := range ids {
					w.tell(w.updates(id, number(1), presence.Status{Show: presence.Show(n % 3)}))
				}
				frames, _ = v.Drain(a.Stream, frames[:0], 1000)
			}
			if len(frames) != pending {
				b.Fatalf("got %d frames, want %d", len(frames), pending)
			}
		})
	}
}

// crowd is a world of n users, a third of them online, all of them watched by
// somebody else too.
func crowd(n int) (*world, []presence.UserID) {
	w := newWorld()
	ids := make([]presence.UserID, n)
	for i := range ids {
		ids[i] = presence.UserID(fmt.Sprintf("friend%04d", i))
		if i%3 == 0 {
			w.opens(ids[i], number(1), nil)
		}
	}
	w.hub.Join(presence.SessionID{255}, Params{User: named("other"), Limit: n}).Watch(ids, ScopeNone)
	return w, ids
}
