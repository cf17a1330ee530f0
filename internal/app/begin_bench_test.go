package app

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// BenchmarkFirstTold is how long a webhook waits after a start: from the reader's
// start until it tells what is next behind a position near the end of a log of
// two million records of 100,000 users, an hour of a busy node. The newest base
// is of fifty minutes before the end, or of five. Run it with
//
//	go test -run '^$' -bench FirstTold -benchtime 1x ./internal/app
func BenchmarkFirstTold(b *testing.B) {
	const messages = 2_000_000 / store.MaxRecords
	bus, err := natsbus.New(natsbus.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	if err := bus.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer bus.Stop(context.Background())
	s, err := natsstore.Open(b.Context(), natsstore.Config{Bus: bus, MaxBytes: 4 << 30, Usage: natsstore.Room(1 << 40)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop(context.Background())
	l := hour{store: s, users: map[presence.User]*presence.Folded{}}
	l.write(b, messages/12)
	l.base(b)
	l.write(b, messages*11/12)
	l.first(b, "base=50m")
	l.base(b)
	l.write(b, messages)
	l.first(b, "base=5m")
}

// hour writes a log.
type hour struct {
	store *natsstore.Store
	users map[presence.User]*presence.Folded
	sent  int // messages
	n     int // records
}

// write makes the log that many messages long: users come and go.
func (l *hour) write(b *testing.B, messages int) {
	const users = 100_000
	for ; l.sent < messages; l.sent++ {
		records := make([]presence.Record, store.MaxRecords)
		for i := range records {
			who, round := l.n%users, l.n/users
			r := presence.Record{
				Kind: presence.RecordOpened, User: presence.User{App: "demo", ID: presence.UserID(fmt.Sprintf("user-%06d", who))},
				Epoch: presence.Epoch{Counter: 1, Incarnation: 1}, Revision: 1, Time: presence.Time(1_700_000_000_000 + 2*l.n), Reason: presence.ReasonOpened,
				Device: presence.Device{Platform: "ios", Product: "app", Locale: "en-US", Addr: "192.0.2.17:50123", Door: "live"},
			}
			r.Session[0], r.Session[1], r.Session[2], r.Session[3] = byte(who), byte(who>>8), byte(who>>16), byte(round/2+1)
			r.Public = presence.PublicID(r.Session)
			if round%2 == 1 {
				r.Kind, r.Reason, r.LastSeen = presence.RecordClosed, presence.ReasonLeft, r.Time
			}
			records[i] = r
			u := l.users[r.User]
			if u == nil {
				u = &presence.Folded{}
				l.users[r.User] = u
			}
			u.Apply(&r, nil)
			u.Forget(r.Time)
			l.n++
		}
		if _, err := l.store.Append(b.Context(), fmt.Sprint(l.sent), records); err != nil {
			b.Fatal(err)
		}
	}
}

// base writes the checkpoint as of the end, and copies it.
func (l *hour) base(b *testing.B) {
	counts, bodies := [store.Shards]int{}, [store.Shards][]byte{}
	for name, u := range l.users {
		n := store.Shard(name)
		counts[n]++
		bodies[n] = presence.AppendFolded(bodies[n], name, u)
	}
	at := uint64(l.sent)
	for n := range bodies {
		if err := l.store.SaveShard(b.Context(), n, at, append(store.AppendShard(nil, counts[n]), bodies[n]...)); err != nil {
			b.Fatal(err)
		}
	}
	err := l.store.Advance(b.Context(), at, 0)
	if err == nil {
		began := time.Now()
		_, err = l.store.SaveBase(b.Context())
		b.Logf("a base of %d users at message %d took %v", len(l.users), at, time.Since(began).Round(time.Millisecond))
	}
	if err != nil {
		b.Fatal(err)
	}
}

// first follows from ten messages before the end, with a new reader.
func (l *hour) first(b *testing.B, name string) {
	enough := errors.New("enough")
	b.Run(name, func(b *testing.B) {
		for b.Loop() {
			r := facts.New(facts.Config{Store: l.store})
			if err := r.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			after := facts.End(uint64(l.sent - 10))
			err := r.Follow(b.Context(), facts.Params{App: "demo", After: after}, func(events []*facts.Event, _ facts.Position) error {
				if len(events) == 0 {
					return nil
				}
				return enough
			})
			if err != enough {
				b.Fatal(err)
			}
			_ = r.Stop(b.Context())
		}
	})
}
