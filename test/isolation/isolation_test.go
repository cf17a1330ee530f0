package isolation

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// between is the time from one step to the next; some are told late, so that
// graces and time-outs come due in between.
var between = []time.Duration{100 * time.Millisecond, 3 * time.Second, 20 * time.Second}

// plan is what both apps do, and when.
type plan struct {
	steps []step
	after []time.Duration
}

func drawPlan(t *rapid.T) plan {
	all := kinds()
	var p plan
	for range rapid.IntRange(10, 40).Draw(t, "steps") {
		s := step{
			app: rapid.IntRange(0, 1).Draw(t, "app"), do: rapid.SampledFrom(all).Draw(t, "do"),
			user: rapid.SampledFrom(users).Draw(t, "user"), other: rapid.SampledFrom(users).Draw(t, "other"),
			device: rapid.IntRange(0, 1).Draw(t, "device"), text: rapid.SampledFrom([]string{"plays", "calls"}).Draw(t, "text"),
		}
		p.steps = append(p.steps, s)
		p.after = append(p.after, rapid.SampledFrom(between).Draw(t, "after"))
	}
	return p
}

// told runs a plan with only some of the apps taking part, and returns what
// each app was told.
func told(t *testing.T, p plan, takesPart ...int) (heard []map[string][]string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		now := time.Duration(0)
		for i, s := range p.steps {
			now += p.after[i]
			w.at(now)
			if slices.Contains(takesPart, s.app) {
				w.tenants[s.app].take(s)
			}
		}
		w.at(now + time.Minute)
		for _, n := range w.tenants {
			heard = append(heard, n.soFar()) // when devices come back after a stop is chance
		}
		w.stop()
	})
	return heard
}

// TestNothingCrossesApps: what an app is told does not depend on what the other
// one does.
func TestNothingCrossesApps(t *testing.T) {
	t.Parallel()
	rapidtest.Observe(t, 3*rapidtest.Limit).Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		both := told(t, p, 0, 1)
		for i, name := range apps {
			alone := told(t, p, i)
			if diff := cmp.Diff(alone[i], both[i]); diff != "" {
				rt.Fatalf("app %s is told something else when the other app is busy (-alone +both):\n%s\nthe plan: %s", name, diff, fmt.Sprintf("%+v", p))
			}
		}
	})
}

// TestTwinsDiffer: the comparison sees what an app itself does, so it would see
// what came from elsewhere.
func TestTwinsDiffer(t *testing.T) {
	t.Parallel()
	p := plan{
		steps: []step{
			{app: 0, do: "make and connect", user: "alice", other: "bob"},
			{app: 0, do: "rest befriend", user: "alice", other: "bob"},
			{app: 0, do: "subscribe to friends", user: "alice", other: "bob"},
			{app: 1, do: "make and connect", user: "bob", other: "alice"},
		},
		after: []time.Duration{time.Second, time.Second, time.Second, time.Second},
	}
	quiet := told(t, p, 0, 1)
	p.steps[3].app = 0
	heard := told(t, p, 0, 1)
	const who = "alice/0 stream"
	if cmp.Equal(quiet[0][who], heard[0][who]) {
		t.Error("alice is told the same whether bob of her app comes or not; the test would see nothing cross")
	}
}
