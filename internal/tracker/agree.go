package tracker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Nodes hear the last of a node that is gone at different times, and one that
// started since does not know when it went. They tell one another, so that all of
// them end its sessions at one moment and say the same last seen.

const (
	methodGone = "node.gone"
	// agreeAgain is when the others are asked again, who judge a moment later;
	// agreeLimit is how long that goes on, and how long an answer may take, and
	// agreeWait how long a verdict that came late waits for it.
	agreeAgain = 50 * time.Millisecond
	agreeLimit = time.Second
	agreeWait  = 300 * time.Millisecond
	// agreeSeldom is how long they are left alone at most, one of whom cannot answer,
	// or does not know yet. The pauses before are shorter.
	agreeSeldom = 5 * time.Second
)

// goneWord is what a node knows of one that is gone.
type goneWord struct {
	incarnation uint64
	alive       presence.Time // when it last said that it lives
	waited      time.Duration // how long its sessions wait; less than 0: it is heard
	kept, guess bool          // as in origin
}

// Flags of a written word.
const (
	goneKept = 1 << iota
	goneGuess
	goneHeard
)

func (w *goneWord) append(dst []byte) []byte {
	flags := byte(0)
	if w.kept {
		flags |= goneKept
	}
	if w.guess {
		flags |= goneGuess
	}
	if w.waited < 0 {
		flags |= goneHeard
	}
	dst = presence.AppendNumber(append(dst, flags), w.incarnation)
	dst = presence.AppendNumber(dst, uint64(max(0, w.alive)))
	return presence.AppendNumber(dst, uint64(max(0, w.waited).Milliseconds()))
}

// maxGone bounds a list of words: each of them is a node that ended.
const maxGone = 1024

func parseGone(b []byte) (list []goneWord, err error) {
	r := reader{b: b}
	for r.err == nil && len(r.b) > 0 && len(list) < maxGone {
		var flags [1]byte
		r.bytes(flags[:])
		w := goneWord{incarnation: r.number(), alive: presence.Time(r.number())}
		waited := r.number()
		w.waited = time.Duration(min(waited, uint64(24*time.Hour/time.Millisecond))) * time.Millisecond
		w.kept, w.guess = flags[0]&goneKept != 0, flags[0]&goneGuess != 0
		if flags[0]&goneHeard != 0 {
			w.waited = -1
		}
		if r.err == nil && (w.alive < 0 || flags[0] >= goneHeard<<1) {
			r.err = errTold
		}
		list = append(list, w)
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = errTold
	}
	return list, r.err
}

// word is what this node knows of o. mu is held.
func (o *origin) word(now time.Duration) goneWord {
	w := goneWord{incarnation: o.incarnation, alive: o.alive, waited: -1, kept: o.kept, guess: o.guess}
	if o.over != 0 {
		w.waited = now - o.over
	}
	return w
}

// learn takes in what another node knows of one that is gone: it lived until the
// last that anybody heard of it, and is gone since the first who knew; how, knows
// who was there. One of whom this node only guesses is not gone while another node
// hears it. mu is held.
func (o *origin) learn(w *goneWord, now time.Duration) {
	switch {
	case o.over == 0:
		return
	case w.waited < 0:
		if o.guess {
			o.over = max(now, 1)
		}
		return
	}
	if w.alive > o.alive {
		o.alive, o.agreed = w.alive, false
	}
	over := now - w.waited // that may be before this node started
	if over == 0 {
		over = -1
	}
	switch {
	case o.guess && !w.guess:
		o.over, o.kept, o.guess = over, w.kept, false
	case o.guess == w.guess:
		o.over = min(o.over, over)
	}
}

// learn is origin's, and knows what follows from it: a node that was only guessed to be
// gone, and said goodbye, left nothing untold; what was read at this node's start is
// not old. mu is held.
func (p *peering) learn(o *origin, w *goneWord, now time.Duration) {
	guessed := o.guess
	o.learn(w, now)
	if guessed && !o.guess && o.kept {
		p.catch(o)
	}
}

// asking is how often the others are asked: after a verdict again and again for a
// moment, then ever more seldom.
type asking struct {
	busy  bool
	news  bool          // there was a verdict since they were asked
	pause time.Duration // the last between two times
	after time.Duration // the wheel's time of the next time
}

// agree asks the others about nodes that are gone and of which not all are known
// to say the same, unless it does so already, or did in vain a moment ago.
func (t *Tracker) agree() {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	a := &p.asking
	if a.busy || p.ctx == nil || p.ctx.Err() != nil || !a.news && t.wheel.Now() < a.after || len(p.unagreed(0)) == 0 {
		return
	}
	limit := time.Duration(0)
	if a.news {
		limit, a.pause = agreeLimit, 0
	}
	a.busy, a.news = true, false
	p.joining.Go(func() {
		done := t.agreeWithin(p.ctx, limit)
		p.mu.Lock()
		defer p.mu.Unlock()
		if a.pause = min(max(2*a.pause, sweepEvery), agreeSeldom); done {
			a.pause = 0
		}
		a.busy, a.after = false, t.wheel.Now()+a.pause
	})
}

// agreeWithin asks until all say the same, once at least, and reports whether they do.
func (t *Tracker) agreeWithin(ctx context.Context, limit time.Duration) (done bool) {
	again := time.NewTimer(agreeLimit)
	defer again.Stop()
	for began := t.wheel.Now(); ; {
		if done = t.agreed(ctx); done || t.wheel.Now()-began >= limit {
			return done
		}
		again.Reset(agreeAgain)
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// unagreed is what this node knows of those that are gone and of which not all say
// the same. mu is held.
func (p *peering) unagreed(now time.Duration) (list []goneWord) {
	for _, o := range p.origins {
		if o.over != 0 && !o.agreed && len(list) < maxGone {
			list = append(list, o.word(now))
		}
	}
	return list
}

// agreed asks once, and reports whether nothing is left to ask.
func (t *Tracker) agreed(ctx context.Context) bool {
	p := t.peers
	p.mu.Lock()
	list := p.unagreed(t.wheel.Now())
	p.mu.Unlock()
	if len(list) == 0 || ctx.Err() != nil {
		return true
	}
	same := t.askGone(ctx, list)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range list {
		if o := p.origins[w.incarnation]; o != nil && same[i] && o.over != 0 && o.alive == w.alive {
			o.agreed = true
		}
	}
	return len(p.unagreed(0)) == 0
}

// askGone tells all others what this node knows, takes in what they do, and
// reports of which nodes they said the same.
func (t *Tracker) askGone(ctx context.Context, list []goneWord) (same []bool) {
	ctx, cancel := context.WithTimeout(ctx, agreeLimit)
	defer cancel()
	var b []byte
	for i := range list {
		b = list[i].append(b)
	}
	p, others := t.peers, t.peers.Nodes()
	answers := make([][]goneWord, len(others))
	var all sync.WaitGroup
	for i, node := range others {
		all.Go(func() {
			if b, err := p.Call(ctx, node, methodGone, b); err == nil {
				answers[i], _ = parseGone(b)
			}
		})
	}
	all.Wait()
	same = make([]bool, len(list))
	p.mu.Lock()
	defer p.mu.Unlock()
	now := t.wheel.Now()
	for i := range list {
		same[i] = true
		for _, answer := range answers {
			if len(answer) != len(list) {
				same[i] = false // it did not answer
				continue
			}
			w := &answer[i]
			same[i] = same[i] && w.waited >= 0 && w.alive == list[i].alive
			if o := p.origins[w.incarnation]; o != nil {
				p.learn(o, w, now)
			}
		}
	}
	return same
}

// serveGone takes in what another node knows, and answers with what this one does
// then. Of a node that this one never met it says the same.
func (t *Tracker) serveGone(_ context.Context, _ uint64, b []byte) (answer []byte, err error) {
	list, err := parseGone(b)
	if err != nil {
		return nil, err
	}
	p, now, heard := t.peers, t.wheel.Now(), t.peers.Nodes()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range list {
		w := &list[i]
		if o := p.origins[w.incarnation]; o != nil {
			p.learn(o, w, now)
			*w = o.word(now)
		} else if slices.Contains(heard, w.incarnation) {
			w.waited = -1
		}
		answer = w.append(answer)
	}
	return answer, nil
}
