package chaos

import (
	"slices"
	"time"
)

// afterTrouble is how long after faults nodes may still be finding together (R6).
const afterTrouble = 5 * time.Second

// unseen is how long a node may be silent, or without a majority, so that nobody
// sees anything of it.
const unseen = 3*time.Second + nodesGrace - graceMargin

func (o *outage) hits(node int) bool { return len(o.nodes) == 0 || slices.Contains(o.nodes, node) }

// lasted is how long it lasted until a time, or lasts.
func (o *outage) lasted(now time.Time) time.Duration {
	if o.gone.IsZero() || o.gone.After(now) {
		return now.Sub(o.at)
	}
	return o.gone.Sub(o.at)
}

// keepsLinks reports whether links of clients stay, although no majority hears the
// node.
func (h harm) keepsLinks() bool {
	return h == harmStopped || h == harmAlone || h == harmQuorum
}

// endsLinks reports whether the links of a node end when it goes, and not before.
func (h harm) endsLinks() bool { return h == "" || h == harmKilled || h == harmTermed }

// lostSince is when a link to a node was lost, at the earliest, of which something
// was last proven then and that ended then (zero: it has not), and whether that was
// the node's doing, or the way's.
func (w *crowd) lostSince(node int, proof, ended time.Time) (at time.Time, with bool) {
	if at = ended; at.IsZero() {
		at = time.Now()
	}
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			if !o.hits(node) || o.harm == harmClock || o.at.After(at) || !o.gone.IsZero() && o.gone.Before(proof) {
				continue
			}
			with = true
			if (!o.harm.endsLinks() || o.harm == harmKilled) && o.at.Before(at) {
				at = o.at // a device that did not read, or a machine that is busy, hears of it late
			}
		}
	})
	if at.Before(proof) {
		at = proof
	}
	return at, with
}

// wentInGrace reports whether a node went, or was not heard, while sessions whose
// link was lost then waited there for their devices.
func (w *crowd) wentInGrace(node int, lost time.Time) (yes bool) {
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			yes = yes || o.hits(node) && o.at.After(lost.Add(-time.Second)) && o.at.Before(lost.Add(nodesGrace+graceMargin))
		}
	})
	return yes
}

// linkEnded reports whether the node of a patron's link went since a time, or his cable
// was harmed: that may have ended the link.
func (w *crowd) linkEnded(p *patron, since time.Time) (yes bool) {
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			yes = yes || o.hits(p.node) && (o.harm.endsLinks() || o.harm == harmDoors && cabled(p.place)) && o.at.After(since)
		}
	})
	return yes
}

// troubled reports whether something was wrong in a time, or had just been: then a
// node may read late what a device sent, as frames before it waited for the store.
func (w *crowd) troubled(from, to time.Time) (yes bool) {
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			yes = yes || o.at.Before(to) && (o.gone.IsZero() || o.gone.Add(2*afterTrouble).After(from))
		}
	})
	return yes
}

// excused reports whether something that was opened then may be gone when its link to
// a node was lost: it was not noted yet when that node was harmed, or the node was
// taken for lost meanwhile.
func (w *crowd) excused(node int, opened, lost time.Time) (yes bool) {
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			young := o.at.Sub(opened) < 2*noteDelay && o.at.After(opened.Add(-o.lasted(time.Now())-noteDelay))
			over := !o.gone.IsZero() && o.gone.Add(2*afterTrouble).Before(lost)
			long := o.harm.keepsLinks() && o.lasted(time.Now()) > unseen && !o.at.Before(opened) && !over
			yes = yes || o.hits(node) && !o.clean && !o.harm.harmless() && (young || long)
		}
	})
	return yes
}

// outagesOf are those that a session with its link at a node suffers from.
func (w *crowd) outagesOf(node int) []outage {
	return slices.DeleteFunc(slices.Clone(w.outages()), func(o outage) bool { return !o.hits(node) })
}

// doubted reports whether a session that is at a node since then may have been
// closed and opened anew although its link is there: the node was not heard.
func (w *crowd) doubted(node int, since, now time.Time) (yes bool) {
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			over := !o.gone.IsZero() && (o.gone.Before(since) || now.Sub(o.gone) > 2*afterTrouble)
			yes = yes || o.hits(node) && o.harm.keepsLinks() && !over && o.lasted(now) > unseen-graceMargin
		}
	})
	return yes
}

// trouble is since when there is some, or there was some a moment ago, of which nodes
// may know different things; zero: there is none. Links of clients are no matter of
// theirs.
func (w *crowd) trouble() (since time.Time) {
	now := time.Now()
	earlier := func(t time.Time) {
		if since.IsZero() || t.Before(since) {
			since = t
		}
	}
	w.history.note(func() {
		for i := range w.history.outages {
			if o := &w.history.outages[i]; o.harm != harmDoors && (o.gone.IsZero() || now.Sub(o.gone) < afterTrouble) {
				earlier(o.at)
			}
		}
	})
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	for i, t := range w.fleet.away {
		if !t.IsZero() {
			earlier(t)
			w.awayUntil[i] = now
		}
		if now.Sub(w.awayUntil[i]) < afterTrouble {
			earlier(w.fleet.went[i])
		}
	}
	return since
}

// alone reports since when a node hears no majority; zero: it does.
func (w *crowd) alone(node int) (since time.Time) {
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			if (o.harm == harmAlone || o.harm == harmQuorum) && o.hits(node) && o.gone.IsZero() {
				since = o.at
			}
		}
	})
	return since
}

// standsStill reports whether a node stands still now: what is said to it is read
// when it goes on, and its session may have ended for all others.
func (w *crowd) standsStill(node int) (yes bool) {
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			yes = yes || o.harm == harmStopped && o.hits(node) && o.gone.IsZero()
		}
	})
	return yes
}

// severed reports whether a node is cut from all others now.
func (w *crowd) severed(node int) (yes bool) {
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			yes = yes || o.harm == harmAlone && o.hits(node) && o.gone.IsZero()
		}
	})
	return yes
}

// toldLate notes that webhooks may know less of when a user was last seen than
// snapshots do: he said goodbye at a node that was cut off, or comes back so late that
// his session may have been shown as over and goes on all the same.
func (w *crowd) toldLate(user string) {
	w.history.note(func() {
		if w.lateIn == nil {
			w.lateIn = map[string]time.Time{}
		}
		w.lateIn[user] = time.Now()
	})
}

// lateFor is how long after that the log may go on about it: who writes what was shown
// is given fifteen seconds, and a round's trouble lasts that long.
const lateFor = time.Minute

// knowLate takes the last seen of a snapshot for that which a webhook was told, where
// it may be later: the end was told as that of the node's silence, or to watchers
// alone, and what the log has behind it is no event. The user's next one has it.
func (w *crowd) knowLate(told, snapshot map[string]known) {
	w.history.note(func() {
		for user, since := range w.lateIn {
			k, ok := told[user]
			s := snapshot[user]
			switch {
			case ok && k.lastSeen.Equal(s.lastSeen) && time.Since(since) > lateFor:
				delete(w.lateIn, user)
			case ok && k.lastSeen.Before(s.lastSeen):
				k.lastSeen = s.lastSeen
				told[user] = k
			}
		}
	})
}

// doubtPatrons notes what patrons cannot see: that a session was closed and opened
// anew under their link, as its node was not heard.
func (w *crowd) doubtPatrons() {
	var long []outage
	now := time.Now()
	w.history.note(func() {
		for _, o := range w.history.outages {
			if o.harm.keepsLinks() && o.at.After(w.doubtedUntil) && o.lasted(now) > unseen-graceMargin {
				long = append(long, o)
			}
		}
	})
	for i := range long {
		o := &long[i]
		w.doubtedUntil = o.at
		for _, p := range w.patrons {
			p.mu.Lock()
			if o.hits(p.node) {
				p.opens.may++
				p.closes.may++
			}
			p.mu.Unlock()
		}
	}
}

// parted reports whether the later of two last seens was told while some node was cut
// off, by that one as far as is known, and the earlier one before it could be known
// elsewhere.
func (w *crowd) parted(b setback) (yes bool) {
	w.history.note(func() {
		for i := range w.history.outages {
			o := &w.history.outages[i]
			yes = yes || o.harm == harmAlone && o.at.Before(b.told) && (o.gone.IsZero() || b.told.Before(o.gone) && b.at.Before(o.gone.Add(afterTrouble))) ||
				// What waited for a node that stood still is read when it goes on.
				o.harm == harmStopped && o.lasted(time.Now()) > lostAfter && o.at.Before(b.told) && (o.gone.IsZero() || b.at.Before(o.gone.Add(afterTrouble)))
		}
	})
	return yes
}
