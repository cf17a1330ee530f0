package tracker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// alone is a node whose peers are played by the benchmark.
type alone struct{}

func (alone) Change(int, []byte) {}
func (alone) Here() bool         { return true }
func (alone) Call(context.Context, uint64, string, []byte) ([]byte, error) {
	return nil, errElsewhere
}
func (alone) Nodes() []uint64       { return nil }
func (alone) Reach(context.Context) {}
func (alone) Owner([]byte) uint64   { return 1 }
func (alone) Heir([]byte) uint64    { return 1 }

// foreignRecord is the opening of user n's session at one of two other nodes.
func foreignRecord(n int, at presence.Time) presence.Record {
	var id presence.SessionID
	copy(id[:], fmt.Sprintf("%016x", n*2654435761))
	return presence.Record{
		Kind: presence.RecordOpened, User: presence.User{App: app, ID: presence.UserID(fmt.Sprintf("user-%08d", n))},
		Session: id, Public: presence.PublicID(id), Epoch: presence.Epoch{Incarnation: uint64(2 + n%10/9)}, Revision: 1, Reason: presence.ReasonOpened, Time: at,
		Device: presence.Device{Platform: "ios", Product: "chat", Locale: "en-US", ID: "d" + fmt.Sprint(n), Version: "1.2.3", Addr: fmt.Sprintf("192.0.2.%d:%d", n%250, 1024+n%60000), Door: "live"},
	}
}

// foreignTold is its status, as that node tells it.
func foreignTold(r *presence.Record, revision uint64, show presence.Show) []byte {
	face := presence.Face{Opened: 1, Changed: 1, Revision: presence.ShownRevision(r.Epoch, revision), Since: r.Time, Updated: r.Time + presence.Time(revision)}
	m := told{
		ref: Ref{r.User, r.Session}, public: r.Public, epoch: r.Epoch, revision: revision, device: r.Device, truth: face, shown: face,
		status: &presence.Status{Show: show, Text: presence.Value{Kind: presence.KindText, Text: "in a meeting"}},
	}
	return m.append(nil)
}

func foreignTracker(b *testing.B) *Tracker {
	mem := storetest.NewMemory()
	t := New(Config{
		Policies: map[presence.AppID]Policy{app: {}}, Log: mem, Incarnation: 1, Wheel: wheel.New(nil), Logger: slog.New(slog.DiscardHandler),
		Cluster: &Cluster{Peers: alone{}, Reading: mem},
	})
	t.Listen(silent{}, silent{})
	if err := t.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	t.wheel.Clear(&t.peers.sweep)
	b.Cleanup(func() { _ = t.Stop(context.Background()) })
	return t
}

// fill puts so many sessions of two others into a tracker, each told by the log and by its
// node. A tenth are the node's of incarnation 3.
func (t *Tracker) fill(sessions int, at presence.Time) {
	for n := range sessions {
		r := foreignRecord(n, at)
		t.read(uint64(n+1), []presence.Record{r})
		t.Apply(r.Epoch.Incarnation, t.shardIndex(r.User), [][]byte{foreignTold(&r, 2, presence.Busy)})
	}
}

// BenchmarkForeignMemory fills a node with a million sessions of two others, and then
// loses one of the others, which has 100,000:
//
//	go test ./internal/tracker -run '^$' -bench ForeignMemory -benchtime 1x
func BenchmarkForeignMemory(b *testing.B) {
	const sessions = 1_000_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		t := foreignTracker(b)
		at := t.now()
		began := time.Now()
		t.fill(sessions, at)
		b.ReportMetric(float64(time.Since(began).Microseconds())/sessions, "µs/session")
		b.ReportMetric(float64(heap()-before)/sessions, "B/session")
		t.Lost(3, at, at)
		lost := func() *origin {
			t.peers.mu.Lock()
			defer t.peers.mu.Unlock()
			o := *t.peers.origins[3]
			return &o
		}
		began = time.Now()
		for o := lost(); len(o.going) < Shards; o = lost() {
			t.foresee(o)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/foreseen")
		o := lost()
		o.over, o.agreed = o.over-time.Minute, true
		began = time.Now()
		look := t.sweepOrigin(o)
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/100k-closed")
		began = time.Now()
		look()
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/looked")
		if p := t.Presence(foreignTestUser(9)); p.Available(false) != presence.Unavailable {
			b.Fatal("a lost node's session is still open")
		}
		runtime.KeepAlive(t)
	}
}

func foreignTestUser(n int) presence.User {
	r := foreignRecord(n, 1)
	return r.User
}

// BenchmarkApply is one status of another node's session.
func BenchmarkApply(b *testing.B) {
	t := foreignTracker(b)
	const users = 100_000
	at := t.now()
	records := make([]presence.Record, users)
	for n := range records {
		records[n] = foreignRecord(n, at)
		t.read(uint64(n+1), records[n:n+1])
	}
	var changes [][]byte
	for n := range records {
		changes = append(changes, foreignTold(&records[n], 2, presence.Busy))
	}
	shards := make([]int, users)
	for n := range records {
		shards[n] = t.shardIndex(records[n].User)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if n := i % users; n == 0 && i > 0 {
			b.StopTimer()
			for n := range records {
				changes[n] = foreignTold(&records[n], uint64(2+i/users), presence.Show(i/users%2))
			}
			b.StartTimer()
		}
		n := i % users
		t.Apply(records[n].Epoch.Incarnation, shards[n], changes[n:n+1])
		i++
	}
}
