package tracker

import "github.com/porchlight-dev/porchlight/internal/presence"

// custom is what of a session's custom status, its text or how it shows, is on
// its way to the log.
type custom struct {
	claimed bool // one record at a time, so that the newest wins
	newer   bool // it changed since it was submitted
}

// tellCustom writes a new text or show behind, for the interfaces that report it (design
// §2, Waiting): nobody waits for it, and what the log refuses is lost. The lock is
// held.
func (t *Tracker) tellCustom(s *session, old *presence.Status) {
	p := t.appPolicy(s.user.name.App)
	if (!p.TellCustom || sameText(old, s.status)) && (!p.TellShow || showOf(old) == showOf(s.status)) {
		return
	}
	if s.custom.claimed {
		s.custom.newer = true
		return
	}
	t.claimCustom(s)
}

func (t *Tracker) claimCustom(s *session) {
	s.custom = custom{claimed: true}
	rec := s.record(presence.RecordCustom, presence.ReasonNone, t.now())
	rec.Status = s.status
	t.claim(t.shard(s.user.name), rec, func(error) func() {
		again := s.custom.newer && s.phase.Open() && s.epoch == rec.Epoch
		if s.custom = (custom{}); again {
			t.claimCustom(s)
		}
		return nil
	})
}

func showOf(s *presence.Status) presence.Show {
	if s == nil {
		return presence.Online
	}
	return s.Show
}

func sameText(a, b *presence.Status) bool {
	text := func(s *presence.Status) *presence.Status {
		if s == nil {
			return &presence.Status{}
		}
		return &presence.Status{Text: s.Text}
	}
	return text(a).Equal(text(b))
}
