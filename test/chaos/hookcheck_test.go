package chaos

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// known is what a receiver of webhooks knows of a user after all it was told.
type known struct {
	seq      int
	sessions map[string]bool // open ones, and whether they are invisible
	lastSeen time.Time
}

// checkOrder is R5: what is told of a user for the first time rises, without a
// hole, and a repeat is the same as the first.
func checkOrder(taken []change) (found []string) {
	newest := map[string]int{}
	first := map[string]change{}
	for _, c := range taken {
		key := fmt.Sprint(c.User, " ", c.Seq)
		was, again := first[key]
		switch {
		case again && was != c:
			found = append(found, fmt.Sprintf("number %d of %s came as %+v and again as %+v", c.Seq, c.User, was, c))
		case again:
		case c.Seq <= newest[c.User]:
			found = append(found, fmt.Sprintf("number %d of %s came for the first time after number %d (%+v)", c.Seq, c.User, newest[c.User], c))
		case c.Seq != newest[c.User]+1:
			found = append(found, fmt.Sprintf("number %d of %s came after number %d", c.Seq, c.User, newest[c.User]))
		}
		first[key] = c
		newest[c.User] = max(newest[c.User], c.Seq)
	}
	return found
}

// fold makes the present of what was told; a last seen that goes back is R12.
func fold(taken []change) (users map[string]known, found []string) {
	users = map[string]known{}
	for _, c := range taken {
		u, ok := users[c.User]
		if !ok {
			u.sessions = map[string]bool{}
		}
		if c.Seq <= u.seq {
			continue // a repeat
		}
		found = append(found, u.fold(&c)...)
		users[c.User] = u
	}
	return users, found
}

// fold takes an event that is no repeat.
func (u *known) fold(c *change) (found []string) {
	u.seq = c.Seq
	switch c.Kind {
	case "opened", "hidden", "shown":
		u.sessions[c.Session.ID] = c.Invisible
	case "closed":
		delete(u.sessions, c.Session.ID)
	}
	if c.LastSeen.Before(u.lastSeen) {
		found = append(found, fmt.Sprintf("last seen of %s went back from %v to %v at number %d", c.User, u.lastSeen, c.LastSeen, c.Seq))
	}
	u.lastSeen = c.LastSeen
	if c.Available != (len(u.sessions) > 0) {
		found = append(found, fmt.Sprintf("number %d of %s says available is %v with %d sessions", c.Seq, c.User, c.Available, len(u.sessions)))
	}
	return found
}

// acknowledged counts the openings and closings that a receiver must be told of.
func (l *life) acknowledged() (opened, closed int) {
	for _, o := range l.opens {
		opened += count(o)
	}
	if _, done := l.bye(); done {
		closed++
	}
	return opened, min(closed+count(l.replace), 1)
}

// checkTold is R4: what was acknowledged was told.
func checkTold(lives []*life, taken []change) (found []string) {
	type times struct{ opened, closed map[int]bool }
	told := map[string]times{}
	for _, c := range taken {
		n, ok := told[c.Session.ID]
		if !ok {
			n = times{map[int]bool{}, map[int]bool{}}
			told[c.Session.ID] = n
		}
		switch c.Kind {
		case "opened":
			n.opened[c.Seq] = true
		case "closed":
			n.closed[c.Seq] = true
		}
	}
	for _, l := range lives {
		opened, closed := l.acknowledged()
		if n := told[l.public]; len(n.opened) < opened || len(n.closed) < closed {
			found = append(found, fmt.Sprintf("session %s of %s: %d openings and %d closings were acknowledged, %d and %d were told %s",
				l.public, l.user, opened, closed, len(n.opened), len(n.closed), l.story()))
		}
	}
	slices.Sort(found)
	return found
}

// differKnown says where what a receiver knows is not what a snapshot has.
func differKnown(told, snapshot map[string]known) (found []string) {
	for user, s := range snapshot {
		k := told[user]
		switch {
		case k.seq != s.seq:
			found = append(found, fmt.Sprintf("%s: told until number %d, the snapshot is at %d", user, k.seq, s.seq))
		case !maps.Equal(k.sessions, s.sessions):
			found = append(found, fmt.Sprintf("%s: told of the sessions %v, the snapshot has %v", user, k.sessions, s.sessions))
		case !k.lastSeen.Equal(s.lastSeen):
			found = append(found, fmt.Sprintf("%s: told last seen %v, the snapshot has %v", user, k.lastSeen, s.lastSeen))
		}
	}
	for user := range told {
		if _, ok := snapshot[user]; !ok {
			found = append(found, fmt.Sprintf("%s: told of, and not in the snapshot", user))
		}
	}
	slices.Sort(found)
	return found
}
