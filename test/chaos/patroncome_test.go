package chaos

import (
	"context"
	"errors"
	"slices"
	"time"
)

// How a patron comes, and comes back.

// dial makes a link to any node.
func (p *patron) dial() error {
	node := p.crowd.anyNode(p.random)
	ctx, cancel := context.WithTimeout(p.crowd.ctx, callLimit)
	defer cancel()
	p.began = time.Now()
	s, err := dialSocket(ctx, p.crowd.fleet.webDoor(node, p.place), p.door.path(), p.door.header(p))
	if err != nil {
		return err
	}
	p.sock, p.at, p.proof = s, node, p.began
	go p.read(s)
	return nil
}

// come opens a session, or comes back to one.
func (p *patron) come() {
	if err := p.dial(); err != nil {
		p.again()
		return
	}
	sent := time.Now()
	p.mu.Lock()
	back, fresh := p.meant == here, p.meant == absentAtFirst || p.meant == left
	away := sent.Sub(p.lost)
	sure := back && !p.pending && away < nodesGrace-graceMargin // nobody may see it
	switch {
	case !back:
		if p.meant == leftSilent && sent.Before(p.overBy()) {
			p.overlaps++ // the one he left may be there still
		}
		p.opens.asked++
		p.doubted = false
		p.meant, p.since, p.pending, p.young = here, sent, true, time.Time{}
		p.resume, p.sequence, p.picture = "", 0, view{}
		clear(p.watches)
		clear(p.unsure)
	case !sure:
		if p.pending {
			p.overlaps++
		}
		p.doubt()
	}
	p.mu.Unlock()
	a, err := p.ask(p.door.enter(p), callLimit)
	if err != nil {
		p.late(sent, err)
		p.refused(a, err, away)
		return
	}
	p.entered(a, entry{sent: sent, away: away, back: back, sure: sure, fresh: fresh})
}

// doubt notes, once while he is away, that his session may have been closed, and opens
// anew; mu is held.
func (p *patron) doubt() {
	if !p.doubted {
		p.doubted = true
		p.crowd.toldLate(p.user)
		p.opens.may++
		p.closes.may++
	}
}

// late notes that an opening may have been stored although it was refused, or not
// answered.
func (p *patron) late(sent time.Time, err error) {
	var no *refusal
	if errors.As(err, &no) && time.Since(sent) < slowRefusal {
		return
	}
	p.mu.Lock()
	p.opens.may++
	p.closes.may++
	p.mu.Unlock()
	p.crowd.count(func(f *nodeFigures) { f.late++ })
}

// entry is how a patron came.
type entry struct {
	sent time.Time
	away time.Duration
	back bool // to a session
	sure bool // in time

	fresh bool // nothing is left of a session before
}

// entered settles an opening that was answered.
func (p *patron) entered(a answer, e entry) {
	now := time.Now()
	p.mu.Lock()
	if late := e.away + now.Sub(e.sent); e.sure && late > nodesGrace-graceMargin {
		e.sure = false // it came through too late
		p.doubt()
	}
	p.doubted = false
	if !e.sure || p.pending {
		p.since = now
	}
	wrong := e.sure && p.door.tells() && !a.resumed
	if p.door.tells() && !a.resumed && !e.back || !p.door.tells() && e.fresh {
		p.opens.acked++
		p.young = now
	}
	if p.young.IsZero() {
		p.young = now
	}
	was := p.node
	p.pending, p.lost, p.node = false, time.Time{}, p.at
	young := p.young
	p.mu.Unlock()
	if wrong && !p.crowd.excused(was, young, e.sent.Add(-e.away)) {
		p.crowd.blame("R3: %s came back to node %d %v after the loss of the link and was given a new session (door %s)", p.user, p.at+1, e.away.Round(time.Millisecond), p.door.name())
	}
	p.crowd.count(func(f *nodeFigures) {
		if e.back {
			f.returns++
		}
		if e.sure {
			f.inTime++
		}
	})
	p.watchAgain(a.resync)
}

// refused settles an opening that was not answered, or with a refusal.
func (p *patron) refused(a answer, err error, away time.Duration) {
	at, with := p.crowd.lostSince(p.at, p.proof, p.sock.endedAt())
	p.mu.Lock()
	if p.meant == here && p.pending {
		at = p.since // it may have been open since then, and lost at once
	} else if !p.lost.IsZero() && p.lost.Before(at) {
		at = p.lost
	}
	young, was := p.young, p.node
	p.mu.Unlock()
	p.unlink(at, with)
	p.mu.Lock()
	p.lost, p.heardLast = at, time.Time{} // nobody knows which bytes counted
	if p.pending {
		p.node = p.at
	}
	p.mu.Unlock()
	p.again()
	var no *refusal
	if !errors.As(err, &no) {
		return
	}
	p.next = p.next.Add(min(a.wait, time.Second))
	switch no.reason {
	case "SESSION_GONE", "SESSION_CLOSED":
		if young.IsZero() || p.crowd.excused(was, young, at) || away > resumeWindow {
			p.crowd.count(func(f *nodeFigures) { f.young++ })
		} else {
			p.crowd.blame("%s was refused with %s, %v after the loss of the link at node %d (opened %s)", p.user, no.reason, away.Round(time.Millisecond), p.node+1, clock(young))
		}
		p.mu.Lock()
		p.meant, p.since, p.lost = leftSilent, time.Now(), at
		p.closes.may++
		p.next = time.Now().Add(p.crowd.tooLate)
		p.mu.Unlock()
	default:
		if !passing(no.reason) {
			p.crowd.blame("%s at door %s of node %d: %v", p.user, p.door.name(), p.at+1, err)
		}
	}
}

// resumeWindow is the default policy's, less what clocks take.
const resumeWindow = 110 * time.Second

// passing are refusals that say to come again.
func passing(reason string) bool {
	return slices.Contains([]string{"", "DRAINING", "LOG_UNAVAILABLE", "NODE_UNAVAILABLE", "KEYS_UNAVAILABLE", "REPLACED_STREAM", "503", "42", "45"}, reason)
}

// again waits a moment before the next try.
func (p *patron) again() {
	p.next = time.Now().Add(50*time.Millisecond + time.Duration(p.random.Int64N(int64(300*time.Millisecond))))
}
