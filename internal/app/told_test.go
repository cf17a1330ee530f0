package app

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	grants "github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// TestGrantsOfOthersHoldUpNobody: what follows from a change of grants at another node
// waits for the store; who tells of it does not, nor does what is told behind it.
func TestGrantsOfOthersHoldUpNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &App{}
		var err error
		if a.grants, err = grants.New(grants.Config{Store: storetest.NewMemory()}); err != nil {
			t.Fatal(err)
		}
		var heard []string
		a.grants.Listen(func(ctx context.Context, c grants.Change) {
			<-ctx.Done() // the store does not answer
			heard = append(heard, c.Publisher)
		})
		a.ready.Store(true)
		told, ctx, want := newToldGrants(a), t.Context(), []string{"first", "second", "third"}
		go told.run(ctx)
		began := time.Now()
		for _, publisher := range want {
			b, err := json.Marshal(grants.Change{Publisher: publisher})
			if err != nil {
				t.Fatal(err)
			}
			told.Told(7, b)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("telling took %v", took)
		}
		<-time.After(time.Duration(len(want)) * scrapeLimit)
		synctest.Wait()
		if !slices.Equal(heard, want) {
			t.Errorf("got %v, want %v", heard, want)
		}
	})
}
