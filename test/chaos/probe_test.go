package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// probeEvery is how long a probe waits between two questions.
const probeEvery = 100 * time.Millisecond

// probe asks nodes at all doors for patrons, until stop, and holds what they say
// against what is certain: who is there is nowhere offline (R3, R8), and who is
// gone is nowhere online (R1).
func (w *crowd) probe(stop <-chan struct{}, random *rand.Rand) {
	for pause(stop, probeEvery) {
		there := w.fleet.there()
		if len(there) == 0 || len(w.patrons) == 0 {
			continue
		}
		list := askings()
		_, _ = w.question(there[random.IntN(len(there))], &list[random.IntN(len(list))], random)
	}
}

// watchAlone asks a node that hears no majority since a time, until stop, at all
// doors: nobody who was there before and still is may be called offline (R8).
func (w *crowd) watchAlone(node int, since time.Time, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(w.seed, uint64(since.UnixNano())))
	list := askings()
	tried := make([]tries, len(list))
	for i := 0; pause(stop, probeEvery); i++ {
		k := i % len(list)
		sent := time.Now()
		if answered, err := w.question(node, &list[k], random); sent.Sub(since) > staleAfter {
			tried[k].take(answered, err)
		}
		if i%2 == 0 {
			w.guestsAlone(node, since)
		}
	}
	for k := range tried {
		if t := &tried[k]; t.mute() {
			w.blame("R8: %s at node %d, which is alone, refused all of %d questions, in place of its last word: %v", list[k].name, node+1, t.refused, t.last)
		}
	}
}

// tries are the questions that were put to a door.
type tries struct {
	answered, refused int
	last              error
}

func (t *tries) take(answered bool, err error) {
	switch {
	case err != nil:
		t.refused, t.last = t.refused+1, err
	case answered:
		t.answered++
	}
}

// mute reports whether the door says nothing.
func (t *tries) mute() bool { return t.answered == 0 && t.refused >= 5 }

// guestsAlone asks for guests, who may be at any node.
func (w *crowd) guestsAlone(node int, since time.Time) {
	v, err := w.see(node, w.users)
	if err != nil {
		return // it may say that it cannot know
	}
	var found []string
	w.history.note(func() {
		for _, l := range w.history.lives {
			if p, ok := v[l.user]; ok && !p.online && l.steady(outage{at: since.Add(-noteDelay)}) {
				found = append(found, fmt.Sprintf("R8: node %d, which is alone for %v, calls %s offline %s", node+1, time.Since(since), l.user, l.story()))
			}
		}
	})
	w.blameAll(found)
}

// question asks a node for some patrons and judges the answers. It reports whether
// there were any, and why not.
func (w *crowd) question(node int, a *asking, random *rand.Rand) (answered bool, err error) {
	asked := map[string]*patron{}
	var users []string
	before := map[string]time.Time{}
	on := map[string]bool{}
	sent := time.Now()
	for range min(a.batch, len(w.patrons)) {
		p := w.patrons[random.IntN(len(w.patrons))]
		there, since, ok := p.certain(sent)
		if !ok || asked[p.user] != nil {
			continue
		}
		asked[p.user], before[p.user], on[p.user] = p, since, there
		users = append(users, p.user)
	}
	if len(users) == 0 {
		return false, nil
	}
	q := question{node: node, door: a, sent: sent, trouble: w.trouble(), alone: w.alone(node)}
	answers, err := a.ask(w, node, users)
	w.count(func(f *nodeFigures) {
		switch f.questions++; {
		case err != nil:
			f.unanswered++
		case !q.alone.IsZero():
			f.alone++
		}
	})
	if err != nil {
		return false, err // it may say that it cannot know
	}
	now := time.Now()
	for user, v := range answers {
		p := asked[user]
		if p == nil {
			w.blame("%s at node %d answers for %s, who was not asked for", a.name, node+1, user)
			continue
		}
		there, since, ok := p.certain(now)
		if !ok || there != on[user] || since != before[user] {
			continue // it changed meanwhile
		}
		if wrong := q.judge(v, there, since); wrong != "" {
			w.blame("%s: %s at node %d %s %s", wrong, a.name, node+1, v.words(user), p)
		}
		if v.stale || v.unknown {
			w.count(func(f *nodeFigures) { f.stale++ })
		}
	}
	return true, nil
}

func (v verdictOf) words(user string) string {
	return fmt.Sprintf("says of %s: online %v, stale %v, unknown %v", user, v.online, v.stale, v.unknown)
}

// question is one that was asked of a node.
type question struct {
	node    int
	door    *asking
	sent    time.Time
	trouble time.Time // since when there is some; zero: there is none
	alone   time.Time // since when the node hears no majority; zero: it does
}

// settle is how long nodes may take to tell each other what happened while all is
// well, and staleAfter to say that they are not told.
const (
	settle     = 2 * time.Second
	staleAfter = 5 * time.Second
)

// judge says which promise an answer breaks, of somebody who is there or not since
// a time.
func (q *question) judge(v verdictOf, there bool, since time.Time) string {
	limit := q.sent // known before it everywhere
	if !q.trouble.IsZero() && q.trouble.Before(limit) {
		limit = q.trouble
	}
	known := since.Before(limit.Add(-settle))
	switch {
	case v.unknown: // nobody is said to be offline
	case there && known && !v.online && !q.alone.IsZero():
		return "R8"
	case there && known && !v.online:
		return "R3"
	case !there && known && v.online:
		return "R1"
	case !q.alone.IsZero() && q.sent.Sub(q.alone) > staleAfter && q.door.marks && there && !v.online && !v.stale:
		return "R8"
	}
	return ""
}
