package chaos

import (
	"fmt"
	"time"
)

const (
	// aliveDelay is how far the last seen of who was lost with the node may lie
	// before the kill: the node notes once a second that it is alive, and the
	// note takes a moment.
	aliveDelay = 2 * time.Second

	// clockGrain is how far times may be apart that are the same: the server
	// counts in milliseconds.
	clockGrain = 2 * time.Millisecond

	// answerDelay is how much later than its cause a time may be taken that the
	// server takes on its own: after a kill, the process lives on for a moment.
	answerDelay = 100 * time.Millisecond
)

// checkSeen holds the last seen of users who are offline, as they see it
// themselves, against when their devices were last there. It returns too how
// far before the outage the worst one of a user lay who was lost with the node.
func checkSeen(lives map[string][]*life, own view, outages []outage) (found []string, worst time.Duration) {
	for user, p := range own {
		if p.online {
			continue
		}
		var lower, upper time.Time
		lost := false
		for _, l := range lives[user] {
			lo, up, ok := l.seen(outages)
			if !ok || !l.opening().asked() {
				continue
			}
			if lo.After(lower) && l.opening().done() {
				lower, lost = lo, l.ended != endClosed && l.ended != endReplaced
			}
			if up.After(upper) {
				upper = up
			}
			if l.ended == endRefused || l.doubtful > 0 {
				upper = time.Now() // the server chose the time
			}
		}
		early := lower.Sub(p.lastSeen)
		limit := clockGrain
		if lost {
			limit = aliveDelay
			worst = max(worst, early)
		}
		switch {
		case lower.IsZero():
		case p.lastSeen.IsZero():
			found = append(found, fmt.Sprintf("%s has no last seen, and was there at %s", user, clock(lower)))
		case early > limit:
			found = append(found, fmt.Sprintf("%s was last seen at %s, %v before the device was there (%s, lost with the node: %v)",
				user, clock(p.lastSeen), early.Round(time.Millisecond), clock(lower), lost))
		case p.lastSeen.Sub(upper) > answerDelay:
			found = append(found, fmt.Sprintf("%s was last seen at %s, %v after any device was there (%s)",
				user, clock(p.lastSeen), p.lastSeen.Sub(upper).Round(time.Millisecond), clock(upper)))
		}
	}
	return found, worst
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }

// lastSeens remembers the latest last seen that somebody was shown of each user.
type lastSeens map[string]time.Time

// check finds those that went back, and remembers the later ones.
func (seen lastSeens) check(user string, at time.Time) (found []string) {
	switch old := seen[user]; {
	case at.IsZero():
	case at.Before(old):
		found = append(found, fmt.Sprintf("last seen of %s went back from %s to %s", user, clock(old), clock(at)))
	default:
		seen[user] = at
	}
	return found
}

// checkView does so for a view.
func (seen lastSeens) checkView(v view) (found []string) {
	for user, p := range v {
		found = append(found, seen.check(user, p.lastSeen)...)
	}
	return found
}

// checkNotices does so for what came on one stream.
func (seen lastSeens) checkNotices(notices []told) (found []string) {
	for _, n := range notices {
		if n.GetLastSeen() != nil {
			found = append(found, seen.check(n.GetUserId(), n.GetLastSeen().AsTime())...)
		}
	}
	return found
}
