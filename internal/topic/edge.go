package topic

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// What OnlineStatus says.
var (
	online  = json.RawMessage(`"online"`)
	offline = json.RawMessage(`"offline"`)
)

// OnlineValue is what OnlineStatus says of a user with that picture.
func OnlineValue(p *presence.Presence) json.RawMessage {
	if p.Available(false) == presence.Unavailable {
		return offline
	}
	return online
}

// Changed hears of every new picture of a user (tracker.Listener). Pictures in
// which the availability that others see did not change cost one look, and so do
// all in apps in which nobody subscribed. It never blocks: the user's map is read
// and his topics are told behind it.
func (t *Topics) Changed(p *presence.Presence) {
	if !p.Turned {
		return
	}
	if a := t.known(p.User.App); a == nil || a.subscriptions.Load() == 0 {
		return
	}
	t.lanes.push(turn{picture: p})
}

const (
	laneCount = 4
	// laneSize bounds the pictures that wait in a lane; what is over it is not
	// told.
	laneSize = 256 << 10
	// laneMemory is of how many users a lane knows what it told last.
	laneMemory = 16 << 10
)

// lanes tell of pictures behind the tracker, each user's in their order. A lane
// has a goroutine only while it has something to do.
type lanes struct {
	topics *Topics
	seed   maphash.Seed
	done   sync.WaitGroup

	mu     sync.Mutex // guards all below
	ctx    context.Context
	cancel context.CancelFunc
	lanes  [laneCount]lane
}

// turn is what a lane tells of: that a user came or went, to everybody, or, with a
// watcher, that he may see him or not.
type turn struct {
	picture *presence.Presence
	watcher presence.UserID // "": everybody
}

type lane struct {
	queue   []turn
	running bool
	dropped bool // and logged
	// told is the version that a user was told of last, for pictures that come
	// twice or were overtaken. Only the lane's goroutine touches it.
	told map[presence.User]uint32
}

func (l *lanes) start(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seed = maphash.MakeSeed()
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx)) // until stop
}

func (l *lanes) stop() {
	l.mu.Lock()
	if l.cancel != nil {
		l.cancel()
	}
	for i := range l.lanes {
		l.lanes[i].queue = nil
	}
	l.mu.Unlock()
	l.done.Wait()
}

func (l *lanes) push(p turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil || l.ctx.Err() != nil {
		return
	}
	own := &l.lanes[maphash.Comparable(l.seed, p.picture.User)%laneCount]
	if len(own.queue) >= laneSize {
		if !own.dropped {
			l.topics.log.Warn("users come and go faster than topics can be told; some are left out")
		}
		own.dropped = true
		return
	}
	own.queue = append(own.queue, p)
	if !own.running {
		own.running = true
		l.done.Go(func() { l.run(l.ctx, own) })
	}
}

func (l *lanes) run(ctx context.Context, own *lane) {
	for {
		l.mu.Lock()
		batch := own.queue
		own.queue = nil
		if len(batch) == 0 {
			own.running, own.dropped = false, false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		for _, next := range batch {
			if ctx.Err() != nil {
				break
			}
			p := next.picture
			if next.watcher != "" {
				l.topics.looked(ctx, p.User, next.watcher)
				continue
			}
			if own.told == nil || len(own.told) >= laneMemory {
				own.told = map[presence.User]uint32{}
			}
			if last, ok := own.told[p.User]; ok && int32(p.Version-last) <= 0 {
				continue
			}
			own.told[p.User] = p.Version
			l.topics.turned(ctx, p)
		}
	}
}

// turned tells the user's topics that he came or went.
func (t *Topics) turned(ctx context.Context, p *presence.Presence) {
	pass, err := t.turns.take(ctx, p.User)
	if err != nil {
		return // stopping
	}
	defer pass()
	r, revision, err := t.load(ctx, p.User)
	if err != nil {
		_ = t.refine(ctx, err, p.User.App) // logs it
		return
	}
	shown := r.show(p.User, revision, p)
	shown.Revision = 0 // in another order than what is stored
	now := Attribute{Name: OnlineStatus, Value: OnlineValue(p), At: turnedAt(p)}
	for _, m := range shown.Map {
		if m.Attribute == OnlineStatus {
			t.Deliver(&Message{
				App: p.User.App, Topic: m.Topic, User: p.User.ID, Attribute: now.Name, Value: now.Value, At: now.At, CallEnded: shown.Calls == 0,
			})
		}
	}
	if r.settle(p, presence.At(time.Now())) {
		// Another node may do the same; then this one need not.
		v := r.encode()
		if _, err := t.save(ctx, store.Roster{User: p.User, Value: v, Revision: revision}); err != nil {
			t.log.Debug("the map of who left last was not kept", "app", p.User.App, "error", err)
		}
	}
}

// turnedAt is when the user came or went, as others see it.
func turnedAt(p *presence.Presence) (at presence.Time) {
	for _, v := range p.Sessions {
		at = max(at, v.Shown.Since, v.Shown.ClosedAt)
	}
	if at == 0 {
		return presence.At(time.Now()) // erased
	}
	return at
}
