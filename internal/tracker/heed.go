package tracker

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What a node told of ends before it died not all may have heard, and the log may have no
// leader until the grace is over: who did not hear it would say another last seen than
// was told elsewhere. So who heard it tells the others.

const (
	methodHeard = "node.heard"
	// heardBytes is about the most bytes of one call.
	heardBytes = 64 << 10
)

// heed looks, as soon as a node is gone, for the sessions of whose end it told. It may
// have died before the log had that, and others may not have heard it: when the grace is
// over they would write another end, which is then what webhooks are told.
func (t *Tracker) heed(o *origin) {
	now := t.wheel.Now()
	var calls [][]byte
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for _, u := range sh.users { // who is packed has no session that closed
			for _, s := range u.sessions {
				if s.foreign && s.epoch.Incarnation == o.incarnation && s.phase == presence.PhaseClosed && sh.peers.waitTold(s, now) {
					calls = appendHeard(calls, s)
				}
			}
		}
		sh.mu.Unlock()
	}
	if len(calls) > 0 {
		t.passOn(calls)
	}
}

// appendHeard adds a session to the last of calls, or begins another.
func appendHeard(calls [][]byte, s *session) [][]byte {
	m := s.told()
	b := m.append(nil)
	if n := len(calls); n == 0 || len(calls[n-1])+len(b) > heardBytes {
		calls = append(calls, nil)
	}
	last := &calls[len(calls)-1]
	*last = append(presence.AppendNumber(*last, uint64(len(b))), b...)
	return calls
}

// passOn tells the others, once: the log has it by and by.
func (t *Tracker) passOn(calls [][]byte) {
	p := t.peers
	others := p.Nodes()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	for _, node := range others {
		p.joining.Go(func() {
			ctx, cancel := context.WithTimeout(p.ctx, agreeLimit)
			defer cancel()
			for _, b := range calls {
				_, _ = p.Call(ctx, node, methodHeard, b) // it may be of an older version, or be gone too
			}
		})
	}
}

// serveHeard takes in ends of which another node heard.
func (t *Tracker) serveHeard(_ context.Context, _ uint64, b []byte) (answer []byte, err error) {
	for r := (reader{b: b}); len(r.b) > 0; {
		one := r.part()
		if r.err != nil {
			return nil, r.err
		}
		m, err := parseTold(one)
		if err != nil || !m.closed() || m.epoch.Incarnation == t.incarnation.Load() {
			return nil, errTold
		}
		t.apply(m.epoch.Incarnation, t.shardIndex(m.ref.User), one)
	}
	return nil, nil
}
