package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// patron is a user with one cheap device at one door, of whom there can be
// thousands: two goroutines, a socket, and counters in place of a history. He has
// at most one session at a time, so that all that is told of it is told of him.
type patron struct {
	crowd  *crowd
	place  int
	user   string
	door   dialect
	random *rand.Rand
	ear    *ledger // of one who watches everybody; nil: of a guest

	// Of the goroutine that acts.
	sock  *socket // nil: no link
	at    int     // the node of the link
	began time.Time
	proof time.Time // when something was last answered on the link
	next  time.Time // not before does he do anything without a link
	mute  time.Time // until when he does not read
	heard chan answer

	mu sync.Mutex // guards all below
	standing
}

// standing is what he knows of himself.
type standing struct {
	opens, closes sums
	meant         meaning
	since         time.Time // when meant came about: asked if pending, answered if not
	pending       bool      // it was asked for, and nobody answered
	lost          time.Time // since when there is no link, at the earliest; zero: there is one
	heardLast     time.Time // when bytes of his last left, before the link was lost
	lostWith      bool      // the node, or the way to it, went; he did not
	node          int       // of the last link
	resume        string    // of the live door
	sequence      uint64
	said, acked   int  // numbers of statuses
	doubted       bool // his session may have been closed since the loss, and that is noted
	young         time.Time
	watches       map[string]act
	picture       view            // of who is watched
	unsure        map[string]bool // whom he may watch or not, as he ended it without an answer
	away          time.Duration
	overlaps      int       // sessions that may have been there beside another one
	deaf          time.Time // not zero: he does not read, or nothing came since he does again; then his link stood for sure
}

// sums count what others may see and what a receiver must be told.
type sums struct{ asked, acked, may int }

// meaning is what a patron means to be.
type meaning string

const (
	absentAtFirst meaning = ""
	here          meaning = "here"
	left          meaning = "left"  // by his word
	leftSilent    meaning = "never" // lost, and nobody comes back
)

// answer is what the node says to what was asked.
type answer struct {
	ok      bool
	reason  string // of a refusal
	resumed bool   // an opening went on with a session
	resync  bool
	wait    time.Duration
}

// refusal is an answer that is not ok.
type refusal struct{ reason string }

// Error is the reason.
func (r *refusal) Error() string { return "refused: " + r.reason }

// dialect is how a door is spoken to.
type dialect interface {
	name() string
	path() string
	header(p *patron) http.Header
	enter(p *patron) []byte // says who he is
	status(p *patron, number int) []byte
	bye(p *patron) []byte // nil: the door has no word for it
	hear(p *patron, s *socket, text []byte) (a answer, answered bool)
	tells() bool // whether an opening says if it went on with a session
}

var errNoAnswer = errors.New("no answer")

// ask sends a frame and waits for its answer.
func (p *patron) ask(frame []byte, limit time.Duration) (answer, error) {
	for len(p.heard) > 0 {
		<-p.heard // of something that was given up
	}
	sent := time.Now()
	if err := p.sock.say(frame); err != nil {
		return answer{}, err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case a := <-p.heard:
		if !a.ok {
			return a, &refusal{a.reason}
		}
		p.proven(sent)
		return a, nil
	case <-p.sock.done:
		select { // it may have been the last word
		case a := <-p.heard:
			if a.ok {
				return a, nil
			}
			return a, &refusal{a.reason}
		default:
		}
		return answer{}, errNoAnswer
	case <-timer.C:
		return answer{}, errNoAnswer
	}
}

// proven notes that something was answered on the link that was asked then: he heard
// all that came before it.
func (p *patron) proven(sent time.Time) {
	p.proof = sent
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = time.Time{}
}

// read hears a link.
func (p *patron) read(s *socket) {
	s.read(func(text []byte) {
		if a, ok := p.door.hear(p, s, text); ok {
			select {
			case p.heard <- a:
			default: // nobody asked
			}
		}
	})
}

// wake makes him read again.
func (p *patron) wake() {
	p.mute = time.Time{}
	if p.sock != nil {
		p.stick(false)
	}
}

// live is what a patron does until stop. Then he reads: what follows may take longer
// than a device may be deaf to pings.
func (p *patron) live(stop <-chan struct{}) {
	defer p.wake()
	for {
		var cut <-chan struct{}
		if p.sock != nil {
			cut = p.sock.done
		}
		timer := time.NewTimer(p.pause())
		select {
		case <-stop:
			timer.Stop()
			return
		case <-timer.C:
		case <-cut:
		}
		timer.Stop()
		p.step()
	}
}

// pause is until he does something again.
func (p *patron) pause() time.Duration {
	if p.sock == nil {
		return max(5*time.Millisecond, time.Until(p.next))
	}
	return leastPause + time.Duration(p.random.Int64N(int64(p.crowd.patronPace)))
}

// step does one thing.
func (p *patron) step() {
	switch {
	case p.linked():
		if p.ear == nil {
			p.once()
		}
	case time.Now().Before(p.next):
	default:
		p.come()
	}
}

// linked reports whether there is a link; what came of one that ended is settled.
func (p *patron) linked() bool {
	if p.sock == nil {
		return false
	}
	if !p.sock.ended() {
		return true
	}
	at, with := p.crowd.lostSince(p.at, p.proof, p.sock.endedAt())
	p.unlink(at, with)
	p.decide()
	return false
}

// decide settles what he does after a loss.
func (p *patron) decide() {
	now := time.Now()
	p.next = now.Add(time.Duration(p.random.Int64N(int64(500 * time.Millisecond))))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away > 0 {
		p.next, p.away = now.Add(p.away), 0
	}
	if p.ear != nil || p.meant != here || p.pending {
		return
	}
	switch n := p.random.IntN(100); {
	case n < 8:
		p.forget()
	case n < 14:
		p.next = p.lost.Add(p.crowd.tooLate + time.Duration(p.random.Int64N(int64(2*time.Second))))
	}
}

// forget never comes back to the session; mu is held.
func (p *patron) forget() {
	p.meant, p.since, p.pending = leftSilent, p.lost, false
	p.closes.may++
	p.next = time.Now().Add(p.crowd.tooLate + time.Duration(p.random.Int64N(int64(10*time.Second))))
}

// unlink ends the link, which was lost at a time, with or without the node.
func (p *patron) unlink(at time.Time, with bool) {
	s := p.sock
	if s == nil {
		return
	}
	p.sock = nil
	s.cut()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf, p.lost, p.lostWith, p.heardLast = time.Time{}, at, with, s.lastWord()
}

// once does one thing on the link.
func (p *patron) once() {
	if time.Now().Before(p.mute) {
		return
	}
	p.stick(false)
	switch n := p.random.IntN(100); {
	case n < 55:
		p.say()
	case n < 66:
		p.changeWatches()
	case n < 72:
		p.leave()
	case n < 78:
		p.unlink(p.crowd.lostSince(p.at, p.proof, p.sock.endedAt()))
		p.next = time.Now().Add(time.Duration(p.random.Int64N(int64(2 * time.Second))))
	case n < 80:
		p.unlink(p.crowd.lostSince(p.at, p.proof, p.sock.endedAt()))
		p.mu.Lock()
		p.forget()
		p.mu.Unlock()
	case n < 83 && p.crowd.mayStick:
		p.mute = time.Now().Add(2*time.Second + time.Duration(p.random.Int64N(int64(8*time.Second))))
		p.stick(true)
		p.crowd.count(func(f *nodeFigures) { f.stuck++ })
	}
}

// stick makes him read no more, or again. Then he does not know at once what became of
// his link meanwhile: he may state a status on one that ended long ago.
func (p *patron) stick(deaf bool) {
	p.sock.stuck.Store(deaf)
	if !deaf {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deaf.IsZero() {
		p.deaf = p.proof
	}
}

// quick is how long what waits for nothing may take before a device takes the way
// to be broken.
const quick = 3 * time.Second

// say states the next status.
func (p *patron) say() {
	p.mu.Lock()
	p.said++
	number := p.said
	p.mu.Unlock()
	_, err := p.ask(p.door.status(p, number), quick)
	if p.failed("a status", err) {
		return
	}
	p.mu.Lock()
	p.acked = number
	p.mu.Unlock()
	p.crowd.count(func(f *nodeFigures) { f.updates++ })
}

// failed settles an error on the link; it is given up if there was no answer.
func (p *patron) failed(doing string, err error) bool {
	if err == nil {
		return false
	}
	var no *refusal
	if errors.As(err, &no) {
		if !passing(no.reason) && no.reason != "RATE_LIMITED" {
			p.crowd.blame("%s of %s at door %s of node %d: %v", doing, p.user, p.door.name(), p.at+1, err)
		}
		return true
	}
	at, with := p.crowd.lostSince(p.at, p.proof, p.sock.endedAt())
	if !p.sock.ended() && !with {
		at = time.Now().Add(-quick) // it may have been lost since then
	}
	p.unlink(at, with || !p.sock.ended())
	p.decide()
	return true
}

// leave says goodbye, where the door has a word for it.
func (p *patron) leave() {
	word := p.door.bye(p)
	if word == nil {
		return
	}
	p.mu.Lock()
	p.meant, p.since, p.pending = left, time.Now(), true
	p.closes.asked++
	if p.crowd.severed(p.at) {
		p.closes.may++ // who goes from there to another node sees him once more, and his end
		p.crowd.toldLate(p.user)
	} else if p.crowd.standsStill(p.at) {
		p.crowd.toldLate(p.user)
	}
	p.mu.Unlock()
	_, err := p.ask(word, callLimit)
	now := time.Now()
	at, with := p.crowd.lostSince(p.at, p.proof, p.sock.endedAt())
	p.unlink(at, with)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = now.Add(time.Duration(p.random.Int64N(int64(8 * time.Second))))
	if err == nil {
		p.since, p.pending, p.lost = now, false, now
		p.closes.acked++
		return
	}
	// Nobody knows whether it was heard: he comes when the session is over.
	p.next = now.Add(p.crowd.tooLate)
	p.closes.may++
	p.meant, p.pending = leftSilent, false
}

// certain says whether others must see him, and since when; ok is false where
// that is not certain.
func (p *patron) certain(now time.Time) (on bool, since time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.pending:
		return false, since, false
	case p.meant == here && p.lost.IsZero():
		return true, p.since, !p.crowd.doubted(p.node, p.since, now) && (p.deaf.IsZero() || !p.crowd.linkEnded(p, p.deaf))
	case p.meant == here:
		return true, p.since, now.Sub(p.lost) < nodesGrace-graceMargin
	case p.meant == left:
		return false, p.since, true
	case p.meant == leftSilent:
		gone := p.overBy()
		return false, gone, now.After(gone)
	}
	return false, p.crowd.entry, true
}

// overBy is when a session is closed for sure that nobody comes back to; mu is held.
func (p *patron) overBy() time.Time {
	over := p.lost.Add(p.crowd.tooLate)
	if p.lostWith || p.crowd.wentInGrace(p.node, p.lost) {
		over = over.Add(rollGrace) // the node may come back and wait for devices
	}
	return over
}

func (p *patron) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf("{%s at %s since %s, pending %v, opens %+v, closes %+v, said %d, acknowledged %d, node %d", p.meant, p.door.name(), clock(p.since), p.pending, p.opens, p.closes, p.said, p.acked, p.node+1)
	if !p.lost.IsZero() {
		text += ", lost " + clock(p.lost)
	}
	return text + "}"
}

// close ends it with the test.
func (p *patron) close() { p.unlink(time.Now(), false) }
