package tracker

import (
	"context"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Session is a session in the table as it is in truth.
type Session struct {
	Public presence.PublicID
	Phase  presence.Phase // created, live or lost
	Device presence.Device
	Status *presence.Status // nil: the default
	// True is how the user's own devices see it, Shown how others do.
	True, Shown presence.Face
	// Until is when it goes away by itself: a created one that does not connect,
	// or one that a server set; else 0.
	Until presence.Time
}

// Sessions lists the sessions of a user that are not closed, the oldest first.
func (t *Tracker) Sessions(name presence.User) []Session {
	sh := t.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.known(name)
	if u == nil {
		return nil
	}
	list := make([]Session, 0, len(u.sessions))
	for _, s := range u.sessions {
		if s.phase == presence.PhaseClosed {
			continue
		}
		one := Session{Public: s.public, Phase: s.phase, Device: *s.device, Status: s.status, True: s.truth, Shown: s.shown}
		switch {
		case s.life.ttl > 0:
			one.Until = s.few().until
		case s.phase == presence.PhaseCreated:
			one.Until = t.wall(s.life.until)
		}
		list = append(list, one)
	}
	return list
}

// Drop ends sessions of a user in the name of the app: the one that public
// names, or all with nil. Created ones go, too, and closed ones cannot be
// resumed any more. It returns how many there were that were not closed, when
// the store has it, or LogUnavailable when that takes too long: they are closed
// all the same. Dropping what is closed or unknown drops nothing. It fails as Takes
// does, and then drops nothing either.
func (t *Tracker) Drop(ctx context.Context, name presence.User, public *presence.PublicID) (dropped int, err error) {
	if err := t.Takes(); err != nil {
		return 0, err
	}
	if dropped, err = t.dropHere(ctx, name, public); t.peers == nil {
		return dropped, err
	}
	far, e := t.dropElsewhere(ctx, name, public)
	if err == nil {
		err = e
	}
	return dropped + far, err
}

// dropHere is Drop of what this node has.
func (t *Tracker) dropHere(ctx context.Context, name presence.User, public *presence.PublicID) (dropped int, err error) {
	var refs []Ref
	sh := t.shard(name)
	sh.mu.Lock()
	if u := sh.known(name); u != nil {
		for _, s := range u.sessions {
			if (public == nil || s.public == *public) && !(s.foreign && s.phase.Open()) {
				refs = append(refs, Ref{name, s.id})
			}
		}
	}
	sh.mu.Unlock()
	var waiting []*operation
	for _, ref := range refs {
		op, was, _, e := t.beginClose(ctx, ref, presence.ReasonDropped)
		if e != nil && err == nil && e != errGone {
			err = e
		}
		if e == nil && was {
			dropped++
		}
		if op != nil {
			waiting = append(waiting, op)
		}
	}
	for _, op := range waiting {
		if e := op.wait(ctx); err == nil {
			err = e
		}
	}
	return dropped, err
}

// Online lists users of an app who are available as others see them, in no
// order that means anything: up to limit that come after the one that the last
// call ended with, at the zero Place from the begin. more says whether to go on,
// from the Place it returns. Who comes or goes meanwhile may be in it or not;
// who stays is in it once.
func (t *Tracker) Online(app presence.AppID, after Place, limit int) (users []presence.UserID, next Place, more bool) {
	for n := max(after.Shard, 0); n < Shards; n++ {
		sh := &t.shards[n]
		var here []presence.UserID
		sh.mu.Lock()
		for name, u := range sh.users {
			if u.available && name.App == app && (n != after.Shard || name.ID > after.User) {
				here = append(here, name.ID)
			}
		}
		if sh.peers != nil {
			for name, p := range sh.peers.packed {
				if p.available() && name.App == app && (n != after.Shard || name.ID > after.User) {
					here = append(here, name.ID)
				}
			}
		}
		sh.mu.Unlock()
		slices.Sort(here)
		if room := limit - len(users); len(here) > room {
			users = append(users, here[:room]...)
			if room > 0 {
				after = Place{n, here[room-1]}
			}
			return users, after, true
		}
		users = append(users, here...)
		if len(here) > 0 {
			after = Place{n, here[len(here)-1]}
		}
	}
	return users, Place{}, false
}

// Place is where a list of Online goes on.
type Place struct {
	Shard int
	User  presence.UserID
}
