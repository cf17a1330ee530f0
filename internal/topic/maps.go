package topic

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

const (
	maxMaps        = 16 // different maps of one user
	maxMapSessions = 64 // devices with the same map
	// mapLife is how long a map of a session that is not open is kept beside
	// others: it may be about to open, or to open anew.
	mapLife = 3 * time.Minute
)

// SetMap says where the attributes of a device's user are published while the
// device is connected, in place of what it said before. Call it before the
// session opens, so that its coming is published by it. While several devices
// are open the union of their maps counts; when none is, that of the last that
// left. Sessions that are over need no word: they are known by the user's
// picture. A session that never had a map has no part in it.
//
// A device that comes with the only map that is known costs one read and no
// write. It fails with FieldInvalid and LogUnavailable.
func (t *Topics) SetMap(ctx context.Context, user presence.User, session presence.PublicID, mappings []Mapping) error {
	if err := CheckMap("attributes", mappings); err != nil {
		return err
	}
	if !presence.ValidUserID(string(user.ID)) {
		return fault.Invalid("user", "must be 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
	}
	mappings = distinct(mappings)
	_, _, err := t.change(ctx, user, func(r *record, now presence.Time) ([]Attribute, bool, error) {
		return nil, r.setMap(t.cfg.Source.Presence(user), session, mappings, now), nil
	})
	return err
}

// setMap reports whether the record changed.
func (r *record) setMap(p *presence.Presence, session presence.PublicID, mappings []Mapping, now presence.Time) bool {
	switch {
	case len(r.maps) == 0 && len(mappings) == 0:
		return false
	case len(r.maps) == 1 && slices.Equal(r.maps[0].mappings, mappings):
		return false
	case len(r.maps) == 1:
		// It is not the only one any more: whose it is begins to matter.
		only := &r.maps[0]
		for _, v := range p.Sessions {
			if v.True.Open() && !slices.Contains(only.sessions, v.Public) && len(only.sessions) < maxMapSessions {
				only.sessions = append(only.sessions, v.Public)
			}
		}
	}
	for i := range r.maps {
		r.maps[i].leave(session)
	}
	r.maps = slices.DeleteFunc(r.maps, func(m deviceMap) bool {
		return !m.open(p) && now.Sub(m.since) >= mapLife || len(m.sessions) == 0
	})
	i := slices.IndexFunc(r.maps, func(m deviceMap) bool { return slices.Equal(m.mappings, mappings) })
	if i < 0 {
		if len(r.maps) >= maxMaps {
			r.maps = slices.Delete(r.maps, 0, 1) // they stand in the order of since
		}
		r.maps = append(r.maps, deviceMap{mappings: mappings})
		i = len(r.maps) - 1
	}
	m := r.maps[i]
	if m.since = now; len(m.sessions) >= maxMapSessions {
		m.sessions = slices.Delete(m.sessions, 0, 1)
	}
	m.sessions = append(m.sessions, session)
	r.maps = append(slices.Delete(r.maps, i, i+1), m)
	return true
}

func (m *deviceMap) leave(session presence.PublicID) {
	if i := slices.Index(m.sessions, session); i >= 0 {
		m.sessions = slices.Delete(m.sessions, i, i+1)
	}
}

// open says whether one of the map's devices is.
func (m *deviceMap) open(p *presence.Presence) bool {
	return slices.ContainsFunc(p.Sessions, func(v *presence.View) bool {
		return v.True.Open() && slices.Contains(m.sessions, v.Public)
	})
}

// left is when the last of the map's devices left, as far as that is known.
func (m *deviceMap) left(p *presence.Presence) (at presence.Time) {
	for _, v := range p.Sessions {
		if slices.Contains(m.sessions, v.Public) {
			at = max(at, v.True.ClosedAt)
		}
	}
	return at
}

// mapped is where the user's attributes are published, given his picture.
func (r *record) mapped(p *presence.Presence) []Mapping {
	if len(r.maps) == 0 {
		return nil
	}
	if len(r.maps) == 1 {
		return r.maps[0].mappings
	}
	var all []Mapping
	for i := range r.maps {
		if r.maps[i].open(p) {
			all = append(all, r.maps[i].mappings...)
		}
	}
	if all == nil {
		return r.maps[r.last(p)].mappings
	}
	return distinct(all)
}

// last is the map of the device that left last.
func (r *record) last(p *presence.Presence) int {
	best := 0
	for i := range r.maps {
		a, b := &r.maps[i], &r.maps[best]
		if cmp.Or(cmp.Compare(a.left(p), b.left(p)), cmp.Compare(a.since, b.since)) > 0 {
			best = i
		}
	}
	return best
}

// settle keeps of several maps only the last when none of the devices is open,
// and those of devices that may be about to open: the picture forgets after a
// while who left last. It reports whether the record changed.
func (r *record) settle(p *presence.Presence, now presence.Time) bool {
	if len(r.maps) < 2 || slices.ContainsFunc(r.maps, func(m deviceMap) bool { return m.open(p) }) {
		return false
	}
	last, before := r.last(p), len(r.maps)
	var kept []deviceMap
	for i, m := range r.maps {
		if i == last || m.left(p) == 0 && now.Sub(m.since) < mapLife {
			kept = append(kept, m)
		}
	}
	r.maps = kept
	return len(kept) < before
}

// distinct returns mappings without repeats, in memory of its own.
func distinct(mappings []Mapping) []Mapping {
	all := make([]Mapping, 0, len(mappings))
	seen := make(map[Mapping]struct{}, len(mappings))
	for _, m := range mappings {
		if _, twice := seen[m]; !twice {
			seen[m] = struct{}{}
			all = append(all, m)
		}
	}
	return all
}
