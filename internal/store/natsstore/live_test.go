package natsstore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// ledLives is the stream of signs of life of several servers, whose clocks differ:
// ahead is that of who leads it now. There is nothing of the engine in it.
type ledLives struct {
	jetstream.Stream
	ahead time.Duration
	last  uint64
	kept  map[string]*jetstream.RawStreamMsg
}

// renew stores a sign of life.
func (l *ledLives) renew(name string) {
	l.last++
	l.kept[liveName(name)] = &jetstream.RawStreamMsg{
		Sequence: l.last, Time: time.Now().Add(l.ahead), Data: presence.AppendNumber([]byte{liveVersion}, 1),
	}
}

// Info implements jetstream.Stream.
func (l *ledLives) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info := &jetstream.StreamInfo{State: jetstream.StreamState{LastSeq: l.last, Subjects: map[string]uint64{}}}
	for subject := range l.kept {
		info.State.Subjects[subject] = 1
	}
	return info, nil
}

// GetLastMsgForSubject implements jetstream.Stream.
func (l *ledLives) GetLastMsgForSubject(_ context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	if m := l.kept[subject]; m != nil {
		return m, nil
	}
	return nil, jetstream.ErrMsgNotFound
}

// DeleteMsg implements jetstream.Stream.
func (l *ledLives) DeleteMsg(_ context.Context, sequence uint64) error {
	maps.DeleteFunc(l.kept, func(_ string, m *jetstream.RawStreamMsg) bool { return m.Sequence == sequence })
	return nil
}

// TestMembersWhereLeadersClocksDiffer: nobody's record is taken for old because the
// stream has a leader with another clock, and what is old goes by every clock.
func TestMembersWhereLeadersClocksDiffer(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"same": 0, "ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				lives := &ledLives{kept: map[string]*jetstream.RawStreamMsg{}}
				s := &Store{several: several{prefix: "pl", live: lives}}
				is := func(when string, s *Store, want ...string) {
					t.Helper()
					all, err := s.Members(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					var got []string
					for _, l := range all {
						got = append(got, l.Name)
					}
					if slices.Sort(got); !slices.Equal(got, want) {
						t.Errorf("%s: got %v, want %v", when, got, want)
					}
				}
				renew := func(names ...string) {
					for _, name := range names {
						lives.renew(name)
					}
				}
				renew("a", "b", "dead")
				is("all live", s, "a", "b", "dead")
				<-time.After(9 * time.Second)
				lives.ahead = ahead
				renew("a")
				is("another leader, who has heard one", s, "a", "b", "dead")
				renew("b", "dead")
				is("and all", s, "a", "b", "dead")
				lives.ahead = 0
				<-time.After(9 * time.Second)
				renew("a")
				is("the first again, who has heard one", s, "a", "b", "dead")
				renew("b")
				is("and those that live", s, "a", "b", "dead")
				started := []string{"a", "b", "dead"}
				if ahead < 0 {
					started = started[:2] // there is nothing else to go by
				}
				is("and who starts", &Store{several: several{prefix: "pl", live: lives}}, started...)
				<-time.After(liveFor - 10*time.Second)
				renew("a", "b")
				is("a moment before", s, "a", "b", "dead")
				<-time.After(11 * time.Second)
				renew("a", "b")
				is("and after", s, "a", "b")
				is("and again", s, "a", "b")
				if len(lives.kept) != 2 {
					t.Errorf("got %d records, want that of the dead node deleted", len(lives.kept))
				}
			})
		})
	}
}

// TestAStartPassesOverWhoIsLongDead: a node that starts does not count those whose
// records stood still for long by the engine's clock; it deletes none on that word alone.
func TestAStartPassesOverWhoIsLongDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lives := &ledLives{kept: map[string]*jetstream.RawStreamMsg{}}
		s := &Store{several: several{prefix: "pl", live: lives}}
		lives.renew("dead")
		<-time.After(2 * liveFor)
		for _, want := range []int{2, 1} {
			lives.renew("a")
			if all, err := s.Members(t.Context()); err != nil || len(all) != 1 || all[0].Name != "a" {
				t.Errorf("got %v, %v, want a alone", all, err)
			}
			if len(lives.kept) != want {
				t.Errorf("got %d records, want %d", len(lives.kept), want)
			}
			<-time.After(deadFor + time.Millisecond)
		}
	})
}

// TestRenewNoticesDataThatAreMadeAnew: a node that runs while what all nodes share is
// deleted and made anew knows what is not there any more, and is told.
func TestRenewNoticesDataThatAreMadeAnew(t *testing.T) {
	t.Parallel()
	bus, err := natsbus.New(natsbus.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Stop(context.Background())
	if err := bus.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	store1, store2 := &Store{js: bus.JetStream()}, &Store{js: bus.JetStream()}
	for _, s := range []*Store{store1, store2} {
		s.prefix, s.cfg = "pl", Config{Bus: bus}
	}
	for range 5 {
		if err := store1.Renew(t.Context(), "a", 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := bus.JetStream().DeleteStream(t.Context(), liveStream); err != nil {
		t.Fatal(err)
	}
	if err := store1.Renew(t.Context(), "a", 3); err == nil || errors.Is(err, store.ErrAnew) {
		t.Errorf("without data: got %v, want an error of another kind", err)
	}
	if err := store2.Renew(t.Context(), "b", 1); err != nil {
		t.Fatal(err)
	}
	if err := store1.Renew(t.Context(), "a", 3); !errors.Is(err, store.ErrAnew) {
		t.Errorf("with other data: got %v, want ErrAnew", err)
	}
	if err := store2.Renew(t.Context(), "b", 1); err != nil {
		t.Errorf("of a node that knows no others: got %v, want no error", err)
	}
}
