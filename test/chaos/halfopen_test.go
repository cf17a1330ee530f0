package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// The policy of the half-open case, short so that it can be waited for.
const (
	shortTimeout  = 6 * time.Second
	shortGrace    = 2 * time.Second
	halfOpenCount = 8
	halfOpenLimit = shortTimeout + time.Second // R2
)

// halfOpen is a device whose network goes away without a word.
type halfOpen struct {
	*device
	proxy  *proxy
	frozen time.Time // when the server last got a byte of it
	goneAt time.Time
}

// TestHalfOpen is R2: who is half open is gone by heartbeat_timeout + 1 s, for
// queries and for watchers, and was last seen when the last byte came (R12). A
// device beside them that is silent, but whose connection lives, stays.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	n := newNode(t, "", fmt.Sprintf("heartbeat_timeout: %v, grace: %v", shortTimeout, shortGrace))
	users := []string{"watcher", "silent"}
	for i := range halfOpenCount {
		users = append(users, fmt.Sprintf("half%d", i))
	}
	w := newWorld(t, n, seedOf(t), users)
	w.begin(t)
	watcher := connected(t, w, "watcher", nil, users)
	connected(t, w, "silent", nil, nil)
	var halves []*halfOpen
	for _, u := range users[2:] {
		p := newProxy(t, n.grpc)
		halves = append(halves, &halfOpen{device: connected(t, w, u, p, nil), proxy: p})
	}
	for _, h := range halves {
		pause(t.Context().Done(), time.Duration(h.random.Int64N(int64(500*time.Millisecond))))
		h.frozen = h.proxy.freeze()
	}
	w.waitGone(t, halves)
	checkHalfOpen(t, w, watcher, halves)
	w.judge(t, "half open")
}

// connected makes a device, through a proxy if there is one, and opens its
// session, watching users.
func connected(t *testing.T, w *world, user string, p *proxy, watch []string) *device {
	t.Helper()
	d, err := w.newDevice(user, "", uint64(len(user)))
	if err != nil {
		t.Fatal(err)
	}
	d.keep = watch != nil
	if p != nil {
		d.conn.Close()
		if d.conn, err = dial(p.addr()); err != nil {
			t.Fatal(err)
		}
		d.stub = isonlinev1.NewIsOnlineServiceClient(d.conn)
	}
	t.Cleanup(func() { d.drop(); d.conn.Close() })
	if err := d.make(); err != nil {
		t.Fatal(err)
	}
	if len(watch) > 0 {
		if err := d.subscribe(watch...); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.connect(opens, true); err != nil {
		t.Fatal(err)
	}
	return d
}

// waitGone polls until a query shows none of them any more, or it is too late.
func (w *world) waitGone(t *testing.T, halves []*halfOpen) {
	t.Helper()
	var users []string
	for _, h := range halves {
		users = append(users, h.user)
	}
	limit := time.Now().Add(halfOpenLimit + 5*time.Second)
	w.eventually(limit, 10*time.Millisecond, func() bool {
		v, err := w.strange(users)
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, h := range halves {
			switch p := v[h.user]; {
			case p.online:
				left++
			case h.goneAt.IsZero():
				h.goneAt = time.Now()
			}
		}
		return left == 0
	})
}

func checkHalfOpen(t *testing.T, w *world, watcher *device, halves []*halfOpen) {
	t.Helper()
	var worst, worstSeen time.Duration
	silent, err := w.own("silent")
	if err != nil || len(silent.sessions) != 1 {
		w.blame("a silent device with a live connection has %d sessions (%v), want 1", len(silent.sessions), err)
	}
	for _, h := range halves {
		if h.goneAt.IsZero() {
			w.blame("%s is still online %v after its last byte", h.user, time.Since(h.frozen))
			continue
		}
		worst = max(worst, h.goneAt.Sub(h.frozen))
		p, err := w.own(h.user)
		if err != nil {
			t.Fatal(err)
		}
		off := p.lastSeen.Sub(h.frozen)
		worstSeen = max(worstSeen, off, -off)
		heard := func() bool {
			return slices.ContainsFunc(watcher.line.all(), func(n told) bool {
				return n.GetUserId() == h.user && n.GetSession().GetCloseReason() == isonlinev1.CloseReason_CLOSE_REASON_HEARTBEAT
			})
		}
		if _, ok := w.eventually(time.Now().Add(converge), 10*time.Millisecond, heard); !ok {
			w.blame("the watcher was not told that %s timed out", h.user)
		}
	}
	if worst > halfOpenLimit {
		w.blame("the worst half-open device was online for %v, want at most %v (R2)", worst, halfOpenLimit)
	}
	if worstSeen > time.Second {
		w.blame("the worst last seen of a half-open device is %v off, want at most 1 s (R12)", worstSeen)
	}
	t.Logf("R2: %d half-open devices, heartbeat_timeout %v: the last one gone after %v (at most %v); last seen at most %v off",
		len(halves), shortTimeout, worst.Round(time.Millisecond), halfOpenLimit, worstSeen.Round(time.Millisecond))
}
