package tracker

import (
	"context"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What is asked of this node about sessions that others have, and the reverse.

const (
	methodDrop  = "user.drop"
	methodClose = "session.close"
	methodPut   = "presence.put"
)

// Calls are the methods that this node serves for the others, by name.
func (t *Tracker) Calls() map[string]func(ctx context.Context, from uint64, b []byte) ([]byte, error) {
	return map[string]func(context.Context, uint64, []byte) ([]byte, error){
		methodTake: t.serveTake, methodLook: t.serveLook, methodGood: t.serveGood, methodSave: t.serveSave,
		methodGone: t.serveGone, methodDrop: t.serveDrop, methodClose: t.serveClose, methodPut: t.servePut,
		methodHeld: t.serveHeld, methodHeard: t.serveHeard,
	}
}

// dismissForeign closes a session of a node that does not answer, of which
// nobody knows what it watched (as dismiss).
func (t *Tracker) dismissForeign(ctx context.Context, ref Ref) error {
	sh := t.shard(ref.User)
	sh.mu.Lock()
	s, err := t.foreign(sh, ref)
	if err != nil {
		sh.mu.Unlock()
		return err
	}
	if !s.phase.Open() {
		sh.mu.Unlock()
		return errGone
	}
	op, after := t.endForeign(sh, s, presence.ReasonNodeLost, t.now())
	sh.mu.Unlock()
	after()
	if err := op.wait(ctx); err != nil {
		return err
	}
	return errGone
}

// endForeign closes an open session of a node that does not answer, here and in
// the log. The lock is held.
func (t *Tracker) endForeign(sh *shard, s *session, reason presence.Reason, seen presence.Time) (op *operation, after func()) {
	rec := s.record(presence.RecordClosed, reason, t.now())
	rec.LastSeen = seen
	m := s.told()
	m.close(reason, rec.Time, seen)
	op = &operation{sh: sh, done: make(chan struct{})}
	t.claimEnd(sh, rec, op)
	return op, t.merge(sh, &m)
}

// closeElsewhere is Close of a session that another node has.
func (t *Tracker) closeElsewhere(ctx context.Context, ref Ref, reason presence.Reason) (presence.Time, error) {
	owner, ok := t.OwnerOf(ref)
	if !ok {
		return t.now(), nil
	}
	b, err := t.peers.Call(ctx, owner, methodClose, append(appendRef(nil, ref), byte(reason)))
	if err == nil {
		r := reader{b: b}
		return presence.Time(r.number()), r.err
	}
	if !isUnreachable(err) {
		return 0, err
	}
	sh := t.shard(ref.User)
	sh.mu.Lock()
	s, err := t.foreign(sh, ref)
	if err != nil || !s.phase.Open() {
		sh.mu.Unlock()
		if err == errGone {
			err = nil
		}
		return t.now(), err
	}
	at := t.now()
	op, after := t.endForeign(sh, s, reason, at)
	sh.mu.Unlock()
	after()
	return at, op.wait(ctx)
}

func (t *Tracker) serveClose(ctx context.Context, _ uint64, b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errTold
	}
	ref, err := parseRef(b[:len(b)-1])
	reason := presence.Reason(b[len(b)-1])
	if err != nil || !slices.Contains(presence.Closings(), reason) {
		return nil, errTold
	}
	op, _, at, err := t.beginClose(ctx, ref, reason)
	switch {
	case err == errGone:
		at = t.now()
	case err != nil:
		return nil, err
	case op != nil:
		if err := op.wait(ctx); err != nil {
			return nil, err
		}
	}
	return presence.AppendNumber(nil, uint64(at)), nil
}

// dropElsewhere is Drop of what other nodes have.
func (t *Tracker) dropElsewhere(ctx context.Context, name presence.User, public *presence.PublicID) (dropped int, err error) {
	b := appendTexts(nil, string(name.App), string(name.ID))
	if public != nil {
		b = append(b, public[:]...)
	}
	reached := map[uint64]bool{}
	for _, node := range t.peers.Nodes() {
		answer, e := t.peers.Call(ctx, node, methodDrop, b)
		r := reader{b: answer}
		switch {
		case e == nil:
			reached[node] = true
			dropped += int(r.number())
		case !isUnreachable(e) && err == nil:
			err = e
		}
	}
	// Who does not answer reads it in the log.
	var waiting []*operation
	var afters []func()
	sh := t.shard(name)
	sh.mu.Lock()
	if u := sh.known(name); u != nil {
		for _, s := range u.sessions {
			if s.foreign && s.phase.Open() && !reached[s.epoch.Incarnation] && (public == nil || s.public == *public) {
				op, after := t.endForeign(sh, s, presence.ReasonDropped, t.now())
				waiting, afters = append(waiting, op), append(afters, after)
				dropped++
			}
		}
	}
	sh.mu.Unlock()
	for _, f := range afters {
		f()
	}
	for _, op := range waiting {
		if e := op.wait(ctx); err == nil {
			err = e
		}
	}
	if err == nil {
		err = t.catchUp(ctx)
	}
	return dropped, err
}

func (t *Tracker) serveDrop(ctx context.Context, _ uint64, b []byte) ([]byte, error) {
	var name presence.User
	r := reader{b: b}
	r.texts((*string)(&name.App), (*string)(&name.ID))
	var public *presence.PublicID
	if r.err == nil && len(r.b) > 0 {
		public = &presence.PublicID{}
		r.bytes(public[:])
	}
	if r.err != nil || len(r.b) > 0 {
		return nil, errTold
	}
	n, err := t.dropHere(ctx, name, public)
	return presence.AppendNumber(nil, uint64(n)), err
}

// catchUp returns when this node has read all that the log has now.
func (t *Tracker) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	_, next, err := t.peers.Reading.Ends(ctx)
	if err != nil {
		return unavailable(err)
	}
	tick := time.NewTicker(catchUpEvery)
	defer tick.Stop()
	for t.applied.Load()+1 < next {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return unavailable(ctx.Err())
		}
	}
	return nil
}

// readOn is catchUp for who needs the log anyway: it tries again while that elects a
// leader.
func (t *Tracker) readOn(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	again := time.NewTicker(followAgain)
	defer again.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, askLimit)
		err = t.catchUp(once)
		if cancel(); err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

const catchUpEvery = 5 * time.Millisecond

// putElsewhere is put of a presence that another node has.
func (t *Tracker) putElsewhere(ctx context.Context, owner uint64, p PutParams) (put Put, err error) {
	b := appendTexts(nil, string(p.User.App), string(p.User.ID), p.Name, p.Device.Platform, p.Device.Product, p.Device.Locale, p.Device.Version)
	b = presence.AppendNumber(b, uint64(p.TTL.Milliseconds()))
	answer, err := t.peers.Call(ctx, owner, methodPut, presence.AppendStatus(b, p.Status))
	if err != nil {
		return put, err
	}
	r := reader{b: answer}
	r.bytes(put.Public[:])
	put.Opened = r.number() == 1
	put.Revision, put.At, put.Until = r.number(), presence.Time(r.number()), presence.Time(r.number())
	return put, r.err
}

func (t *Tracker) servePut(ctx context.Context, _ uint64, b []byte) ([]byte, error) {
	var p PutParams
	r := reader{b: b}
	r.texts((*string)(&p.User.App), (*string)(&p.User.ID), &p.Name, &p.Device.Platform, &p.Device.Product, &p.Device.Locale, &p.Device.Version)
	p.TTL = time.Duration(r.number()) * time.Millisecond
	if r.err != nil || p.TTL <= 0 {
		return nil, errTold
	}
	var err error
	if p.Status, err = presence.ParseStatus(r.b); err != nil {
		return nil, err
	}
	p.here = true
	put, err := t.PutPresence(ctx, p)
	if err != nil {
		return nil, err
	}
	opened := uint64(0)
	if put.Opened {
		opened = 1
	}
	b = presence.AppendNumber(append([]byte(nil), put.Public[:]...), opened)
	b = presence.AppendNumber(presence.AppendNumber(b, put.Revision), uint64(put.At))
	return presence.AppendNumber(b, uint64(put.Until)), nil
}

// share gives each of the nodes its part of what an app may open in a second.
func (t *Tracker) share() {
	n := 1 + len(t.peers.Nodes())
	for _, a := range *t.policies.Load() {
		if a.opens == nil {
			continue
		}
		part := a.OpensPerSecond / float64(n)
		if a.opens.Limit() != rate.Limit(part) {
			a.opens.SetLimit(rate.Limit(part))
			a.opens.SetBurst(max(1, int(part)))
		}
	}
}
