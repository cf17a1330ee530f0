package chaos

import (
	"fmt"
	"slices"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// demand is what a view must show of one session.
type demand struct {
	user           string
	verdict        verdict
	floor, ceiling int
	shows          map[int]isonlinev1.IsOnlineStatus // of each number
	story          string
	hidden         bool
	certain        bool // of hidden
}

// demands says what must be shown of each session; settled is the time when
// the grace is over: then exactly the held ones are open.
func (h *history) demands(settled bool) map[string]demand {
	m := map[string]demand{}
	h.note(func() {
		for id, l := range h.lives {
			d := demand{user: l.user, verdict: l.expected(), floor: l.floor(h.outages), ceiling: l.ceiling(), story: l.story(), shows: map[int]isonlinev1.IsOnlineStatus{}}
			d.hidden, d.certain = l.hidden(time.Now())
			if settled {
				d.verdict = absent
				if l.held && l.ended == alive && l.opening().done() {
					d.verdict = present
				}
			}
			for _, s := range l.says {
				d.shows[s.number] = s.show
			}
			m[id] = d
		}
	})
	return m
}

// between joins what was demanded before a query and after it: what changed
// meanwhile may be shown either way.
func between(before, after map[string]demand) map[string]demand {
	m := map[string]demand{}
	for id, a := range after {
		b, known := before[id]
		if !known || b.verdict != a.verdict {
			a.verdict = either
		}
		a.floor = min(a.floor, b.floor)
		a.certain = a.certain && b.certain && a.hidden == b.hidden
		m[id] = a
	}
	return m
}

// checkSessions holds what users see of themselves against what is demanded.
func checkSessions(demands map[string]demand, own view) (found []string) {
	for id, d := range demands {
		p, asked := own[d.user]
		if !asked {
			continue
		}
		s, open := p.sessions[id]
		switch {
		case open && d.verdict == absent:
			found = append(found, fmt.Sprintf("session %s of %s is open and must not be %s", id, d.user, d.story))
		case !open && d.verdict == present:
			found = append(found, fmt.Sprintf("session %s of %s was acknowledged and is missing %s", id, d.user, d.story))
		case open && s.number < d.floor:
			found = append(found, fmt.Sprintf("session %s of %s shows status %d, but %d was acknowledged in time %s", id, d.user, s.number, d.floor, d.story))
		case open && (s.number > d.ceiling || d.shows[s.number] != s.show):
			found = append(found, fmt.Sprintf("session %s of %s shows status %d (%v), which was never asked for %s", id, d.user, s.number, s.show, d.story))
		}
	}
	for user, p := range own {
		for id := range p.sessions {
			if d, ok := demands[id]; !ok || d.user != user {
				found = append(found, fmt.Sprintf("%s has a session %s that nobody made", user, id))
			}
		}
		if p.online != (len(p.sessions) > 0) {
			found = append(found, fmt.Sprintf("%s has %d sessions, but online is %v", user, len(p.sessions), p.online))
		}
	}
	slices.Sort(found)
	return found
}

// checkHidden holds what a stranger sees against what users see of themselves.
// The views must be of a time when nothing changes.
func checkHidden(demands map[string]demand, own, strange view) (found []string) {
	for user, o := range own {
		s, asked := strange[user]
		if !asked {
			continue
		}
		for id := range o.sessions {
			_, visible := s.sessions[id]
			if d := demands[id]; d.certain && visible == d.hidden {
				found = append(found, fmt.Sprintf("session %s of %s: visible to others is %v, appears offline is %v", id, user, visible, d.hidden))
			}
		}
		for id := range s.sessions {
			if _, open := o.sessions[id]; !open {
				found = append(found, fmt.Sprintf("session %s of %s is visible to others and not to him", id, user))
			}
		}
		if s.online != (len(s.sessions) > 0) {
			found = append(found, fmt.Sprintf("%s shows %d sessions to others, but online is %v", user, len(s.sessions), s.online))
		}
	}
	slices.Sort(found)
	return found
}

// lostAge is how long before its outage the oldest status was acknowledged
// that a view no longer shows.
func lostAge(lives []*life, own view, outages []outage) (age time.Duration) {
	for _, l := range lives {
		s, open := own[l.user].sessions[l.public]
		if !open {
			continue
		}
		for _, said := range l.says {
			if said.number <= s.number || !said.done() {
				continue
			}
			for _, o := range outages {
				if !o.at.Before(said.sent) {
					age = max(age, o.at.Sub(said.acked))
					break
				}
			}
		}
	}
	return age
}

// checkFlaps counts the openings and closings that one watcher was told of a
// session within a time against those that its device explains.
func checkFlaps(lives map[string]*life, notices []told, from, to time.Time) (found []string) {
	counts := map[string]changed{}
	for _, n := range notices {
		c := counts[n.GetSession().GetSessionId()]
		switch n.GetSession().GetKind() {
		case isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED:
			c.opened++
		case isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED:
			c.closed++
		}
		counts[n.GetSession().GetSessionId()] = c
	}
	return flaps(lives, counts, from, to)
}

// checkOffline finds notices that call a user offline who has a session in
// steady: one that was open, held and visible all the time.
func checkOffline(steady map[string]bool, notices []told) (found []string) {
	for _, n := range notices {
		if n.GetUserFlag() == isonlinev1.UserFlag_USER_FLAG_OFFLINE && steady[n.GetUserId()] {
			found = append(found, fmt.Sprintf("a watcher was told that %s is offline, who never was", n.GetUserId()))
		}
	}
	return found
}

// pictureOf is what a watcher knows after the notices of one stream.
func pictureOf(notices []told) view {
	v := view{}
	for _, n := range notices {
		v.hear(n.notice)
	}
	return v
}

// hear takes what a watcher is told.
func (v view) hear(n *notice) {
	p, ok := v[n.GetUserId()]
	if !ok {
		p.sessions = map[string]shown{}
	}
	p.online = n.GetUserFlag() == isonlinev1.UserFlag_USER_FLAG_ONLINE
	if n.GetLastSeen() != nil {
		p.lastSeen = n.GetLastSeen().AsTime()
	}
	switch s := n.GetSession(); {
	case s == nil && !p.online:
		clear(p.sessions)
	case s.GetKind() == isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED:
		delete(p.sessions, s.GetSessionId())
	case s != nil:
		number, err := numberOf(s.GetRichText())
		if err != nil {
			number = -1
		}
		p.sessions[s.GetSessionId()] = shown{number, s.GetStatus()}
	}
	v[n.GetUserId()] = p
}

// differ says where a watcher's picture is not what a query shows.
func differ(picture, query view) (found []string) {
	for user, q := range query {
		p, ok := picture[user]
		if !ok {
			found = append(found, fmt.Sprintf("the watcher was told nothing of %s", user))
			continue
		}
		if p.online != q.online || len(p.sessions) != len(q.sessions) {
			found = append(found, fmt.Sprintf("%s: the watcher knows online %v and %d sessions, a query shows %v and %d",
				user, p.online, len(p.sessions), q.online, len(q.sessions)))
			continue
		}
		for id, s := range q.sessions {
			if p.sessions[id] != s {
				found = append(found, fmt.Sprintf("session %s of %s: the watcher knows status %+v, a query shows %+v", id, user, p.sessions[id], s))
			}
		}
		if !q.online && !p.lastSeen.Equal(q.lastSeen) {
			found = append(found, fmt.Sprintf("%s: the watcher knows last seen %v, a query shows %v", user, p.lastSeen, q.lastSeen))
		}
	}
	slices.Sort(found)
	return found
}
