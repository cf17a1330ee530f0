package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// speaksAgain is how often Speaks looks again.
const speaksAgain = 20 * time.Millisecond

// Speaks reports, with nil, that what came on a link is still the word of its session:
// for what a door writes down elsewhere, where no epoch tells the old from the new. A
// node that stood still, or was cut off, reads on its links what devices said before
// that, and have taken back by what they said at another node; so this waits until such
// a node has read what became of the session. It fails with NodeUnavailable when the
// session went on without the link, or that is not known within 10 s, and with
// SessionGone.
func (t *Tracker) Speaks(ctx context.Context, ref Ref, link Link) error {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	tick := time.NewTicker(speaksAgain)
	defer tick.Stop()
	for {
		if known, err := t.speaks(ctx, ref, link); known || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errIsolated
		}
	}
}

// Takes reports, with nil, that what a server says at this node now counts. At one that
// stood still, or was cut off, it may be what the server gave up long ago, and has
// replaced at another node since: it fails with NodeUnavailable then.
func (t *Tracker) Takes() error {
	if t.peers != nil && !t.peers.present() {
		return errIsolated
	}
	return nil
}

// speaks is Speaks as it is known now, if it is.
func (t *Tracker) speaks(ctx context.Context, ref Ref, link Link) (known bool, err error) {
	if t.Takes() != nil {
		return false, nil
	}
	sh, s, err := t.acquire(ctx, ref, openOperation)
	if err != nil {
		return false, err
	}
	defer sh.mu.Unlock()
	switch f := s.user.folded.Session(s.id); {
	case s.foreign || s.phase.Open() && s.life.link != link:
		return false, errElsewhere
	case !s.phase.Open():
		return false, errGone
	case f != nil && f.Phase == presence.FoldClosed && f.Epoch.Compare(s.epoch) >= 0:
		return false, nil // the others gave it up; whether it is opened anew is decided now
	}
	return true, nil
}
