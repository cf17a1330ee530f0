package tracker

import (
	"context"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// The owner's side of a take-over, and how both sides write it.

// serveTake answers a node that wants to take a session over.
func (t *Tracker) serveTake(ctx context.Context, _ uint64, b []byte) ([]byte, error) {
	ref, err := parseRef(b)
	if err != nil {
		return nil, err
	}
	for {
		m, list, op, err := t.give(ctx, ref)
		if err != nil {
			return nil, err
		}
		if op == nil {
			return appendTake(nil, m.epoch.Incarnation, nil, watched{}), nil
		}
		// Only now: what is watched from here on waits for the taker, or is refused.
		users, friends := t.watchlist.Watches(ref.Session) // the hub's locks come before ours
		select {
		case <-op.done: // it went meanwhile, and its watches with it
			continue
		default:
		}
		list.users, list.friends = append(list.users, users...), list.friends || friends
		slices.Sort(list.users)
		list.users = slices.Compact(list.users)
		return appendTake(nil, 0, &m, list), nil
	}
}

// give lets nothing happen to an own session for as long as the node that takes it
// over may wait for the log, and tells what is known of it; op is nil when another
// node has it, and m is what is known of that.
func (t *Tracker) give(ctx context.Context, ref Ref) (m told, list watched, op *operation, err error) {
	sh, s, err := t.acquire(ctx, ref, anyOperation)
	if err != nil {
		return m, list, nil, err
	}
	defer sh.mu.Unlock()
	if s.foreign && s.epoch.Incarnation == t.incarnation.Load() {
		return m, list, nil, errGone // given up here: see takeHeld
	}
	if s.foreign {
		return s.told(), list, nil, nil
	}
	if s.phase == presence.PhaseClosed && !s.truth.Reason.Resumable() {
		return m, list, nil, errGone
	}
	list = watched{slices.Clone(s.few().restored), s.kept.friends}
	op = &operation{sh: sh, s: s, opening: true, taken: true, done: make(chan struct{})}
	s.pending = op
	timer := &wheel.Timer{}
	timer.Fire = func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if op.over {
			return
		}
		// It was not taken after all. Its device was elsewhere in vain, and asks again.
		if op.finish(); !s.dead && !s.foreign && s.phase == presence.PhaseLost {
			t.setUntil(s, t.policy(s).Grace)
		}
	}
	t.wheel.Set(timer, takeLimit)
	m = s.told()
	m.status = s.status // of a closed one, too: it opens anew with it, as it would here
	return m, list, op, nil
}

func appendRef(dst []byte, ref Ref) []byte {
	dst = appendTexts(dst, string(ref.User.App), string(ref.User.ID))
	return append(dst, ref.Session[:]...)
}

func parseRef(b []byte) (ref Ref, err error) {
	r := reader{b: b}
	r.texts((*string)(&ref.User.App), (*string)(&ref.User.ID))
	r.bytes(ref.Session[:])
	if r.err == nil && len(r.b) > 0 {
		r.err = errTold
	}
	return ref, r.err
}

// appendTake writes the answer to who takes a session over: who has it now, if
// it is another node, or all of it.
func appendTake(dst []byte, next uint64, m *told, list watched) []byte {
	if dst = presence.AppendNumber(dst, next); next != 0 {
		return dst
	}
	flags := byte(0)
	if list.friends {
		flags = noteFriends
	}
	dst = presence.AppendText(append(dst, flags), string(m.append(nil)))
	for _, w := range list.users {
		dst = presence.AppendText(dst, string(w))
	}
	return dst
}

func parseTake(b []byte) (next uint64, m told, list watched, err error) {
	r := reader{b: b}
	if next = r.number(); next != 0 || r.err != nil {
		return next, m, list, r.err
	}
	var flags [1]byte
	r.bytes(flags[:])
	list.friends = flags[0]&noteFriends != 0
	text := r.text()
	if r.err != nil {
		return 0, m, list, r.err
	}
	if m, err = parseTold([]byte(text)); err != nil {
		return 0, m, list, err
	}
	for r.err == nil && len(r.b) > 0 {
		list.users = append(list.users, presence.UserID(r.text()))
	}
	return 0, m, list, r.err
}
