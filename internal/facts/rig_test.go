package facts

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tb is what tests and rapid's checks have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// rig is a store in memory with a reader.
type rig struct {
	*storetest.Memory
	r    *Reader
	sent int
	now  presence.Time
}

func newRig(cfg Config) *rig {
	g := &rig{Memory: storetest.NewMemory(), now: 1_700_000_000_000}
	g.open(cfg)
	return g
}

// open makes a new reader on the store.
func (g *rig) open(cfg Config) {
	cfg.Store = g.Memory
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g.r = New(cfg)
	_ = g.r.Start(context.Background())
}

func (g *rig) close() { _ = g.r.Stop(context.Background()) }

// append stores records as one message.
func (g *rig) append(t tb, rs ...presence.Record) uint64 {
	t.Helper()
	g.sent++
	pos, err := g.Append(context.Background(), fmt.Sprint("m", g.sent), rs)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return pos.Sequence
}

func user(id string) presence.User { return presence.User{App: "demo", ID: presence.UserID(id)} }

// opened and closed make records of a user's session at the rig's time, which
// goes on by a second.
func (g *rig) opened(id string, session byte, counter uint32) presence.Record {
	g.now += 1000
	return presence.Record{
		Kind: presence.RecordOpened, User: user(id), Session: presence.SessionID{session}, Public: presence.PublicID{session},
		Epoch: presence.Epoch{Counter: counter, Incarnation: 1}, Reason: presence.ReasonOpened, Time: g.now, Device: presence.Device{Platform: "web"},
	}
}

func (g *rig) closed(id string, session byte, counter uint32) presence.Record {
	r := g.opened(id, session, counter)
	r.Kind, r.Reason, r.LastSeen = presence.RecordClosed, presence.ReasonLeft, r.Time
	return r
}

// collect follows until n events came.
func (g *rig) collect(t tb, p Params, n int) (events []*Event, through Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // what is missing never comes
	defer cancel()
	if n == 0 {
		return nil, p.After
	}
	err := g.r.Follow(ctx, p, func(more []*Event, at Position) error {
		events, through = append(events, more...), at
		if len(events) >= n {
			return errDone
		}
		return nil
	})
	if err != errDone {
		t.Fatalf("Follow: got %v after %d events, want %d", err, len(events), n)
	}
	return events, through
}

var errDone = fmt.Errorf("done: %w", store.ErrRefused)

// said is an event as text: all that a consumer can tell apart.
func said(e *Event) string {
	return fmt.Sprintf("%v %s %v %s/%d %v b%v%v a%v%v seen %d %d first %v %v dev %v", e.Position, e.ID(), e.Kind, e.User.ID, e.Seq, e.Reason,
		e.Before, e.ShownBefore, e.After, e.ShownAfter, e.LastSeen, e.Shown, e.First, e.Replaces, e.Session.Device)
}

func saidAll(events []*Event) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = said(e)
	}
	return all
}
