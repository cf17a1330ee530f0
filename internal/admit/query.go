package admit

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Asker is who asks for users without watching them.
type Asker struct {
	gate *Gate
	user presence.User
	see  hub.Sight // nil: everybody
}

// Asker returns one for queries of a user, with what he may see now.
func (g *Gate) Asker(ctx context.Context, user presence.User) (Asker, error) {
	s, err := g.cfg.Roster.SightOf(ctx, user)
	return Asker{g, user, s}, err
}

// CheckBatch refuses a query for more users than the app allows.
func (g *Gate) CheckBatch(app presence.AppID, n int) error {
	if most := g.Limits(app).Batch; n > most {
		return fault.New(fault.LimitBatch, "%d users were asked for; a batch has at most %d: ask in several", n, most)
	}
	return nil
}

// Seen is a user as the asker may see him.
type Seen struct {
	Available bool
	LastSeen  presence.Time // when not available; 0: never
	Sessions  []Open
	// Stale is since when this may be old, because the node that knows the user is
	// not heard; Unknown: nothing is known of him here. 0: neither.
	Stale   presence.Time
	Unknown bool
}

// Open is one open session of a user, and the side of it that the asker sees.
type Open struct {
	View *presence.View
	Face *presence.Face
}

// See returns a user of the asker's app; with sessions, those that are open.
func (a Asker) See(id presence.UserID, sessions bool) Seen {
	p := a.gate.cfg.Tracker.Presence(presence.User{App: a.user.App, ID: id})
	own := a.user.ID == id
	if a.see != nil && !own {
		if visible, _, seen := a.see.Of(id); !visible {
			return Seen{LastSeen: seen}
		}
	}
	s := Seen{Available: p.Available(own) != presence.Unavailable}
	s.Stale, s.Unknown = p.Staleness()
	if !s.Available {
		s.LastSeen = p.Seen(own)
	}
	if sessions {
		for _, v := range p.Sessions {
			if f := v.Face(own); f.Open() {
				s.Sessions = append(s.Sessions, Open{v, f})
			}
		}
	}
	return s
}
