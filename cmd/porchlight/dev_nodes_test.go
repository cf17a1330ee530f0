package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestStartAllEndsWithTheFirst: nodes that wait for one that cannot start do not wait
// for ever, and what is said is why it cannot.
func TestStartAllEndsWithTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		taken := errors.New("address in use")
		waits := func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("no majority")
		}
		ended := make(chan error, 1)
		go func() {
			ended <- startAll(t.Context(), waits, func(context.Context) error { return taken }, waits)
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			if !errors.Is(err, taken) {
				t.Errorf("got %v, want %v", err, taken)
			}
		default:
			t.Error("it waits, though one node cannot start")
		}
		if err := startAll(t.Context(), func(context.Context) error { return nil }); err != nil {
			t.Errorf("all start: got %v, want no error", err)
		}
	})
}
