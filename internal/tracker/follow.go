package tracker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// With several nodes every tracker reads the log that all of them write, and
// folds all of it in its order. A claim of this node takes effect when it is read
// there, between the other nodes' records: so all nodes decide alike.

// claimKey names a claim in flight: no other of this node is the same.
type claimKey struct {
	user     presence.User
	session  presence.SessionID
	epoch    presence.Epoch
	kind     presence.RecordKind
	revision uint64
	time     presence.Time
}

func keyOf(r *presence.Record) claimKey {
	return claimKey{r.User, r.Session, r.Epoch, r.Kind, r.Revision, r.Time}
}

// fly submits a record; applied runs when the follower has read and folded it,
// or the log refused it.
func (t *Tracker) fly(sh *shard, rec presence.Record, withdrawn func() bool, applied func(err error) (after func())) {
	p, key := t.peers, keyOf(&rec)
	p.mu.Lock()
	p.flying[key] = append(p.flying[key], applied)
	p.mu.Unlock()
	t.committer.Submit(store.Claim{Record: rec, Withdrawn: withdrawn, Done: func(_ store.Position, err error) {
		if err == nil {
			return // the follower comes to it
		}
		applied := p.landed(key)
		if applied == nil {
			return // it was read although its result was unknown
		}
		sh.mu.Lock()
		after := applied(err)
		sh.mu.Unlock()
		if after != nil {
			after()
		}
	}})
}

// landed takes a claim that was read, or refused, off the list.
func (p *peering) landed(key claimKey) (applied func(error) func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.flying[key]
	if len(list) == 0 {
		return nil
	}
	if applied = list[0]; len(list) == 1 {
		delete(p.flying, key)
	} else {
		p.flying[key] = list[1:]
	}
	return applied
}

// followAgain is how long the follower waits after the log could not be read.
const followAgain = 200 * time.Millisecond

// follow reads the log until ctx ends, or the log no longer has what comes next.
func (t *Tracker) follow(ctx context.Context) {
	defer close(t.peers.stopped)
	said := false
	for ctx.Err() == nil {
		from := t.applied.Load() + 1
		err := t.peers.Reading.Follow(ctx, from, func(sequence uint64, list []presence.Record) error {
			if said {
				t.log.Info("the log is read again")
				said = false
			}
			t.read(sequence, list)
			return nil
		})
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			return
		}
		if errors.Is(err, store.ErrGap) {
			t.peers.failed <- fmt.Errorf("the log was cut behind this node while it stood still or was cut off; start it anew: it reads what it missed from the checkpoint: %w", err)
			return // applied stays: what this node has not read it must not call saved
		}
		if !said {
			t.log.Error("the log cannot be read; openings wait, statuses go on", "from", from, "error", err)
			said = true
		}
		select {
		case <-time.After(followAgain):
		case <-ctx.Done():
		}
	}
}

// read takes in one message of the log.
func (t *Tracker) read(sequence uint64, list []presence.Record) {
	for i := range list {
		rec := &list[i]
		sh := t.shard(rec.User)
		applied := t.peers.landed(keyOf(rec))
		sh.mu.Lock()
		afters := t.foldShared(sh, rec, sequence)
		switch {
		case applied != nil:
			afters = append(afters, applied(nil))
		case rec.Kind == presence.RecordOpened || rec.Kind == presence.RecordMoved:
			t.disown(sh, rec)
		}
		t.restOf(sh, rec.User)
		sh.mu.Unlock()
		for _, f := range afters {
			if f != nil {
				f()
			}
		}
	}
	t.applied.Store(sequence)
}

// foldShared is fold among other nodes' records. The lock is held.
func (t *Tracker) foldShared(sh *shard, rec *presence.Record, sequence uint64) (after []func()) {
	claimed := presence.Time(0) // when what the log has now was claimed
	u := sh.user(rec.User)
	if f := u.folded.Session(rec.Session); f != nil && rec.Kind == presence.RecordMoved {
		claimed = f.ClaimedAt()
	}
	after = t.fold(sh, rec, store.Position{Sequence: sequence})
	for i := range sh.facts {
		f := sh.facts[i]
		if f.Kind == presence.RecordErased {
			if u.erasing == nil {
				after = append(after, t.wipe(sh, u))
			}
			continue
		}
		if s := u.session(f.Session.ID); s != nil && s.outruns(rec, claimed) {
			after = append(after, t.retake(s))
			continue
		}
		after = append(after, t.concluded(sh, u, rec, &f))
	}
	if s := u.session(rec.Session); s != nil && !s.foreign && s.phase.Open() && rec.Kind == presence.RecordClosed && spoken(rec.Reason) && rec.Epoch.Compare(s.epoch) < 0 {
		// It was said where the session had been, by who did not know yet.
		after = append(after, t.end(s, rec.Reason, max(rec.LastSeen, s.truth.Since)))
	}
	return after
}

// concluded makes a fact of the log visible that this node did not bring about,
// or not alone. The lock is held.
func (t *Tracker) concluded(sh *shard, u *user, rec *presence.Record, f *presence.Fact) (after func()) {
	s := u.session(f.Session.ID)
	foreign := s != nil && s.foreign
	switch f.Kind {
	case presence.RecordOpened, presence.RecordMoved:
		if f.Session.Epoch.Incarnation == t.incarnation.Load() {
			return nil // who claimed it knows
		}
		if rec.Kind == presence.RecordMoved && foreign && s.phase == presence.PhaseClosed && spoken(s.truth.Reason) && s.epoch.Compare(rec.Epoch) < 0 {
			return t.endTaken(s, rec) // who moved it has not heard the word: it closes nothing, and may be known here alone
		}
		m := s.taken(rec, f)
		after = t.merge(sh, &m)
		t.spare(u, f)
		return after
	case presence.RecordClosed:
		seen := f.Time
		if rec.Kind == presence.RecordClosed && rec.LastSeen != 0 {
			seen = rec.LastSeen
		}
		switch {
		case foreign && s.phase.Open() && s.epoch.Compare(f.Session.Epoch) <= 0:
			m := s.told()
			m.close(f.Reason, f.Time, 0)
			m.epoch, m.seen, m.veiled = f.Session.Epoch, max(m.seen, f.LastSeen), max(m.veiled, f.Shown)
			return t.merge(sh, &m)
		case s == nil || foreign || !s.phase.Open() || s.epoch.Compare(f.Session.Epoch) > 0:
		case f.Reason == presence.ReasonNodeLost && (s.life.link != nil || s.life.ttl > 0):
			return t.retake(s) // the others took this node for gone
		default:
			return t.finishEnd(s, f.Reason, seen)
		}
	case presence.RecordHidden, presence.RecordShown:
		if f.Kind == presence.RecordShown && rec.Kind == presence.RecordMoved {
			return nil // who moved it did not know that it had hidden: a move shows nothing
		}
		// A revision as high was said after it: the log is read late here.
		if foreign && s.phase.Open() && s.epoch == f.Session.Epoch && s.hidden() != f.Session.Hidden && s.revision < rec.Revision {
			m := s.turnedTold(f, rec.Status)
			return t.merge(sh, &m)
		}
	}
	return nil
}

// outruns reports whether a device is connected here to s, of which rec tells that
// another node takes it over, by a claim that was made before the one by which s is
// here, at claimed, and without knowing of it: the device asked there first, in vain,
// as that node was cut off. The later one counts.
func (s *session) outruns(rec *presence.Record, claimed presence.Time) bool {
	return rec.Kind == presence.RecordMoved && !s.foreign && s.life.link != nil && s.phase.Open() &&
		rec.Epoch.Counter == s.epoch.Counter && rec.Epoch.Incarnation != s.epoch.Incarnation && rec.Time < claimed
}

// spare gives a session its grace that came, by a claim that was stored late, to a
// node that is gone: nobody could come back to it there. The lock is held.
func (t *Tracker) spare(u *user, f *presence.Fact) {
	s := u.session(f.Session.ID)
	if s == nil || !s.foreign || !s.phase.Open() || s.epoch != f.Session.Epoch || t.overSince(s.epoch.Incarnation) == 0 {
		return
	}
	s.held, s.life.until = true, t.wheel.Now()+t.policy(s).Grace
}

// taken is what an opened or moved of another node tells of a session; s is nil
// when it was not known here. A move changes no status. It stands at revision 0, below the first of that
// node's own words: should they be lost, digests differ.
func (s *session) taken(rec *presence.Record, f *presence.Fact) told {
	fs := &f.Session
	if s != nil && f.Kind == presence.RecordMoved && s.phase.Open() {
		m := s.told()
		m.epoch, m.revision, m.held = fs.Epoch, 0, false
		return m
	}
	m := told{
		ref: Ref{f.User, fs.ID}, public: fs.Public, epoch: fs.Epoch, status: fs.Status, device: fs.Device,
		truth: presence.Face{Opened: 1, Changed: 1, Revision: presence.ShownRevision(fs.Epoch, 1), Since: fs.OpenedAt, Updated: fs.OpenedAt},
		seen:  f.LastSeen, veiled: f.Shown,
	}
	if s != nil && rec.Kind == presence.RecordMoved {
		m.status = s.status
	}
	if m.hidden() != fs.Hidden {
		m.status = turnedStatus(m.status, fs.Hidden)
	}
	if !fs.Hidden {
		m.shown = m.truth
	}
	if s != nil {
		m.ttl, m.until = s.life.ttl, s.few().until
		if fs.Hidden {
			m.shown = presence.Face{Revision: s.shown.Revision}
		}
	}
	return m
}

// turnedTold is what a hidden or shown of another node tells of its session s,
// before that node's own word of it comes; status is what the record says is shown
// now, nil if it does not. What was said while hidden was never to be shown.
func (s *session) turnedTold(f *presence.Fact, status *presence.Status) told {
	m := s.told() // with its old revision, so that digests differ until that word comes
	if status == nil {
		status = s.status
	}
	m.status = turnedStatus(status, f.Session.Hidden)
	m.truth.Revision++
	m.truth.Updated = f.Time
	if f.Session.Hidden {
		if m.shown.Opened != 0 && m.shown.Closed == 0 {
			m.shown.Closed, m.shown.ClosedAt, m.shown.Reason = 1, f.Time, presence.ReasonHidden
		}
		m.veiled = max(m.veiled, f.Time)
		return m
	}
	revision := max(m.shown.Revision+1, presence.ShownRevision(s.epoch, 1))
	m.shown = m.truth
	m.shown.Since, m.shown.Revision = f.Time, revision
	return m
}

func turnedStatus(old *presence.Status, hidden bool) *presence.Status {
	status := presence.Status{}
	if old != nil {
		status = *old
	}
	status.Invisible = hidden
	return &status
}

// disown closes what the log opened in this node's name although nobody here
// knows of it: its claim was given up before it was read. The lock is held.
func (t *Tracker) disown(sh *shard, rec *presence.Record) {
	if rec.Epoch.Incarnation != t.incarnation.Load() {
		return
	}
	u := sh.user(rec.User)
	f := u.folded.Session(rec.Session)
	if f == nil || f.Phase != presence.FoldOpen || f.Epoch != rec.Epoch {
		return
	}
	if s := u.session(rec.Session); s != nil && !s.foreign && s.epoch == rec.Epoch {
		return
	}
	closed := *rec
	closed.Kind, closed.Reason, closed.Time, closed.Status = presence.RecordClosed, presence.ReasonLinkLost, t.now(), nil
	closed.Invisible, closed.LastSeen = true, max(u.seen, 1)
	t.claim(sh, closed, func(error) func() { return nil })
}
