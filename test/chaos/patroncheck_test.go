package chaos

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// rest brings a patron to rest: he comes back if he means to, reads, and states a
// status.
func (p *patron) rest() {
	p.wake()
	limit := time.Now().Add(patience)
	for {
		linked := p.linked()
		p.mu.Lock()
		meant, pending, acked, said := p.meant, p.pending, p.acked, p.said
		p.mu.Unlock()
		switch {
		case linked && p.ear != nil, meant != here:
			return
		case linked && !pending:
			if p.say(); p.sock != nil && p.settledSince(acked, said) {
				return
			}
		case time.Now().After(p.next):
			p.next = time.Time{}
			p.come()
		}
		if time.Now().After(limit) {
			p.crowd.blame("%s could not come back %s", p.user, p)
			return
		}
		pause(p.crowd.ctx.Done(), 20*time.Millisecond)
	}
}

// settledSince reports whether a status was acknowledged since, and is the newest.
func (p *patron) settledSince(acked, said int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked > acked && p.acked > said && p.acked == p.said
}

// restPatrons brings all to rest, some at a time.
func (w *crowd) restPatrons() {
	w.eachPatron(w.everyPatron(), (*patron).rest)
}

// eachPatron does something with patrons, some at a time.
func (w *crowd) eachPatron(list []*patron, f func(*patron)) {
	const atOnce = 64
	work := make(chan *patron)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for p := range work {
				f(p)
			}
		})
	}
	for _, p := range list {
		work <- p
	}
	close(work)
	all.Wait()
}

func (w *crowd) everyPatron() []*patron { return append(slices.Clone(w.patrons), w.onlookers...) }

// checkWatches holds what each patron was told of whom he watches against what a
// query shows (R6): whatever was declared and answered delivers.
func (w *crowd) checkWatches(query view) (found []string) {
	for _, p := range w.patrons {
		p.mu.Lock()
		if p.meant == here && p.lost.IsZero() {
			want, got := view{}, view{}
			for u, a := range p.watches {
				if a.done() {
					want[u] = query[u]
					if known, ok := p.picture[u]; ok {
						known.sessions = maps.Clone(known.sessions)
						got[u] = known
					}
				}
			}
			for _, d := range differ(got, want) {
				found = append(found, fmt.Sprintf("%s, at node %d, who watches: %s", p.user, p.node+1, d))
			}
		}
		p.mu.Unlock()
	}
	return found
}

// checkGuestWatches does so for guests. Of himself a user is told more than others.
func (w *crowd) checkGuestWatches(query view) (found []string) {
	for _, g := range w.guests {
		if g.life == nil || g.line == nil {
			continue
		}
		if _, ended := g.line.ended(); ended {
			continue
		}
		want, got, shows := view{}, view{}, g.ear.shows()
		w.history.note(func() {
			for u, a := range g.life.watches {
				if known, ok := shows[u]; a.done() && u != g.user && !g.unsure[u] {
					if want[u] = query[u]; ok {
						got[u] = known
					}
				}
			}
		})
		for _, d := range differ(got, want) {
			found = append(found, fmt.Sprintf("the device of %s, at node %d, which watches: %s", g.user, g.at+1, d))
		}
	}
	return found
}

// checkPatrons holds what a node shows of patrons, who are at rest, against what
// they know.
func (w *crowd) checkPatrons(node int, v view) (found []string) {
	now := time.Now()
	for _, p := range w.patrons {
		there, _, ok := p.certain(now)
		if !ok {
			continue
		}
		shown := v[p.user]
		sessions := 0
		if there {
			sessions = 1
		}
		switch number, live := numberIn(shown), p.door.name() == "live"; {
		case shown.online != there || len(shown.sessions) != sessions:
			found = append(found, fmt.Sprintf("node %d shows %s online %v with %d sessions %s", node+1, p.user, shown.online, len(shown.sessions), p))
		case there && live && (number < p.acked || number > p.said):
			found = append(found, fmt.Sprintf("node %d shows status %d of %s %s", node+1, number, p.user, p))
		}
	}
	return found
}

// numberIn is the number of the status of a user's only session.
func numberIn(p person) int {
	for _, s := range p.sessions {
		return s.number
	}
	return 0
}

// seenLimit is R12: how far last seen may lie from the last sign of life, and how
// far of who was lost with his node (heartbeat_timeout of these apps is 35 s).
const (
	seenLimit     = time.Second
	seenLimitLost = 36 * time.Second
)

// checkLastSeen is R12 for patrons who are gone. It returns the worst ones: of who
// went himself, and of who was lost with a node.
func (w *crowd) checkLastSeen(v view) (found []string, own, with time.Duration) {
	for _, p := range w.patrons {
		p.mu.Lock()
		r := p.standing
		p.mu.Unlock()
		shown := v[p.user]
		if r.meant != left && r.meant != leftSilent || r.pending || r.heardLast.IsZero() || shown.online || shown.lastSeen.IsZero() {
			continue
		}
		differs := shown.lastSeen.Sub(r.heardLast).Abs()
		if r.lostWith || w.wentInGrace(r.node, r.lost) || w.troubled(r.heardLast, r.lost) {
			if with = max(with, differs); differs > seenLimitLost {
				found = append(found, fmt.Sprintf("R12: %s was last seen %s, %v from his last sign of life %s", p.user, clock(shown.lastSeen), differs, p))
			}
			continue
		}
		if own = max(own, differs); differs > seenLimit {
			found = append(found, fmt.Sprintf("R12: %s was last seen %s, %v from his last sign of life at %s %s", p.user, clock(shown.lastSeen), differs, clock(r.heardLast), p))
		}
	}
	return found, own, with
}

// patronFlaps holds what a watcher counted of patrons against what they explain
// (R3, R9), and forgetful is what is left.
func (w *crowd) patronFlaps(counts map[string]changed) (found []string) {
	for _, p := range w.patrons {
		c, ok := counts[p.user]
		if !ok {
			continue
		}
		delete(counts, p.user)
		p.mu.Lock()
		opened, closed := p.opens.asked+p.opens.may, p.closes.asked+p.closes.may
		p.mu.Unlock()
		if c.opened > opened || c.closed > closed {
			found = append(found, fmt.Sprintf("%s flapped: a watcher saw him open %d times and close %d times (%s), he explains %d and %d %s", p.user, c.opened, c.closed, c.times, opened, closed, p))
		}
	}
	return found
}

// checkPatronsTold is R4 for patrons: what was acknowledged was told.
func (w *crowd) checkPatronsTold() (found []string) {
	for _, p := range w.patrons {
		opened, closed := w.hook.tape.told(p.user)
		p.mu.Lock()
		if opened < p.opens.acked || closed < p.closes.acked {
			found = append(found, fmt.Sprintf("%s: %d openings and %d closings were acknowledged, %d and %d were told", p.user, p.opens.acked, p.closes.acked, opened, closed))
		}
		if most, least := p.opens.asked+p.opens.may, p.closes.asked+p.closes.may; opened > most || closed > least {
			found = append(found, fmt.Sprintf("%s: %d openings and %d closings were told, he explains %d and %d", p.user, opened, closed, most, least))
		}
		p.mu.Unlock()
	}
	return found
}

// settlePatrons lets what is counted of patrons begin anew where everybody knows the
// same of them: what explains something now must not explain a flap in a later round.
func (w *crowd) settlePatrons() {
	var pictures []view
	for _, l := range w.ledgers() {
		pictures = append(pictures, l.shows())
	}
	now := time.Now()
	var users []string
	for _, p := range w.patrons {
		there, _, ok := p.certain(now)
		for _, v := range pictures {
			ok = ok && v[p.user].online == there
		}
		if _, gone := w.hook.tape.gone(p.user); !ok || gone == there {
			continue
		}
		users = append(users, p.user)
		w.hook.tape.settle(p.user)
		p.mu.Lock()
		opened, closed := p.opens.acked, p.closes.acked
		p.opens, p.closes = sums{}, sums{}
		if w.ears.knows(p.user) == there {
			p.overlaps = 0
		}
		p.mu.Unlock()
		w.count(func(f *nodeFigures) { f.openings, f.closings = f.openings+opened, f.closings+closed })
	}
	for _, l := range w.ledgers() {
		l.forget(users)
	}
}

// foreignSample is how many patrons each door of each node is asked for at rest.
const foreignSample = 30

// checkDoors asks all doors of all nodes for some patrons, who are at rest (R6).
func (w *crowd) checkDoors() (found []string) {
	random := rand.New(rand.NewPCG(w.seed, 11))
	for _, node := range w.fleet.there() {
		for _, a := range askings() {
			var users []string
			asked := map[string]*patron{}
			for range min(foreignSample, len(w.patrons)) {
				if p := w.patrons[random.IntN(len(w.patrons))]; asked[p.user] == nil {
					asked[p.user] = p
					users = append(users, p.user)
				}
			}
			if len(users) == 0 {
				return nil
			}
			answers, err := a.ask(w, node, users)
			if err != nil {
				found = append(found, err.Error())
			}
			for user, v := range answers {
				if there, _, ok := asked[user].certain(time.Now()); ok && (there != v.online || v.stale || v.unknown) {
					found = append(found, fmt.Sprintf("door %s of node %d %s %s", a.name, node+1, v.words(user), asked[user]))
				}
			}
		}
	}
	return found
}

// checkMoods asks for the attributes of Stringee's patrons at any node: what was
// acknowledged is stored.
func (w *crowd) checkMoods() (found []string) {
	for _, p := range w.patrons {
		p.mu.Lock()
		acked, said, door := p.acked, p.said, p.door.name()
		p.mu.Unlock()
		if door != "stringee" || acked == 0 {
			continue
		}
		node := w.anyNode(p.random)
		got, err := w.moodAt(node, p.user)
		if err != nil || got < acked || got > said {
			found = append(found, fmt.Sprintf("node %d has mood %d of %s, %d was acknowledged and %d said: %v", node+1, got, p.user, acked, said, err))
		}
	}
	return found
}

// waitForPatrons waits until nothing is left of those who never come back.
func (w *crowd) waitForPatrons() {
	var last time.Time
	for _, p := range w.patrons {
		p.mu.Lock()
		if over := p.overBy(); p.meant == leftSilent && over.After(last) {
			last = over
		}
		p.mu.Unlock()
	}
	pause(w.ctx.Done(), time.Until(last))
}

// calmPatrons holds all of that, when everybody has been at rest for long enough.
func (w *crowd) calmPatrons() {
	if len(w.patrons) == 0 {
		return
	}
	var found []string
	_, ok := w.eventually(time.Now().Add(converge), 100*time.Millisecond, func() bool {
		found = nil
		for _, node := range w.fleet.there() {
			v, err := w.see(node, w.all)
			if err != nil {
				found = append(found, err.Error())
				continue
			}
			found = append(found, w.checkPatrons(node, v)...)
			if w.fleet.steps {
				continue // clocks were set
			}
			wrong, own, with := w.checkLastSeen(v)
			found = append(found, wrong...)
			w.count(func(f *nodeFigures) { f.seenOwn, f.seenWith = max(f.seenOwn, own), max(f.seenWith, with) })
		}
		return len(found) == 0
	})
	if !ok {
		w.lose(found)
	}
	w.lose(w.checkDoors())
	w.lose(w.checkMoods())
	w.lose(w.checkPatronsTold())
}

// ghostsAmong are patrons who never come back after a node went at a time.
func (w *crowd) ghostsAmong(node int, since time.Time) (list []*patron) {
	for _, p := range w.patrons {
		p.mu.Lock()
		if p.meant == leftSilent && p.node == node && !p.lost.Before(since) && !p.lost.After(since.Add(nodesGrace)) {
			list = append(list, p)
		}
		p.mu.Unlock()
	}
	return list
}

// shown are the users that some door of some node still shows as online.
func (w *crowd) shown(users map[string]bool) map[string]bool {
	list := slices.Sorted(maps.Keys(users))
	shown := map[string]bool{}
	for _, node := range w.fleet.there() {
		for _, a := range askings()[:3] {
			for some := range slices.Chunk(list, 200) {
				answers, err := a.ask(w, node, some)
				if err != nil {
					w.blame("asking for ghosts: %v", err)
				}
				for user, v := range answers {
					if v.online {
						shown[user] = true
					}
				}
			}
		}
	}
	return shown
}
