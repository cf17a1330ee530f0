package natsbus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// several are nodes that hear each other's words at once, and each its own.
func several(names ...string) map[string]*parting {
	all := map[string]*parting{}
	for _, name := range names {
		all[name] = &parting{name: name, others: map[string]time.Time{}, say: func(subject string) {
			for _, n := range names {
				all[n].hear(subject)
			}
		}}
	}
	return all
}

// TestParting: a node that is done waits for those that are stopping and not done,
// and for nobody else.
func TestParting(t *testing.T) {
	t.Parallel()
	const least = stoppingLeast
	for name, c := range map[string]struct {
		begin []string                                         // who stops, beside n1
		then  func(ctx context.Context, n map[string]*parting) // what happens to them
		limit time.Duration                                    // of n1's stop; 0: none
		want  time.Duration                                    // how long n1 waits
	}{
		"nobody else stops": {nil, func(context.Context, map[string]*parting) {}, 0, stoppingFirst},
		"another begins after it": {nil, func(ctx context.Context, n map[string]*parting) {
			time.AfterFunc(stoppingFirst/2, n["n2"].begin)
			after(4*time.Second, "n2")(ctx, n)
		}, 0, 4 * time.Second},
		"another is done in 4 s":      {[]string{"n2"}, after(4*time.Second, "n2"), 0, 4 * time.Second},
		"both others, one late":       {[]string{"n2", "n3"}, after(7*time.Second, "n2", "n3"), 0, 7 * time.Second},
		"another dies while it stops": {[]string{"n2"}, func(_ context.Context, n map[string]*parting) { close(n["n2"].quit) }, 0, stoppingWord},
		"another takes for ever":      {[]string{"n2"}, func(context.Context, map[string]*parting) {}, 12 * time.Second, 12*time.Second - least},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := several("n1", "n2", "n3")
				for _, other := range append([]string{"n1"}, c.begin...) {
					n[other].begin()
					n[other].begin() // says no more
				}
				synctest.Wait()
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if c.limit > 0 {
					ctx, cancel = context.WithTimeout(ctx, c.limit)
				}
				defer cancel()
				from := time.Now()
				c.then(ctx, n)
				n["n1"].done(ctx)
				if got := time.Since(from); got < c.want || got > c.want+stoppingLook {
					t.Errorf("waited %v, want %v", got, c.want)
				}
				synctest.Wait()
				for _, other := range c.begin {
					if n[other].knows("n1") {
						t.Errorf("%s still waits for n1, which is done", other)
					}
				}
				end(n)
			})
		})
	}
}

// after lets nodes be done some time later.
func after(d time.Duration, names ...string) func(context.Context, map[string]*parting) {
	return func(ctx context.Context, n map[string]*parting) {
		for _, name := range names {
			time.AfterFunc(d, func() { n[name].done(ctx) })
		}
	}
}

func (p *parting) knows(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.others[name]
	return ok
}

// end ends what nodes still say.
func end(n map[string]*parting) {
	for _, p := range n {
		p.mu.Lock()
		if p.quit != nil {
			select {
			case <-p.quit:
			default:
				close(p.quit)
			}
		}
		p.mu.Unlock()
		p.saying.Wait()
	}
}
