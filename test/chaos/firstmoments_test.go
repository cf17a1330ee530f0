package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestFirstMoments kills all nodes within moments of their very first start, when none
// serves the webhook yet: what was acknowledged until then is told after the next one
// (R4, R5).
func TestFirstMoments(t *testing.T) {
	o := newOwners(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	for n := range 20 {
		load.Go(func() { o.comeAndGo(ctx, fmt.Sprintf("user%d", n)) })
	}
	pause(ctx.Done(), 1500*time.Millisecond)
	for _, i := range o.fleet.all() {
		o.fleet.kill(i)
	}
	cancel()
	load.Wait()
	o.hook.mu.Lock()
	t.Logf("%d were acknowledged before all died, %d were told", len(o.acked), len(o.hook.taken))
	o.hook.mu.Unlock()
	if err := o.fleet.start(o.fleet.all()...); err != nil {
		t.Fatal(err)
	}
	o.check()
}
