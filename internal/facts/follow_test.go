package facts

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestFollowTellsWhatIsThereAndThenWhatComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		g.append(t, g.opened("alice", 1, 1), g.opened("bob", 2, 1))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var got []*Event
		done := make(chan error, 1)
		go func() {
			done <- g.r.Follow(ctx, Params{App: "demo"}, func(events []*Event, _ Position) error {
				got = append(got, events...)
				return nil
			})
		}()
		synctest.Wait()
		if len(got) != 2 {
			t.Fatalf("at first: got %d events, want 2", len(got))
		}
		g.append(t, g.closed("alice", 1, 1))
		synctest.Wait()
		if len(got) != 3 || got[2].Kind != presence.RecordClosed || got[2].Seq != 2 || got[2].After {
			t.Fatalf("then: got %v, want that alice closed, her second", saidAll(got))
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the end: got %v, want the context's", err)
		}
		// From anywhere the rest is the same.
		want := saidAll(got)
		for i, e := range got[:2] {
			rest, _ := g.collect(t, Params{App: "demo", After: e.Position}, 2-i)
			if diff := cmp.Diff(want[i+1:], saidAll(rest)); diff != "" {
				t.Errorf("after event %d (-want +got):\n%s", i, diff)
			}
		}
	})
}
