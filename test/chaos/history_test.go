package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// noteDelay is how long a status or a watch may be in memory alone (design §2,
// written behind): what was acknowledged longer before a kill must survive it.
const noteDelay = time.Second

// act is one thing that a device asked of the server: when it asked, and when
// the answer was there. A zero acked means that nobody knows whether it
// happened.
type act struct{ sent, acked time.Time }

func (a act) asked() bool { return !a.sent.IsZero() }
func (a act) done() bool  { return !a.acked.IsZero() }

// saying is a status that a device asked for. Its number stands in the text,
// so that who reads a text knows which it was.
type saying struct {
	act
	number int
	show   isonlinev1.IsOnlineStatus
	hidden bool
}

// outage is a moment at which the server went, or a time in which one of several
// was not as it should be.
type outage struct {
	at    time.Time // just before the signal
	gone  time.Time // when the process was no more, or all was well again; zero until then
	clean bool      // SIGTERM: nothing acknowledged may be missing
	harm  harm      // of one of several
	nodes []int     // which ones
}

// ending says how a session ended, as far as its devices know.
type ending string

const (
	alive       ending = ""
	endClosed   ending = "closed"   // its device said goodbye
	endReplaced ending = "replaced" // the same device opened another
	endRefused  ending = "refused"  // SESSION_GONE where that is allowed
	endLost     ending = "lost"     // nobody came back in time
)

// life is one session as its device knows it.
type life struct {
	user, public, token, device string

	opens   []act // the first opening, then one for each time it opened anew
	says    []saying
	watches map[string]act // what it subscribed to and did not unsubscribe from
	byes    []act          // calls of Close
	replace act            // the opening of another session of the same device

	ended    ending
	held     bool      // somebody holds it, or is on the way back to it
	lostAt   time.Time // when its holder went for good; zero: not
	losses   int       // how often it may have been closed because nobody came back
	doubtful int       // how often it may have opened anew unnoticed
	node     int       // of several: where its present link is; -1 when nobody comes back

	retried int // openings that nobody answered, and that were asked for again

	before tally // what acts explain that are not kept any more
	kept   int   // how many of says are there for what they say alone
	said   int   // statuses that were acknowledged and are not kept any more
}

func (l *life) opening() act {
	if len(l.opens) == 0 {
		return act{}
	}
	return l.opens[len(l.opens)-1]
}

// openingNote returns what notes a Connect that opens the session. A second try
// of one that was not answered is the same opening.
func (l *life) openingNote() func(act) {
	place := -1
	return func(a act) {
		if place < 0 {
			if l.opening().done() || !l.opening().asked() {
				l.opens = append(l.opens, a)
			} else {
				l.retried++
			}
			place = len(l.opens) - 1
		}
		if a.done() {
			l.opens[place].acked = a.acked
			l.ended, l.lostAt = alive, time.Time{}
		}
	}
}

func (l *life) bye() (asked, done bool) {
	for _, b := range l.byes {
		asked, done = true, done || b.done()
	}
	return asked, done
}

// verdict is what must be true of a session in a view.
type verdict string

const (
	absent  verdict = "absent"
	either  verdict = "either"
	present verdict = "present"
)

// expected says whether the session must be open from right after a start
// until the grace of that start is over.
func (l *life) expected() verdict {
	asked, done := l.bye()
	switch {
	case !l.opening().asked() || done || l.replace.done():
		return absent
	case !l.opening().done():
		return either
	case l.ended != alive:
		return absent
	case asked || l.replace.asked():
		return either
	}
	return present
}

// survives reports whether what a says must outlive every outage so far: it was
// there noteDelay before the first one it met.
func (a act) survives(outages []outage) bool {
	if !a.done() {
		return false
	}
	for _, o := range outages {
		if o.at.Before(a.sent) && (!o.harm.lasts() || !o.gone.IsZero() && o.gone.Before(a.sent)) {
			continue
		}
		if !o.clean && !o.harm.harmless() {
			return o.at.Sub(a.acked) > noteDelay
		}
	}
	return true
}

// floor is the oldest status that may be shown, ceiling the newest that was
// ever asked for.
func (l *life) floor(outages []outage) (number int) {
	for _, s := range l.says {
		if s.survives(outages) {
			number = max(number, s.number)
		}
	}
	return number
}

func (l *life) ceiling() (number int) {
	for _, s := range l.says {
		number = max(number, s.number)
	}
	return number
}

// hidden says whether the session appears offline after what was said before a
// time, and whether that is certain: it is stored before it is acknowledged.
func (l *life) hidden(before time.Time) (hidden, certain bool) {
	certain = true
	for _, s := range l.says {
		switch {
		case s.sent.After(before):
		case s.done():
			hidden, certain = s.hidden, true
		case s.hidden != hidden:
			certain = false
		}
	}
	return hidden, certain
}

// steady reports whether others saw the session as open all the time since the
// outage, if it is as it should be.
func (l *life) steady(o outage) bool {
	if l.expected() != present || !l.held || l.doubtful > 0 || !l.opening().acked.Before(o.at) {
		return false
	}
	for _, t := range []time.Time{o.at, time.Now()} {
		if hidden, certain := l.hidden(t); hidden || !certain {
			return false
		}
	}
	return !slices.ContainsFunc(l.says, func(s saying) bool { return s.hidden && s.sent.After(o.at) }) // nor meanwhile
}

// seen returns bounds of when its device was last there, as the server may say
// it: not before the lower one, and not after the upper one. ok is false while
// it is open. Who was lost with the node is taken to have been there until the
// node itself went, for the last time: design §4.
func (l *life) seen(outages []outage) (lower, upper time.Time, ok bool) {
	switch l.ended {
	case alive:
		return lower, upper, false
	case endLost, endRefused:
		return l.lostAt, outages[len(outages)-1].gone, !l.lostAt.IsZero()
	case endReplaced:
		return l.replace.sent, l.replace.acked, true
	}
	// The first call may have come through although nobody answered it.
	lower = l.byes[0].sent
	for _, b := range l.byes {
		upper = b.acked
	}
	return lower, upper, true
}

// explained counts the visible openings and closings of the session that acts
// sent within a time explain.
func (l *life) explained(from, to time.Time) (opened, closed int) {
	within := func(a act) bool { return a.asked() && !a.sent.Before(from) && !a.sent.After(to) }
	for _, o := range l.opens {
		if within(o) {
			opened++
		}
	}
	if slices.ContainsFunc(l.byes, within) || within(l.replace) {
		closed++ // however often it was asked for
	}
	turned := l.turns(within)
	opened, closed = opened+turned.opened+l.before.opened, closed+turned.closed+l.before.closed
	return opened + l.doubtful, closed + l.losses
}

// explainedInLog is explained for who is told what the log has: of appearing offline
// he is told otherwise, and of an opening that was stored after its caller was
// refused, and of its end.
func (l *life) explainedInLog() (opened, closed int) {
	for _, o := range l.opens {
		if o.asked() {
			opened++
		}
	}
	if asked, _ := l.bye(); asked || l.replace.asked() {
		closed = 1
	}
	return opened + l.doubtful + l.retried, closed + l.losses + l.retried
}

// tally counts what others may see of a session.
type tally struct{ opened, closed int }

// saidBy counts the statuses that were acknowledged.
func (l *life) saidBy() (n int) {
	for _, s := range l.says[l.kept:] {
		n += count(s.act)
	}
	return n + l.said
}

// lateAnswer is for how long a call that nobody answered may still be carried
// out: a node that was frozen, or that a call was forwarded to, does so when it can.
const lateAnswer = time.Minute

// turns counts how often others may have seen the session come and go because of
// what it said within a time of appearing offline. A say that nobody answered
// may have turned it, once and at any time, and the next one turned it back.
func (l *life) turns(within func(act) bool) (n tally) {
	hidden := false
	for i, s := range l.says {
		turns := s.hidden != hidden
		if !s.done() {
			for _, later := range l.says[i+1:] {
				turns = turns || later.hidden != s.hidden && later.sent.Before(s.sent.Add(lateAnswer))
			}
			if turns && within(s.act) {
				n.opened++
				n.closed++
			}
			continue
		}
		hidden = s.hidden
		switch {
		case i < l.kept || !turns || !within(s.act):
		case hidden:
			n.closed++
		default:
			n.opened++
		}
	}
	return n
}

// shorten forgets acts that were settled before a time, and keeps what they
// explain.
func (l *life) shorten(settled time.Time) {
	n := len(l.says)
	if n < 2 || !l.says[n-1].done() || l.says[n-1].sent.Add(lateAnswer).After(settled) {
		return
	}
	turned := l.turns(func(act) bool { return true })
	l.before.opened += turned.opened
	l.before.closed += turned.closed
	l.said = l.saidBy()
	l.says, l.kept = append([]saying{}, l.says[n-1]), 1
}

// story tells the life in a line, for who looks for a fault.
func (l *life) story() string {
	line := func(name string, list ...act) string {
		text := ""
		for _, a := range list {
			if a.asked() {
				text += " " + name + " " + clock(a.sent)
				if a.done() {
					text += "+" + a.acked.Sub(a.sent).Round(time.Millisecond).String()
				}
			}
		}
		return text
	}
	text := line("opens", l.opens...) + line("byes", l.byes...) + line("replaced", l.replace)
	hidden := false
	for _, s := range l.says {
		if s.hidden != hidden {
			hidden = s.hidden
			text += line(map[bool]string{true: "hides", false: "shows"}[hidden], s.act)
		}
	}
	if n := len(l.says); n > 0 {
		text += line(fmt.Sprintf("last said %d", l.says[n-1].number), l.says[n-1].act)
	}
	if !l.lostAt.IsZero() {
		text += " lost " + clock(l.lostAt)
	}
	return fmt.Sprintf("{%s; %s, held %v, device %q, losses %d, doubtful %d}", strings.TrimSpace(text), cmp.Or(string(l.ended), "alive"), l.held, l.device, l.losses, l.doubtful)
}

// history is all that devices know. Its lock guards the lives too.
type history struct {
	mu      sync.Mutex
	lives   map[string]*life // by public id
	outages []outage
}

func newHistory() *history { return &history{lives: map[string]*life{}} }

// note changes or reads the history under its lock.
func (h *history) note(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// add notes a session that was made.
func (h *history) add(l *life) {
	h.note(func() { h.lives[l.public] = l })
}

// out notes that the server goes now.
func (h *history) out(clean bool) {
	o := outage{at: time.Now(), clean: clean}
	h.note(func() { h.outages = append(h.outages, o) })
}

// over notes that the server is gone now.
func (h *history) over() {
	h.note(func() { h.outages[len(h.outages)-1].gone = time.Now() })
}

// of lists the lives of each user.
func (h *history) of() map[string][]*life {
	m := map[string][]*life{}
	h.note(func() {
		for _, l := range h.lives {
			m[l.user] = append(m[l.user], l)
		}
	})
	return m
}
