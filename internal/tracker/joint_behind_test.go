package tracker

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// What devices leave behind at a node that stands still, and what it makes of that when
// it goes on: links that ended, the last words on them, and callers who gave up.

// quitting is what the joint model has for that; on only in histories with a stop.
type quitting struct {
	on    bool
	dice  *rand.Rand // its own: histories that were found without go on as they did
	since time.Time  // of the pause
	links []leftLink
	calls []leftCall
}

func newQuitting(seed uint64, steps []jointStep) quitting {
	on := slices.ContainsFunc(steps, func(s jointStep) bool { return s.Kind == "stop" })
	return quitting{on: on, dice: rand.New(rand.NewPCG(seed, 2))}
}

// leftLink is a link that its device gave up, and its node does not know.
type leftLink struct {
	d    *jointDevice
	ref  Ref
	wire *wire
	word int // what the device had said on it last, and nobody answered; 0: nothing
	end  func()
}

// leftCall is a device that asked, and nobody answered.
type leftCall struct {
	ref   Ref
	maker uint64
}

// some is a random time.
func (q *quitting) some(least, most time.Duration) time.Duration {
	return least + time.Duration(q.dice.Int64N(int64(most-least)))
}

// quit is a moment of a device at the node that stands still: for how long it waits for
// that is its own matter.
func (m *jointModel) quit(d *jointDevice) {
	q := &m.quits
	if !q.on || d.at == nil || d.at != m.paused {
		d.patience = time.Time{}
		return
	}
	now := time.Now()
	d.doubt = d.doubt || now.Sub(q.since) > 4*time.Second
	if d.patience.IsZero() {
		switch q.dice.IntN(4) {
		case 0:
			d.patience = now.Add(time.Hour)
		case 1:
			d.patience = now.Add(q.some(4*time.Second, 25*time.Second))
		default:
			d.patience = now.Add(q.some(300*time.Millisecond, 4*time.Second))
		}
	}
	if now.Before(d.patience) {
		return
	}
	l := leftLink{d: d, ref: d.ref, wire: d.wire, end: func() {}}
	if q.dice.IntN(2) == 0 {
		d.words++
		l.word = d.words
		d.wire.setDeaf(true)
	}
	if d.ear != nil {
		watcher, stream := d.ear.watcher, d.ear.stream
		d.ear.tell("gave up %s", d.at.name)
		l.end = func() { watcher.Detach(stream) }
	}
	q.links = append(q.links, l)
	d.said.parted(nil)
	d.note("gives up its link at %s, with word %d", d.at.name, l.word)
	d.at, d.next = nil, now.Add(q.some(0, 1500*time.Millisecond))
	if d.ear == nil && !m.loose && q.dice.IntN(4) == 0 {
		d.leaves, d.doubt, d.vanished = true, true, map[*member]presenceOf{}
		d.note("never comes back")
	}
}

// presenceOf is what a node showed of a device that never comes back.
type presenceOf struct{ open, closed bool }

// haunts fails if a node shows a device again that is gone for good, once it did not.
func (m *jointModel) haunts(d *jointDevice) {
	if d.vanished == nil {
		return
	}
	for _, n := range m.all {
		if n == m.paused {
			continue
		}
		is, open := d.vanished[n], n.phase(d.ref).Open()
		if open && is.closed {
			m.fail("%s shows %s of %s again (%s)", n.name, d.ref.Session.String()[:4], d.ref.User.ID, m.standing(d))
		}
		d.vanished[n] = presenceOf{is.open || open, is.closed || is.open && !open}
	}
}

// asksInVain has a device ask the node that stands still, at times.
func (m *jointModel) asksInVain(d *jointDevice) bool {
	q := &m.quits
	if !q.on || m.paused == nil || d.bye || d.anew || d.ear != nil || q.dice.IntN(4) > 0 {
		return false
	}
	q.calls = append(q.calls, leftCall{d.ref, d.maker})
	d.note("asks %s, which stands still", m.paused.name)
	d.next = time.Now().Add(3 * time.Second)
	return true
}

// stop lets a node stand still, and go on with what was left behind there.
func (m *jointModel) stop(n *member, d time.Duration) {
	q := &m.quits
	m.paused, q.since = n, time.Now()
	n.pause(d, m.turn)
	m.paused = nil
	links, calls := q.links, q.calls
	q.links, q.calls = nil, nil
	for _, l := range links {
		before, after := q.some(0, 50*time.Millisecond), q.some(0, 300*time.Millisecond)
		go func() {
			<-time.After(before)
			if l.word > 0 {
				ctx, cancel := context.WithTimeout(context.Background(), 12*time.Second)
				err := n.tr.Speaks(ctx, l.ref, l.wire)
				cancel()
				m.answers <- answered{d: l.d, at: n, wire: l.wire, err: err, what: asksLate, word: l.word}
			}
			<-time.After(after)
			l.wire.setDeaf(false)
			l.end()
			n.tr.LinkLost(l.ref, l.wire)
		}()
	}
	for _, c := range calls {
		before, after := q.some(0, 100*time.Millisecond), q.some(0, 50*time.Millisecond)
		go func() {
			<-time.After(before)
			w := &wire{}
			ctx, cancel := context.WithTimeout(context.Background(), 12*time.Second)
			defer cancel()
			_, err := n.tr.Connect(ctx, c.ref, ConnectParams{Link: w, Addr: "192.0.2.1:1", Maker: c.maker})
			if err == nil {
				<-time.After(after)
			}
			n.tr.LinkLost(c.ref, w)
		}()
	}
}

// word has a device say something on its link that is written down.
func (m *jointModel) word(d *jointDevice) {
	d.words++
	at, w, ref, word := d.at, d.wire, d.ref, d.words
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		err := at.tr.Speaks(ctx, ref, w)
		m.answers <- answered{d: d, at: at, wire: w, err: err, what: asksWord, word: word}
	}()
}

// written settles a word: who says later what was said before something that was
// answered, may not have it written down.
func (m *jointModel) written(a *answered) {
	switch d := a.d; {
	case a.err != nil:
	case a.what == asksLate && a.word < d.acked:
		m.fail("%s has word %d of %s written over %d (%s)", a.at.name, a.word, d.ref.User.ID, d.acked, m.standing(d))
	default:
		d.acked = max(d.acked, a.word)
	}
}
