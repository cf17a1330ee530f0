package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// ledger is what one watcher was told, added up: it does not grow with what is
// told, but with of whom.
type ledger struct {
	// keyOf is under which name changes of a session are counted: of users who are
	// never told their session's id the user, else the session.
	keyOf func(user, session string) string

	mu      sync.Mutex // guards all below
	picture view
	changes map[string]*changed
	seen    lastSeens
	told    map[string]time.Time // when that was told
	backs   []setback
	notices int
	resyncs int
}

// changed counts what was told of a session.
type changed struct {
	opened, closed, updated int
	times                   string // of the last openings and closings
}

// setback is a last seen that was told after a later one.
type setback struct {
	user     string
	from, to time.Time
	told     time.Time // when the later one was
	at       time.Time
}

// mostTimes bounds the text of times.
const mostTimes = 200

func (c *changed) came(kind string) {
	c.times += " " + kind + " " + clock(time.Now())
	c.times = c.times[max(0, len(c.times)-mostTimes):]
}

func newLedger(keyOf func(user, session string) string) *ledger {
	return &ledger{keyOf: keyOf, picture: view{}, changes: map[string]*changed{}, seen: lastSeens{}, told: map[string]time.Time{}}
}

// resync begins the picture anew: what follows tells all of it.
func (l *ledger) resync() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.picture = view{}
	l.resyncs++
}

// drop forgets what was told of a user who is not watched any more.
func (l *ledger) drop(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.picture, user)
}

// hear takes a notice.
func (l *ledger) hear(n *notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notices++
	l.picture.hear(n)
	if n.GetLastSeen() != nil {
		user, at, now := n.GetUserId(), n.GetLastSeen().AsTime(), time.Now()
		if old := l.seen[user]; len(l.seen.check(user, at)) == 0 {
			if at.After(old) {
				l.told[user] = now
			}
		} else if len(l.backs) < mostBlame {
			l.backs = append(l.backs, setback{user, old, at, l.told[user], now})
		}
	}
	kind := n.GetSession().GetKind()
	if kind != isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED && kind != isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED &&
		kind != isonlinev1.SessionEventKind_SESSION_EVENT_KIND_UPDATED {
		return
	}
	key := l.keyOf(n.GetUserId(), n.GetSession().GetSessionId())
	c := l.changes[key]
	if c == nil {
		c = &changed{}
		l.changes[key] = c
	}
	switch kind {
	case isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED:
		c.opened++
		c.came("open")
	case isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED:
		c.closed++
		c.came("close")
	default:
		c.updated++
	}
}

// shows is a copy of the picture.
func (l *ledger) shows() view {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := view{}
	for user, p := range l.picture {
		p.sessions = maps.Clone(p.sessions)
		v[user] = p
	}
	return v
}

// wentBack gives, once, the last seens that went back, but for those that parted
// excuses: a node that was cut off told of an end of which the others could not know.
// They must know it in the end.
func (l *ledger) wentBack(parted func(setback) bool) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.backs {
		p, ok := l.picture[b.user]
		switch {
		case !parted(b):
			found = append(found, fmt.Sprintf("last seen of %s went back from %s to %s", b.user, clock(b.from), clock(b.to)))
		case ok && !p.online && p.lastSeen.Before(b.from):
			found = append(found, fmt.Sprintf("last seen of %s went back from %s to %s for good", b.user, clock(b.from), clock(p.lastSeen)))
		}
	}
	l.backs = nil
	return found
}

// counts is a copy of the changes.
func (l *ledger) counts() map[string]changed {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := map[string]changed{}
	for key, c := range l.changes {
		m[key] = *c
	}
	return m
}

// forget drops what was counted of sessions.
func (l *ledger) forget(keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		delete(l.changes, key)
	}
}

// flaps holds what was counted of sessions against what their devices explain by
// acts of a time (R3, R9).
func flaps(lives map[string]*life, counts map[string]changed, from, to time.Time) (found []string) {
	for id, c := range counts {
		l := lives[id]
		if id == "" {
			if c.opened+c.closed > 0 {
				found = append(found, fmt.Sprintf("a watcher was told of %d openings and %d closings of a session without an id", c.opened, c.closed))
			}
			continue
		}
		if l == nil {
			found = append(found, fmt.Sprintf("a watcher was told of a session %s that nobody made, or of which all was told a minute ago: %d times open, %d closed, %d statuses (%s)",
				id, c.opened, c.closed, c.updated, strings.TrimSpace(c.times)))
			continue
		}
		if opened, closed := l.explained(from, to); c.opened > opened || c.closed > closed {
			found = append(found, fmt.Sprintf("session %s of %s flapped: a watcher saw it open %d times and close %d times (%s), its device explains %d and %d %s",
				id, l.user, c.opened, c.closed, strings.TrimSpace(c.times), opened, closed, l.story()))
		}
	}
	slices.Sort(found)
	return found
}
