package tracker

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// BenchmarkLeftMemory is what a node keeps of sessions that went to another one, of which
// each watched fifty:
//
//	go test ./internal/tracker -run '^$' -bench LeftMemory -benchtime 1x
func BenchmarkLeftMemory(b *testing.B) {
	const sessions = 100_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		t := foreignTracker(b)
		mem := storetest.NewMemory()
		t.cfg.Checkpoints, t.peers.Notes, t.watchlist = mem, mem, fifty{}
		at := t.now()
		all := make([]*session, sessions)
		for n := range all {
			r := foreignRecord(n, at)
			all[n] = &session{
				id: r.Session, user: &user{name: r.User}, phase: presence.PhaseLive, epoch: r.Epoch,
				status: &presence.Status{Show: presence.Busy},
			}
		}
		before := heap()
		for _, s := range all {
			sh := t.shard(s.user.name)
			sh.mu.Lock()
			t.leave(sh, s)
			sh.mu.Unlock()
			t.listLeft(sh, s.id)
		}
		b.ReportMetric(float64(heap()-before)/sessions, "B/session")
		runtime.KeepAlive(all)
		runtime.KeepAlive(t)
	}
}

// fifty is a watch list that nobody else has the names of.
type fifty struct{}

func (fifty) Watches(id presence.SessionID) (users []presence.UserID, friends bool) {
	for n := range 50 {
		users = append(users, presence.UserID(fmt.Sprintf("user-%x%02d", id[:3], n)))
	}
	return users, true
}
