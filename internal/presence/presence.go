package presence

// Presence is the full picture of one user at one moment: what a snapshot, a
// query or a notification is made of. It and all it points at never change once
// it is published, so readers need no lock.
type Presence struct {
	User User
	// Version grows with each published change of the user on this node; it says
	// which of two pictures is newer, and nothing beyond this node.
	Version uint32
	// Floor is the highest version of a close that was forgotten, in truth, and
	// FloorShown of one that others could see: who last saw an older version
	// cannot be told of that close any more.
	Floor      uint32
	FloorShown uint32
	// Turned says that with this picture, and no other, the user became available
	// or unavailable as others see him. What a start restores is told to nobody.
	Turned        bool
	LastSeen      Time // true
	LastSeenShown Time // as others may know it
	// Late is the version at which last seen, in truth, was last found to be later
	// than was told with the end of a session, and LateShown the one others could
	// see so; 0: never.
	Late      uint32
	LateShown uint32
	// Absent is where others saw the user disconnect without logging out, as the
	// log has it: what closed a moment ago is a tombstone in Sessions first.
	Absent []Absence
	// Sessions holds open sessions, and closed ones as tombstones for the resume
	// window, in the order of their opening.
	Sessions []*View
	// Stale is since when it may be old, because the node that knows better is not
	// heard; 0: it is not. For whom others see no session it is the same whether he is
	// invisible or left. Only who asks is told, not who watches.
	Stale Time
}

// View is one session within a Presence.
type View struct {
	Public PublicID
	Device *Device
	Status *Status
	// True is how the user's own sessions see it, Shown how others do: they
	// differ while the session is invisible, and after (design §4).
	True, Shown Face
}

// Face is one side of a session: the versions at which that side opened, last
// changed and closed, and what is told of it.
type Face struct {
	Opened  uint32 // 0: this side never saw the session
	Changed uint32
	Closed  uint32 // 0: open
	Reason  Reason // why it closed
	// Revision is the number watchers see: it grows with each status of the
	// session, over epochs too.
	Revision uint64
	Since    Time // when this side opened
	Updated  Time // when it last changed
	ClosedAt Time
}

// Open reports whether this side sees the session as open.
func (f *Face) Open() bool { return f.Opened != 0 && f.Closed == 0 }

// Face returns the side that a viewer sees: own is a viewer of the same user.
func (v *View) Face(own bool) *Face {
	if own {
		return &v.True
	}
	return &v.Shown
}

// Available adds up the open sessions that the viewer sees.
func (p *Presence) Available(own bool) Availability {
	a := Unavailable
	for _, v := range p.Sessions {
		if v.Face(own).Open() {
			show := Online
			if v.Status != nil {
				show = v.Status.Show
			}
			a = a.With(show)
		}
	}
	return a
}

// Forgotten is the floor of the viewer's side.
func (p *Presence) Forgotten(own bool) uint32 {
	if own {
		return p.Floor
	}
	return p.FloorShown
}

// Later is when last seen was found to be later, on the viewer's side.
func (p *Presence) Later(own bool) uint32 {
	if own {
		return p.Late
	}
	return p.LateShown
}

// Seen returns the last seen that the viewer may know; 0 when never seen.
func (p *Presence) Seen(own bool) Time {
	if own {
		return p.LastSeen
	}
	return p.LastSeenShown
}

// ShownRevision makes one growing number of an epoch and a revision that
// starts again in each epoch. It stays below 2^53 for two million resumes, so
// that JavaScript reads it exactly.
func ShownRevision(e Epoch, revision uint64) uint64 {
	return uint64(e.Counter)<<32 | revision&0xffffffff
}

// Staleness is since when the picture may be old; 0: it is not. Unknown says that
// nothing is known of the user, and that a node that is not heard may know more.
func (p *Presence) Staleness() (since Time, unknown bool) {
	return p.Stale, p.Stale != 0 && p.Version == 0
}
