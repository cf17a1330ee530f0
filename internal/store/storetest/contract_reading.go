package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// follow follows in the background; what comes is sent, and at the end the error.
func follow(ctx context.Context, s store.Reading, from uint64) (came chan message, ended chan error) {
	came, ended = make(chan message, 1000), make(chan error, 1)
	go func() {
		ended <- s.Follow(ctx, from, func(seq uint64, rs []presence.Record) error {
			came <- message{seq, rs}
			return nil
		})
	}()
	return came, ended
}

// wantCame compares what came until nothing more does.
func wantCame(t testing.TB, came chan message, want []message) {
	t.Helper()
	var got []message
	for {
		select {
		case m := <-came:
			got = append(got, m)
			continue
		case <-time.After(10 * time.Second):
		}
		break
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what came differs (-want +got):\n%s", diff)
	}
}

func followGoesOn(t *testing.T, b *bench) {
	s := b.store()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	empty, _ := follow(ctx, s, 0) // of a log that holds nothing yet
	want := fill(t, s, 5, 3)
	late, ended := follow(ctx, s, want[2].Sequence)
	end, _ := follow(ctx, s, want[4].Sequence+1)
	wantCame(t, empty, want)
	wantCame(t, late, want[2:])
	wantCame(t, end, nil)
	<-time.After(10 * time.Minute) // nothing happens, and no follower is forgotten for it
	for i := range 3 {
		began := time.Now()
		rs := Records(100+i, 2)
		pos := mustAppend(t, s, fmt.Sprint("live", i), rs)
		m := message{pos.Sequence, rs}
		for _, came := range []chan message{empty, late, end} {
			select {
			case got := <-came:
				if diff := cmp.Diff(m, got); diff != "" {
					t.Errorf("live message differs (-want +got):\n%s", diff)
				}
			case <-time.After(time.Minute):
				t.Fatal("a live message does not come")
			}
		}
		if took := time.Since(began); took > 5*time.Millisecond {
			t.Errorf("a live message took %v, want it at once", took)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("context over: got %v, want its error", err)
	}
}

func followEnds(t *testing.T, b *bench) {
	s := b.store()
	fill(t, s, 4, 2)
	enough := errors.New("enough")
	calls := 0
	if err := s.Follow(context.Background(), 2, func(uint64, []presence.Record) error {
		calls++
		return enough
	}); !errors.Is(err, enough) || calls != 1 {
		t.Errorf("callback's error: got %v after %d calls, want it after 1", err, calls)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, ended := follow(ctx, s, 0)
	synctest.Wait()
	b.close()
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("store stopped: got %v, want ErrClosed", err)
	}
}

// followSlow: a follower that takes long for one message misses nothing, and
// holds nobody up.
func followSlow(t *testing.T, b *bench) {
	s := b.store()
	want := fill(t, s, 3, 2)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var got []message
	go func() {
		_ = s.Follow(ctx, 0, func(seq uint64, rs []presence.Record) error {
			if got = append(got, message{seq, rs}); len(got)%50 == 1 {
				<-time.After(5 * time.Minute)
			}
			return nil
		})
	}()
	quick, _ := follow(ctx, s, 0)
	for i := range 200 {
		rs := Records(100+i, 20)
		pos := mustAppend(t, s, fmt.Sprint("s", i), rs)
		want = append(want, message{pos.Sequence, rs})
	}
	wantCame(t, quick, want)
	<-time.After(time.Hour)
	synctest.Wait()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the slow one got differs (-want +got):\n%s", diff)
	}
}

func followGap(t *testing.T, b *bench) {
	b.maxBytes = smallLog
	s := b.store()
	last := untilFull(t, s, "a")
	if err := s.Advance(context.Background(), last, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Follow(context.Background(), 1, func(uint64, []presence.Record) error {
		t.Error("Follow from a trimmed position called back, want no call")
		return nil
	}); !errors.Is(err, store.ErrGap) {
		t.Errorf("Follow from a trimmed position: got %v, want ErrGap", err)
	}
	first, next, err := s.Ends(context.Background())
	if err != nil || first <= 1 || next != last+1 {
		t.Errorf("Ends: got %d and %d, %v, want more than 1 and %d", first, next, err, last+1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	came, _ := follow(ctx, s, first)
	if m := <-came; m.Sequence != first {
		t.Errorf("Follow from the oldest: got %d first, want %d", m.Sequence, first)
	}
}

func logEnds(t *testing.T, b *bench) {
	s := b.store()
	began := time.Now()
	if first, next, err := s.Ends(context.Background()); first != 1 || next != 1 || err != nil {
		t.Errorf("empty log: got ends %d and %d, %v, want 1 and 1", first, next, err)
	}
	if seq, err := s.SequenceAt(context.Background(), began); seq != 1 || err != nil {
		t.Errorf("empty log: got %d, %v, want 1", seq, err)
	}
	var times []time.Time
	for i := range 7 {
		<-time.After(time.Minute)
		times = append(times, time.Now())
		mustAppend(t, s, fmt.Sprint(i), Records(i, 1))
	}
	for _, when := range []string{"same store", "opened again"} {
		if first, next, err := s.Ends(context.Background()); first != 1 || next != 8 || err != nil {
			t.Errorf("%s: got ends %d and %d, %v, want 1 and 8", when, first, next, err)
		}
		for i, at := range times {
			for _, c := range []struct {
				d    time.Duration
				want uint64
			}{{-time.Second, uint64(i + 1)}, {time.Second, uint64(i + 2)}} {
				if seq, err := s.SequenceAt(context.Background(), at.Add(c.d)); seq != c.want || err != nil {
					t.Errorf("%s: %v from message %d: got %d, %v, want %d", when, c.d, i+1, seq, err, c.want)
				}
			}
		}
		s = b.store()
	}
}

func replayOfAUser(t *testing.T, b *bench) {
	s := b.store()
	want := fill(t, s, 30, 3)
	for _, c := range []struct {
		user     presence.User
		from, to uint64
	}{
		{want[7].Records[1].User, 1, 31}, {want[7].Records[1].User, 0, 1000}, {want[7].Records[1].User, 8, 9},
		{want[7].Records[1].User, 9, 31}, {want[7].Records[1].User, 1, 8}, {demoUser("nobody"), 1, 31},
	} {
		var got, must []uint64
		err := s.ReplayUser(context.Background(), c.user, c.from, c.to, func(seq uint64, rs []presence.Record) error {
			if diff := cmp.Diff(want[seq-1].Records, rs); diff != "" {
				t.Errorf("message %d differs (-want +got):\n%s", seq, diff)
			}
			if slices.ContainsFunc(rs, func(r presence.Record) bool { return r.User == c.user }) {
				got = append(got, seq)
			}
			return nil
		})
		for _, m := range want {
			if m.Sequence >= c.from && m.Sequence < c.to && slices.ContainsFunc(m.Records, func(r presence.Record) bool { return r.User == c.user }) {
				must = append(must, m.Sequence)
			}
		}
		if !slices.Equal(got, must) || err != nil {
			t.Errorf("%v from %d to %d: got messages %v, %v, want %v", c.user, c.from, c.to, got, err, must)
		}
	}
}

// erasedRecord makes an erased record.
func erasedRecord(user presence.User, at presence.Time) presence.Record {
	return presence.Record{Kind: presence.RecordErased, User: user, Time: at}
}

func erasedUsers(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	var want []store.Erasure
	list := func(since uint64) (all []store.Erasure, count uint64) {
		t.Helper()
		count, err := s.Erasures(ctx, since, func(e store.Erasure) error {
			all = append(all, e)
			return nil
		})
		if err != nil || count != s.Erased() {
			t.Errorf("Erasures: got count %d, %v, want %d as Erased says", count, err, s.Erased())
		}
		return all, count
	}
	if all, count := list(0); len(all) != 0 || count != 0 {
		t.Errorf("at first: got %v, %d, want none", all, count)
	}
	for i, u := range oddUsers() {
		rs := append(Records(i, 2), erasedRecord(u, presence.Time(1000+i)), Records(100+i, 1)[0])
		pos := mustAppend(t, s, fmt.Sprint(i), rs)
		mustAppend(t, s, fmt.Sprint(i), rs) // the same once more is the same erasure
		want = append(want, store.Erasure{User: store.UserMark(u), Sequence: pos.Sequence, Time: presence.Time(1000 + i)})
	}
	for _, when := range []string{"same store", "opened again", "and again"} {
		all, count := list(0)
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("%s: erasures differ (-want +got):\n%s", when, diff)
		}
		if later, _ := list(count); len(later) != 0 {
			t.Errorf("%s: later ones: got %v, want none", when, later)
		}
		pos := mustAppend(t, s, when, []presence.Record{erasedRecord(demoUser("alice"), presence.Time(5000+len(want)))})
		want = append(want, store.Erasure{User: store.UserMark(demoUser("alice")), Sequence: pos.Sequence, Time: presence.Time(5000 + len(want))})
		if later, _ := list(count); len(later) != 1 || later[0] != want[len(want)-1] {
			t.Errorf("%s: later ones: got %v, want %v", when, later, want[len(want)-1])
		}
		s = b.store()
	}
}
