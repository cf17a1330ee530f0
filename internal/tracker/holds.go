package tracker

import (
	"context"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// That a session is held is told now and then, and is in no log. A node that starts
// asks for it before it ends sessions of nodes that are gone: else it would show those
// as offline whose devices are coming back elsewhere, and write their end.

const methodHeld = "session.held"

const (
	// holdsLimit is how long a node that starts asks for what is held, where somebody
	// does not answer; he is given holdsWait each time, and asked again after holdsAgain.
	holdsLimit = time.Second
	holdsWait  = 400 * time.Millisecond
	holdsAgain = 50 * time.Millisecond
	// maxHolds is about how many bytes an answer has at most: it must fit into a message.
	maxHolds = 4 << 20
)

// held is a session of another node that is held, and for how long still.
type held struct {
	ref   Ref
	epoch presence.Epoch
	left  time.Duration
}

func (h *held) append(dst []byte) []byte {
	dst = appendRef(dst, h.ref)
	dst = presence.AppendNumber(dst, uint64(h.epoch.Counter))
	dst = presence.AppendNumber(dst, h.epoch.Incarnation)
	return presence.AppendNumber(dst, uint64(h.left.Milliseconds()))
}

func parseHolds(b []byte) (list []held, err error) {
	r := reader{b: b}
	for r.err == nil && len(r.b) > 0 {
		var h held
		r.texts((*string)(&h.ref.User.App), (*string)(&h.ref.User.ID))
		r.bytes(h.ref.Session[:])
		h.epoch.Counter, h.epoch.Incarnation = uint32(r.number()), r.number()
		h.left = time.Duration(min(r.number(), uint64(holdLimit.Milliseconds()))) * time.Millisecond
		list = append(list, h)
	}
	return list, r.err
}

// serveHeld answers with all that is held, whoever holds it.
func (t *Tracker) serveHeld(context.Context, uint64, []byte) (answer []byte, err error) {
	now := t.wheel.Now()
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for _, u := range sh.users { // who is packed has none
			for _, s := range u.sessions {
				if s.foreign && s.held && s.phase.Open() && s.life.until > now && len(answer) < maxHolds {
					h := held{Ref{u.name, s.id}, s.epoch, s.life.until - now}
					answer = h.append(answer)
				}
			}
		}
		sh.mu.Unlock()
	}
	return answer, nil
}

// holdToo keeps a session as long as another node said that it does.
func (t *Tracker) holdToo(h *held) {
	sh := t.shard(h.ref.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.takeable(h.ref)
	if until := t.wheel.Now() + h.left; s != nil && s.epoch == h.epoch && (!s.held || s.life.until < until) {
		s.held, s.life.until = true, until
	}
}

// inform asks the others what is held, at a start.
func (t *Tracker) inform() {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() == nil {
		p.joining.Go(func() {
			t.learnHolds(p.ctx, holdsLimit)
			p.informed.Store(true)
		})
	}
}

// learnHolds asks the others what is held, within a limit.
func (t *Tracker) learnHolds(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var all sync.WaitGroup
	for _, node := range t.peers.Nodes() {
		all.Go(func() {
			for !t.holdsOf(ctx, node) {
				select {
				case <-time.After(holdsAgain):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	all.Wait()
}

// holdsOf asks one, and reports whether there is no more to be learnt of it.
func (t *Tracker) holdsOf(ctx context.Context, node uint64) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, holdsWait)
	defer cancel()
	b, err := t.peers.Call(ctx, node, methodHeld, nil)
	if err != nil {
		return !isUnreachable(err) // one of another version does not know the question
	}
	list, err := parseHolds(b)
	if err != nil {
		t.log.Warn("another node tells what it holds in a way that this one cannot read", "node", node, "error", err)
	}
	for i := range list {
		t.holdToo(&list[i])
	}
	return true
}
