package chaos

import (
	"context"
	"sync"
	"testing"
	"time"
)

const (
	pulseEvery = 10 * time.Millisecond
	// standstill is a gap in our own pulse after which nobody can say of a node
	// what it did in time: the machine did not let it.
	standstill = 500 * time.Millisecond
	// uneasy is one after which a node is believed that says that it stood still.
	// Without one, whatever held it up was no fault of the machine.
	uneasy = 150 * time.Millisecond
)

// pulse watches whether the machine lets processes run.
type pulse struct {
	mu    sync.Mutex // guards worst
	worst time.Duration
}

// newPulse beats until the test ends.
func newPulse(t *testing.T) *pulse {
	t.Helper()
	p := &pulse{}
	ctx, cancel := context.WithCancel(context.Background())
	var beating sync.WaitGroup
	beating.Go(func() {
		last := time.Now()
		for pause(ctx.Done(), pulseEvery) {
			now := time.Now()
			p.beat(now.Sub(last))
			last = now
		}
	})
	t.Cleanup(func() { cancel(); beating.Wait() })
	return p
}

func (p *pulse) beat(gap time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.worst = max(p.worst, gap)
}

// take is the longest gap since the last call.
func (p *pulse) take() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	worst := p.worst
	p.worst = 0
	return worst
}
