package tracker

import "github.com/porchlight-dev/porchlight/internal/presence"

// publish makes the user's new picture readable and returns what tells the
// listener of it, to be called without the lock. The lock is held.
func (t *Tracker) publish(u *user) (after func()) {
	p := u.paint()
	if u.withheld > 0 {
		return func() {} // it was told
	}
	return func() { t.listener.Changed(p) }
}

// paint makes and stores the picture of the user as he stands, unless an end is withheld.
func (u *user) paint() *presence.Presence {
	if u.withheld > 0 {
		return u.picture.Load()
	}
	p := &presence.Presence{
		User: u.name, Version: u.version, Floor: u.floor, FloorShown: u.veiled, LastSeen: u.seen, LastSeenShown: u.shown,
		Late: u.late, LateShown: u.lateShown, Absent: u.folded.Absent,
		Sessions: make([]*presence.View, 0, len(u.sessions)),
	}
	available := false
	for _, s := range u.sessions {
		if s.truth.Opened == 0 {
			continue
		}
		available = available || s.shown.Open()
		if s.view == nil {
			s.view = &presence.View{Public: s.public, Device: s.device, True: s.truth, Shown: s.shown}
			if s.phase.Open() {
				s.view.Status = s.status
			}
		}
		p.Sessions = append(p.Sessions, s.view)
	}
	p.Turned = available != u.available
	u.tallyAvailable(available)
	u.picture.Store(p)
	return p
}

// newest is the newest picture of the user. The lock is held.
func (u *user) newest() *presence.Presence {
	if p := u.picture.Load(); p != nil {
		return p
	}
	return u.paint()
}

// raise moves last seen forward, as of the user's next version: such as by a record
// that was stored late, or by what a node knows that was out of reach. It reports
// whether anything moved, and whether that must be told, because no session ends
// with that version that would tell it to who knows the user as offline. The lock is
// held.
func (u *user) raise(seen, shown presence.Time) (moved, late bool) {
	next := u.version + 1
	truth, others := false, false // an end tells it, or nothing need tell it yet
	for _, s := range u.sessions {
		truth = truth || s.truth.Open() || s.truth.Closed == next
		others = others || s.shown.Open() || s.shown.Closed == next
	}
	if seen > u.seen {
		if u.seen, moved = seen, true; !truth {
			u.late, late = next, true
		}
	}
	if shown > u.shown {
		if u.shown, moved = shown, true; !others {
			u.lateShown, late = next, true
		}
	}
	return moved, late
}
