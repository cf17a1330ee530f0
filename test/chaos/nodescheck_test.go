package chaos

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// watchDoors asks all nodes that are there for the ghosts of one that was killed,
// until nobody shows any (R1).
func (w *crowd) watchDoors(node int, killed time.Time) {
	pause(w.ctx.Done(), time.Until(killed.Add(2*time.Second)))
	list := w.ghostsOf(node, killed)
	left := map[string][]string{} // ids of ghosts, by user
	for _, g := range list {
		left[g.life.user] = append(left[g.life.user], g.life.public)
	}
	patrons := map[string]bool{}
	for _, p := range w.ghostsAmong(node, killed) {
		patrons[p.user] = true
	}
	ghosts := len(list) + len(patrons)
	at, ok := w.eventually(killed.Add(doorsLimit), 50*time.Millisecond, func() bool {
		if patrons = w.shown(patrons); len(patrons) > 0 {
			return false
		}
		shown := map[string]bool{}
		for _, i := range w.fleet.there() {
			v, err := w.see(i, slices.Collect(maps.Keys(left)))
			if err != nil {
				w.blame("asking for ghosts: %v", err)
				return true
			}
			for _, p := range v {
				for id := range p.sessions {
					shown[id] = true
				}
			}
		}
		for u, ids := range left {
			if left[u] = slices.DeleteFunc(ids, func(id string) bool { return !shown[id] }); len(left[u]) == 0 {
				delete(left, u)
			}
		}
		return len(left) == 0
	})
	if !ok {
		w.blame("R1: %v after the kill of node %d these sessions are still shown: %v, and these users: %v", time.Since(killed).Round(time.Millisecond), node+1, left, slices.Sorted(maps.Keys(patrons)))
	}
	w.count(func(f *nodeFigures) {
		f.ghosts += ghosts
		if ghosts > 0 {
			f.worstDoors = max(f.worstDoors, at.Sub(killed))
		}
	})
}

// watchHook waits until the webhook was told of the end of all ghosts (R1).
func (w *crowd) watchHook(node int, killed time.Time) {
	list := w.ghostsOf(node, killed)
	var worst time.Time
	var missing []string
	_, ok := w.eventually(killed.Add(hookWithin), 50*time.Millisecond, func() bool {
		worst, missing = w.hook.closed(list)
		return len(missing) == 0
	})
	if !ok {
		w.blame("R1: %v after the kill of node %d the webhook was not told of the end of %v", time.Since(killed).Round(time.Millisecond), node+1, missing)
	}
	if late := worst.Sub(killed); late > hookWithin {
		w.blame("R1: the webhook was told of the last ghost of node %d after %v", node+1, late)
	}
	if len(list) > 0 {
		w.count(func(f *nodeFigures) { f.worstHook = max(f.worstHook, worst.Sub(killed)) })
	}
}

// closed is when the end of the last of the ghosts was told, and which were not
// told of.
func (h *hook) closed(list []ghost) (worst time.Time, missing []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := map[string]time.Time{}
	if h.tape != nil {
		for _, g := range list {
			if at := h.tape.closedAt(g.life.public); !at.IsZero() {
				told[g.life.public] = at
			}
		}
	}
	for i := range h.taken {
		if c := &h.taken[i]; c.Kind == "closed" {
			told[c.Session.ID] = h.seen[c.ID]
		}
	}
	for _, g := range list {
		at, ok := told[g.life.public]
		if !ok || at.Before(g.since) {
			missing = append(missing, g.life.public)
		}
		if at.After(worst) {
			worst = at
		}
	}
	return worst, missing
}

// checkCalm lets everybody come to rest and holds what all nodes show against
// each other and against what devices know.
func (w *crowd) checkCalm() error {
	w.together(w.everybody(), func(g *guest) { g.rest() })
	w.restPatrons()
	w.checkAgree()
	// Whoever went must be gone.
	var last time.Time
	w.history.note(func() {
		for _, l := range w.history.lives {
			if !l.held && l.lostAt.After(last) {
				last = l.lostAt
			}
		}
	})
	pause(w.ctx.Done(), time.Until(last.Add(w.tooLate)))
	w.waitForPatrons()
	w.checkHeld()
	w.calmPatrons()
	w.checkNotices()
	w.checkGoodbyes()
	if err := w.checkKnown(); err != nil {
		return err
	}
	w.checkEars()
	w.weigh()
	w.checkLogs()
	w.forget()
	return nil
}

// forget drops what is over and was held against everything, so that a long run
// does not grow with its rounds.
func (w *crowd) forget() {
	var over []*life
	var keys []string
	now := time.Now()
	w.history.note(func() {
		for id, l := range w.history.lives {
			if l.held {
				l.shorten(now)
			} else if l.over(now.Add(-lateAnswer)) {
				over, keys = append(over, l), append(keys, id)
				delete(w.history.lives, id)
			}
		}
		if n := len(w.history.outages); n > mostOutages {
			w.history.outages = append([]outage{}, w.history.outages[n-mostOutages:]...)
		}
	})
	w.lose(w.hook.tape.checkTold(over))
	w.hook.tape.forget(keys)
	w.settlePatrons()
	for _, l := range w.ledgers() {
		l.forget(keys)
	}
	for _, g := range w.guests {
		g.ear.forget(keys)
	}
	w.count(func(f *nodeFigures) { f.add(over) })
	w.note(func(*figures) {
		w.left = slices.DeleteFunc(w.left, func(g ghost) bool { return now.Sub(g.since) > lateAnswer })
	})
}

// mostOutages bounds how many are remembered.
const mostOutages = 64

// over reports whether nothing of the session was asked since a time, and nobody
// will come back to it.
func (l *life) over(since time.Time) bool {
	last := l.lostAt
	for _, list := range [][]act{l.opens, l.byes, {l.replace}} {
		for _, a := range list {
			if a.sent.After(last) {
				last = a.sent
			}
		}
	}
	if n := len(l.says); n > 0 && l.says[n-1].sent.After(last) {
		last = l.says[n-1].sent
	}
	return last.Before(since)
}

// rest brings a guest to rest: it comes back if it means to, and states a status, or,
// one of six, says goodbye, so that there is a last seen to be looked at.
func (g *guest) rest() {
	limit := time.Now().Add(patience)
	for {
		if g.linked() {
			last := func() error { return g.update(false) }
			if !g.keep && g.place%6 == 0 {
				last = g.bye
			}
			if asked, _ := g.life.bye(); !asked {
				if err := last(); err == nil || !away(err) {
					g.failed("the last word", err)
					return
				}
			}
		}
		if g.life == nil || !g.life.held {
			return
		}
		if time.Now().After(g.next) {
			g.comeBack()
		}
		if time.Now().After(limit) {
			g.w.blame("%s could not come back", g.user)
			return
		}
		pause(g.w.ctx.Done(), 20*time.Millisecond)
	}
}

// checkAgree waits until all nodes and all watchers show the same (R6).
func (w *crowd) checkAgree() {
	began := time.Now()
	var found []string
	at, ok := w.eventually(began.Add(converge), 50*time.Millisecond, func() bool {
		found = nil
		views := make([]view, len(w.fleet.nodes))
		for i := range views {
			var err error
			if views[i], err = w.see(i, w.all); err != nil {
				found = []string{err.Error()}
				return false
			}
			found = append(found, checkFresh(i, views[i])...)
			for _, d := range differ(views[0], views[i]) {
				found = append(found, fmt.Sprintf("node %d beside node 1: %s", i+1, d))
			}
		}
		for i, g := range w.watchers {
			for _, d := range differ(g.ear.shows(), views[0]) {
				found = append(found, fmt.Sprintf("watcher %d, at node %d: %s", i, g.at+1, d))
			}
		}
		for _, p := range w.onlookers {
			for _, d := range differ(p.ear.shows(), views[0]) {
				found = append(found, fmt.Sprintf("%s of the live door, at node %d: %s", p.user, p.at+1, d))
			}
		}
		found = append(found, w.checkWatches(views[0])...)
		found = append(found, w.checkGuestWatches(views[0])...)
		return len(found) == 0
	})
	if !ok {
		w.lose(found)
	}
	w.count(func(f *nodeFigures) { f.worstAll = max(f.worstAll, at.Sub(began)) })
}

// checkFresh finds a node that says that what it answers may be old, though nothing
// is wrong any more.
func checkFresh(node int, v view) (found []string) {
	var stale []string
	for user, p := range v {
		if p.stale {
			stale = append(stale, user)
		}
	}
	if len(stale) > 0 {
		found = append(found, fmt.Sprintf("node %d says that its answer may be old of %d users, %s among them", node+1, len(stale), slices.Min(stale)))
	}
	return found
}

func (w *crowd) lose(found []string) {
	w.count(func(f *nodeFigures) { f.lost += len(found) })
	w.blameAll(found)
}

// checkHeld holds what is shown against what is held.
func (w *crowd) checkHeld() {
	for _, i := range w.fleet.there() {
		var found []string
		w.eventually(time.Now().Add(2*time.Second), 100*time.Millisecond, func() bool {
			demands := w.history.demands(true)
			own, err := w.ownAt(i)
			if err != nil {
				found = []string{err.Error()}
				return false
			}
			strange, err := w.see(i, w.users)
			if err != nil {
				found = []string{err.Error()}
				return false
			}
			found = append(checkSessions(demands, own), checkHidden(demands, own, strange)...)
			return len(found) == 0
		})
		for k := range found {
			found[k] = fmt.Sprintf("node %d: %s", i+1, found[k])
		}
		w.lose(found)
	}
}

// checkNotices holds what watchers were told against what devices did (R3, R9),
// and last seen (R12).
func (w *crowd) checkNotices() {
	for _, l := range w.ledgers() {
		counts := l.counts()
		found := w.patronFlaps(counts)
		w.history.note(func() { found = append(found, flaps(w.history.lives, counts, time.Time{}, time.Now())...) })
		w.count(func(f *nodeFigures) { f.flaps += len(found) })
		w.blameAll(found)
		w.blameAll(l.wentBack(w.parted))
	}
}

// ledgers are those of all who watch everybody.
func (w *crowd) ledgers() (list []*ledger) {
	for _, g := range w.watchers {
		list = append(list, g.ear)
	}
	for _, p := range w.onlookers {
		list = append(list, p.ear)
	}
	return list
}

// checkKnown waits until the webhook knows what snapshots of all nodes have.
func (w *crowd) checkKnown() error {
	began := time.Now()
	for _, i := range w.fleet.there() {
		var found []string
		_, ok := w.eventually(began.Add(hookLimit), 100*time.Millisecond, func() bool {
			told := w.hook.tape.knows()
			snapshot, err := w.snapshotAt(i)
			if err != nil {
				found = []string{err.Error()}
				return false
			}
			w.knowLate(told, snapshot)
			found = differKnown(told, snapshot)
			return len(found) == 0
		})
		if !ok {
			w.blame("the webhook beside the snapshot of node %d, after %v:", i+1, hookLimit)
			w.lose(found)
		}
	}
	w.count(func(f *nodeFigures) { f.worstKnew = max(f.worstKnew, time.Since(began)) })
	return nil
}

// checkHook holds all that the webhook was told against what was acknowledged
// (R4) and its order (R5).
func (w *crowd) checkHook() {
	w.blameAll(w.hook.tape.wrong())
	w.lose(w.hook.tape.checkTold(everybody(w.history)))
	w.hook.mu.Lock()
	defer w.hook.mu.Unlock()
	w.blameAll(w.hook.stray)
	if w.hook.gaps > 0 {
		w.blame("%d gaps were told, and the log holds everything", w.hook.gaps)
	}
}

// tell has the story of a session told at the end, as the webhook knows it.
func (w *crowd) tell(l *life) { w.count(func(f *nodeFigures) { f.stories = append(f.stories, l) }) }

// stories logs them.
func (w *crowd) stories(log func(format string, args ...any)) {
	for _, l := range w.found.stories {
		log("session %s of %s: %s", l.public, l.user, l.story())
		for _, line := range w.hook.tape.story(l.public) {
			log("  told: %s", line)
		}
	}
}
