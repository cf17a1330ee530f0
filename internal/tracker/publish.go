package tracker

import "github.com/porchlight-dev/porchlight/internal/presence"

// publish makes the user's new picture readable and returns what tells the
// listener of it, to be called without the lock. The lock is held.
func (t *Tracker) publish(u *user) (after func()) {
	p := u.paint()
	return func() { t.listener.Changed(p) }
}

// paint makes and stores the picture of the user as he stands.
func (u *user) paint() *presence.Presence {
	p := &presence.Presence{
		User: u.name, Version: u.version, Floor: u.floor, FloorShown: u.veiled, LastSeen: u.seen, LastSeenShown: u.shown, Absent: u.folded.Absent,
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
