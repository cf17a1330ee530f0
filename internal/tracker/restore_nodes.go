package tracker

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// loadNodeNotes reads what all nodes noted of their sessions, and when each last
// said that it lives.
func (t *Tracker) loadNodeNotes(ctx context.Context, keep func(note)) error {
	return t.peers.Notes.LoadNotes(ctx, 0, -1, func(incarnation uint64, b []byte) error {
		alive, list, err := parseNotes(b)
		t.peers.mu.Lock()
		o := t.peers.origin(incarnation)
		o.alive = max(o.alive, alive)
		t.peers.mu.Unlock()
		for _, n := range list {
			keep(n)
		}
		return err
	})
}

// reviveForeign makes a session that was found at start another node's: of one
// that runs, or of one that is gone, this node's former run among them. noted is
// the revision that its status has by a note of this epoch, or 0: then digests will
// differ. The lock is held, or nobody else there yet.
func (t *Tracker) reviveForeign(s *session, noted uint64) {
	s.foreign, s.phase = true, presence.PhaseLive
	s.kept, s.life.nodeLost = kept{}, false
	until := s.few().until
	if s.rare = nil; until != 0 {
		s.seldom().until = until
	}
	s.revision = noted // its owner knows better, or somebody claims the next epoch
	s.truth.Revision = presence.ShownRevision(s.epoch, max(1, noted))
	if s.shown.Revision = s.truth.Revision; s.shown.Opened != 0 {
		s.shown = s.truth
	}
	sh := t.shard(s.user.name)
	sh.peers.count(s.epoch.Incarnation, s.mark())
}
