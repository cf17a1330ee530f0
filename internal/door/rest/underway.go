package rest

import (
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

const (
	// mostSnapshots of one app are made at once. Each holds up to 32 MB for as long
	// as its reader takes, and a base is kept for it.
	mostSnapshots = 2
	// snapshotAgain is when to ask again.
	snapshotAgain = 10 * time.Second
)

// underWay counts the snapshots of each app that are being read. The zero value
// is ready.
type underWay struct {
	mu    sync.Mutex // guards count
	count map[presence.AppID]int
}

// begin counts one more, until done is called once; or fails with RateLimited.
func (u *underWay) begin(app presence.AppID) (done func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.count[app] >= mostSnapshots {
		return nil, fault.Retry(fault.RateLimited, snapshotAgain, "%d snapshots of the app are being read; a third must wait until one of them ends", mostSnapshots)
	}
	if u.count == nil {
		u.count = map[presence.AppID]int{}
	}
	u.count[app]++
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.count[app]--
	}, nil
}
