package app

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// The end of a node: its devices are told to come back, here or elsewhere.

// The most a stopping node spreads its devices' return over, and how many of
// them it plans for each second of it: not all may come in the same moment
// (design §4, SIGTERM).
const (
	maxSpread       = 5 * time.Second
	returnsASecond  = 2000
	shortestReturn  = 200 * time.Millisecond
	streamsEndLimit = 3 * time.Second
)

func (a *App) markReady(context.Context) error {
	a.tracker.Ready()
	a.ready.Store(true)
	return nil
}

// drain is the first thing a stop does.
func (a *App) drain(ctx context.Context) error {
	a.ready.Store(false)
	a.bus.Stopping()
	away := a.othersServe()
	if away {
		a.door.Leave()
	} else {
		a.door.Drain()
	}
	a.api.Drain()
	spread := min(maxSpread, time.Duration(a.hub.Counts().Watchers)*time.Second/returnsASecond)
	end := func(over time.Duration) func() tracker.End {
		return func() tracker.End {
			return tracker.End{Cause: tracker.CauseDraining, RetryAfter: shortestReturn + rand.N(over+1)}
		}
	}
	if away {
		a.tracker.DrainAway(ctx, spread, end(shortestReturn))
	} else {
		a.tracker.Drain(end(spread))
	}
	a.foreign.stringee.Load().Away(ctx)
	return nil
}
