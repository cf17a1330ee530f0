package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How memory is given back after a storm of logins: the garbage of it would
// otherwise stay until the next collection, which an idle node is minutes from,
// and idle devices are most of what a node has.
const (
	restEvery  = 500 * time.Millisecond
	quietBytes = 1 << 20  // allocated within restEvery: less is quiet
	worthBytes = 16 << 20 // allocated since the last time: less is not worth it
	worthShare = 2        // nor is less than this part of what lives
	// restAgain later it is done once more: the engine keeps what it wrote for ten
	// seconds.
	restAgain = 20 * time.Second
)

// rest gives memory back whenever the node has become quiet after having
// allocated a lot. Between storms it does nothing.
type rest struct {
	shed       func() // gives up what is kept to be quick
	quit, done chan struct{}
}

func startRest(shed func()) *rest {
	r := &rest{shed, make(chan struct{}), make(chan struct{})}
	go r.run()
	return r
}

func (r *rest) run() {
	defer close(r.done)
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	var last, rested uint64
	again := 0 // ticks until the second time; 0: there is none to come
	for {
		select {
		case <-r.quit:
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		now := sample[0].Value.Uint64()
		again = max(again-1, min(again, 1)) // the last tick waits until it is quiet
		switch quiet := now-last < quietBytes; {
		case quiet && now-rested > max(worthBytes, sample[1].Value.Uint64()/worthShare):
			r.giveBack()
			rested, again = now, int(restAgain/restEvery)
		case quiet && again == 1:
			r.giveBack()
			again = 0
		}
		last = now
	}
}

func (r *rest) giveBack() {
	r.shed()
	runtime.GC() // pools keep what they have through one collection
	debug.FreeOSMemory()
}

func (r *rest) stop(context.Context) error {
	close(r.quit)
	<-r.done
	return nil
}
