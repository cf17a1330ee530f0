package mozpresence

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/socket"
)

// bury makes the publisher be told of a uid that was revoked, here or at another
// node: it need not be found in the queue, which a replica may give as it was.
func (l *listener) bury(uid string) {
	l.mu.Lock()
	l.buried = append(l.buried, uid)
	l.mu.Unlock()
	l.poke()
}

// look does what a poke is for.
func (l *listener) look() {
	l.mu.Lock()
	buried := l.buried
	l.buried = nil
	l.mu.Unlock()
	var heard publisher.Queue
	for _, uid := range buried {
		heard.Dead = append(heard.Dead, publisher.Dead{UID: uid, At: presence.At(time.Now())})
	}
	l.dies(heard)
	if q, err := l.door.cfg.Publishers.Queue(l.ctx, l.id); err == nil {
		l.dies(q)
	}
	if p, err := l.door.cfg.Publishers.Get(l.ctx, l.id); errors.Is(err, publisher.ErrNone) || err == nil && !p.SameKey(&l.pub) {
		l.leave(codeAccess, "the API key is void")
	}
}

// poke makes the revocations that wait be looked at.
func (l *listener) poke() {
	select {
	case l.poked <- struct{}{}:
	default:
	}
}

// tell follows the log for the publisher, and goes on after an outage.
func (l *listener) tell() {
	for l.ctx.Err() == nil {
		f := &feed{door: l.door, id: l.id, app: l.pub.App, told: map[string]string{}, give: l.give}
		q, err := l.door.cfg.Publishers.Queue(l.ctx, l.id)
		var at facts.Position
		if err == nil {
			at, err = l.begin(q)
		}
		if err == nil {
			l.dies(q)
			err = f.follow(l.ctx, at)
		}
		if l.ctx.Err() != nil {
			return
		}
		l.door.log.Warn("a publisher is told later: the log or the store cannot be read", "publisher", l.id, "error", err)
		select {
		case <-time.After(retryFeed):
		case <-l.ctx.Done():
		}
	}
}

// begin is where the feed begins, or begins again after an outage.
func (l *listener) begin(q publisher.Queue) (facts.Position, error) {
	at, err := l.door.start(l.ctx, q)
	if err != nil {
		return at, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.through == (facts.Position{}) {
		l.through = at
	} else if at.Before(l.through) {
		at = l.through
	}
	rest := slices.DeleteFunc(l.queue[l.writing:], func(e entry) bool { return !e.dead })
	l.queue = l.queue[:l.writing+len(rest)]
	return at, nil
}

// give puts an entry in the queue, and waits while that is full.
func (l *listener) give(ctx context.Context, e entry) error {
	for {
		l.mu.Lock()
		switch {
		case e.uid != "" && !e.dead && l.dead[e.uid]:
			l.mu.Unlock()
			return nil
		case len(l.queue) < mostQueued:
			if last := len(l.queue) - 1; e.uid == "" && last >= l.writing && l.queue[last].uid == "" {
				l.queue[last] = e
			} else {
				l.queue = append(l.queue, e)
			}
			l.mu.Unlock()
			l.sock.Wake()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-l.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dies tells of revocations that wait. Each uid is told offline, and nothing
// after it.
func (l *listener) dies(q publisher.Queue) {
	for _, dead := range q.Dead {
		l.mu.Lock()
		fresh := !l.dead[dead.UID]
		l.dead[dead.UID] = true
		l.mu.Unlock()
		if fresh && l.give(l.ctx, entry{uid: dead.UID, status: statusOffline, at: dead.At, dead: true}) != nil {
			return
		}
	}
}

// keep notes how far the publisher was told, and looks for revocations.
func (l *listener) keep() {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	var saved facts.Position
	at := time.Now()
	for {
		select {
		case <-tick.C:
			if l.fresh() || time.Since(at) >= saveSilent {
				saved, at = l.save(l.ctx, saved), time.Now()
			}
		case <-l.poked:
			l.look()
		case <-l.ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), saveLimit)
			defer cancel()
			l.save(ctx, saved)
			return
		}
	}
}

// fresh reports, once, that something was told.
func (l *listener) fresh() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.news
	l.news = false
	return was
}

// saveLimit bounds the last save of a connection.
const saveLimit = 2 * time.Second

// save notes how far the publisher was told, if that is further than before.
func (l *listener) save(ctx context.Context, saved facts.Position) facts.Position {
	l.mu.Lock()
	through, told := l.through, l.told
	l.mu.Unlock()
	if !saved.Before(through) && len(told) == 0 {
		return saved
	}
	_, err := l.door.cfg.Publishers.EditQueue(ctx, l.id, func(q *publisher.Queue) (changed bool) {
		if at, err := facts.ParsePosition(q.Position); err != nil || at.Before(through) {
			q.Position, q.At, changed = through.String(), presence.At(time.Now()), true
		}
		left := slices.DeleteFunc(slices.Clone(q.Dead), func(d publisher.Dead) bool { return slices.Contains(told, d.UID) })
		changed = changed || len(left) < len(q.Dead)
		q.Dead = left
		return changed
	})
	if err != nil {
		return saved
	}
	l.mu.Lock()
	l.told = l.told[len(told):]
	l.mu.Unlock()
	return through
}

// Fill writes what waits. What the last call gave has been written by now.
func (l *listener) Fill(_ *socket.Conn, out *socket.Out) (more bool) {
	defer l.door.recovered("fill", func() { l.leave(socket.CodeInternal, internalText) })
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.queue[:l.writing] {
		l.news = l.news || e.uid != ""
		if e.dead {
			l.told = append(l.told, e.uid)
		}
		if l.through.Before(e.through) {
			l.through = e.through
		}
	}
	full := len(l.queue) >= mostQueued
	l.queue = slices.Delete(l.queue, 0, l.writing)
	if l.writing = 0; len(l.queue) == 0 {
		l.queue = nil
	}
	old := presence.At(time.Now()).Add(-publisher.QueueLimit)
	for i := range l.queue {
		if out.Full() {
			break
		}
		l.writing++
		if e := &l.queue[i]; e.uid != "" && e.at >= old && (e.dead || !l.dead[e.uid]) {
			out.Text(e.append)
		}
	}
	if full {
		select {
		case l.room <- struct{}{}:
		default:
		}
	}
	return l.writing > 0
}
