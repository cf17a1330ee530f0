package chaos

import (
	"maps"
	"slices"
	"time"
)

// checkEnd checks everything when the grace is over: what is held, watches,
// pictures, last seen. Then late devices return.
func (w *town) checkEnd(r *restart) error {
	w.bury(r)
	w.checkWatches(append(w.devices, w.watchers...))
	if err := w.checkPresent(); err != nil {
		return err
	}
	w.checkSteady(r)
	w.checkClosed()
	var lates []*device
	for _, d := range w.devices {
		if w.planOf(d) == late && d.life != nil {
			lates = append(lates, d)
		}
	}
	w.each(lates, func(d *device) { d.reopen() })
	w.checkWatches(lates)
	return w.checkPresent()
}

// ghosts are the sessions that nobody holds and that may still be open.
func (w *town) ghosts() (list []*life) {
	w.history.note(func() {
		for _, l := range w.history.lives {
			if !l.held && l.ended == alive && l.opening().asked() {
				list = append(list, l)
			}
		}
	})
	return list
}

// watchGhosts polls until none of the sessions is shown to its user, or the
// time for that is over (R1). It may run while devices return.
func (w *town) watchGhosts(r *restart, list []*life) {
	left := map[string][]string{} // ids of ghosts, by user
	for _, l := range list {
		left[l.user] = append(left[l.user], l.public)
	}
	pause(w.ctx.Done(), time.Until(r.deadline.Add(-100*time.Millisecond)))
	at, ok := w.eventually(r.readyAt.Add(r.grace+ghostMargin), 20*time.Millisecond, func() bool {
		own, err := w.owns(slices.Collect(maps.Keys(left)))
		if err != nil {
			w.blame("asking for ghosts: %v", err)
			return true
		}
		for u, ids := range left {
			left[u] = slices.DeleteFunc(ids, func(id string) bool { _, open := own[u].sessions[id]; return !open })
			if len(left[u]) == 0 {
				delete(left, u)
			}
		}
		return len(left) == 0
	})
	for u, ids := range left {
		if !ok {
			w.blame("%v after ready sessions %v of %s are open and nobody holds them", time.Since(r.readyAt).Round(time.Millisecond), ids, u)
		}
	}
	w.note(func(f *figures) {
		f.ghosts += len(list)
		if len(list) > 0 {
			f.worstGhost = max(f.worstGhost, at.Sub(r.readyAt)-r.grace)
		}
	})
}

// bury notes that the grace is over for who did not come, and waits past the
// moment at which a session that is held could close by mistake.
func (w *town) bury(r *restart) {
	pause(w.ctx.Done(), time.Until(r.readyAt.Add(r.grace+200*time.Millisecond)))
	for _, l := range w.ghosts() {
		w.history.note(func() { l.ended, l.losses = endLost, l.losses+1 })
	}
}

// checkWatches waits until every watch that must have survived, or was stated
// again, delivered (R6).
func (w *town) checkWatches(devices []*device) {
	began := time.Now()
	for _, d := range devices {
		if d.life == nil || d.line == nil {
			continue
		}
		var users []string
		w.history.note(func() {
			for u, a := range d.life.watches {
				if a.done() {
					users = append(users, u)
				}
			}
		})
		_, ok := w.eventually(began.Add(converge), 10*time.Millisecond, func() bool {
			users = slices.DeleteFunc(users, d.line.tells)
			return len(users) == 0
		})
		if !ok {
			w.blame("watches of %s (%s), session %s, do not deliver: %v", d.user, w.planOf(d), d.life.public, users)
			w.note(func(f *figures) { f.silent += len(users) })
			w.history.note(func() {
				for _, u := range users {
					delete(d.life.watches, u)
				}
			})
		}
	}
}

// checkPresent holds what is shown, when nothing changes any more, against what
// is held, and watchers' pictures against queries (R6, R12).
func (w *town) checkPresent() error {
	var own, strange view
	var err error
	demands := w.history.demands(true)
	if own, err = w.owns(w.users); err != nil {
		return err
	}
	if strange, err = w.strange(w.users); err != nil {
		return err
	}
	found := checkSessions(demands, own)
	w.note(func(f *figures) { f.lost += len(found) })
	w.blameAll(found)
	w.blameAll(checkHidden(demands, own, strange))
	lives := w.history.of()
	w.history.note(func() {
		found, worst := checkSeen(lives, own, w.history.outages)
		w.blameAll(found)
		w.note(func(f *figures) { f.worstSeen = max(f.worstSeen, worst) })
	})
	w.blameAll(w.seenOwn.checkView(own))
	w.blameAll(w.seen.checkView(strange))
	w.checkPictures(strange)
	return nil
}

// checkPictures waits until every watcher's picture is the query's.
func (w *town) checkPictures(strange view) {
	began := time.Now()
	var left []string
	at, ok := w.eventually(began.Add(converge), 20*time.Millisecond, func() bool {
		left = nil
		for _, d := range w.watchers {
			if d.line != nil {
				left = append(left, differ(pictureOf(d.line.all()), strange)...)
			}
		}
		for _, p := range w.programs {
			left = append(left, differ(p.picture(w.users), strange)...)
		}
		return len(left) == 0
	})
	if !ok {
		w.blameAll(left)
	}
	w.note(func(f *figures) { f.worstConverge = max(f.worstConverge, at.Sub(began)) })
}

// checkSteady finds visible changes of those who were there all the time (R3).
func (w *town) checkSteady(r *restart) {
	steady := w.steady(r.cut)
	from, to := w.node.spawned[len(w.node.spawned)-1], time.Now()
	for _, d := range w.watchers {
		if d.line == nil {
			w.blame("watcher %s has no stream", d.user)
			continue
		}
		notices := d.line.all()
		w.flapped(checkOffline(steady, notices))
		w.history.note(func() { w.flapped(checkFlaps(w.history.lives, notices, from, to)) })
	}
	for _, p := range w.programs {
		w.history.note(func() { w.flapped(p.flaps(w.history.lives)) })
	}
	w.note(func(f *figures) { f.steady += len(steady) })
}

// checkClosed tries to resume some sessions that were closed by an explicit
// word before the last outage: they are gone.
func (w *town) checkClosed() {
	const most = 10
	var list []*life
	w.history.note(func() {
		for _, l := range w.history.lives {
			if l.ended == endClosed || l.ended == endReplaced {
				if list = append(list, l); len(list) == most {
					return
				}
			}
		}
	})
	for _, l := range list {
		d, err := w.newDevice(l.user, "", 0)
		if err != nil {
			w.blame("%v", err)
			return
		}
		d.life = l
		if err = d.try(); !gone(err) {
			w.blame("session %s of %s was %s, and a resume gives %v in place of SESSION_GONE", l.public, l.user, l.ended, err)
		}
		d.conn.Close()
	}
}
