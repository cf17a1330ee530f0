package chaos

import (
	"fmt"
	"slices"
	"time"
)

// checkGoodbyes is R12 for guests who are all gone, as all nodes tell it.
func (w *crowd) checkGoodbyes() {
	if w.fleet.steps {
		return // clocks were set
	}
	lives := w.history.of()
	for _, i := range w.fleet.there() {
		v, err := w.see(i, w.users)
		if err != nil {
			w.blame("asking for last seen: %v", err)
			continue
		}
		var found []string
		var judged int
		var worst time.Duration
		w.history.note(func() { found, judged, worst = goodbyes(lives, v) })
		w.count(func(f *nodeFigures) { f.goodbyes, f.seenOwn = f.goodbyes+judged, max(f.seenOwn, worst) })
		for k := range found {
			found[k] = fmt.Sprintf("R12: node %d: %s", i+1, found[k])
		}
		w.blameAll(found)
	}
}

// goodbyes holds the last seen of users who are offline against the goodbyes of their
// devices, and against links that were lost where nobody came back; it returns how
// many were judged, and the worst of those who said it. Of who appeared offline
// others are told that he went before, and of who was refused when he opened that he never
// came, unless that was stored.
func goodbyes(lives map[string][]*life, v view) (found []string, judged int, worst time.Duration) {
	for user, list := range lives {
		p, asked := v[user]
		if !asked || p.online {
			continue
		}
		var first, last, word time.Time
		ok := true
		for _, l := range list {
			if !l.opening().asked() {
				continue
			}
			from, to, said, certain := l.wentWithin()
			if ok = ok && certain; !ok {
				break
			}
			if to.After(last) {
				last = to
			}
			hidden, sure := l.hidden(to)
			if hidden || !sure || !slices.ContainsFunc(l.opens, act.done) {
				continue
			}
			if from.After(first) {
				first = from
			}
			if said.After(word) {
				word = said
			}
		}
		if !ok || first.IsZero() {
			continue
		}
		judged++
		if p.lastSeen.Before(first) || p.lastSeen.After(last) {
			found = append(found, fmt.Sprintf("%s was last seen %s, and must between %s and %s", user, clock(p.lastSeen), clock(first), clock(last)))
		} else if !word.IsZero() && last.Equal(word.Add(seenLimit)) {
			worst = max(worst, p.lastSeen.Sub(word))
		}
	}
	slices.Sort(found)
	return found, judged, worst
}

// wentWithin is when others may be told that its device was there last: said, which
// was when its goodbye was answered, within a second; else with all that
// heartbeat_timeout allows. certain is false while it is there.
func (l *life) wentWithin() (from, to, said time.Time, certain bool) {
	if l.held {
		return from, to, said, false
	}
	switch {
	case l.ended == endClosed && len(l.byes) == 1 && l.byes[0].done():
		said = l.byes[0].acked
		return l.byes[0].sent.Add(-seenLimit), said.Add(seenLimit), said, true
	case l.ended == endClosed && len(l.byes) > 0: // it may have been over before
		return l.byes[0].sent.Add(-seenLimitLost), l.byes[len(l.byes)-1].acked.Add(seenLimit), said, true
	case !l.lostAt.IsZero():
		return l.lostAt.Add(-seenLimitLost), l.lostAt.Add(seenLimitLost), said, true
	}
	return from, to, said, false
}
