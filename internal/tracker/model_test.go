package tracker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// op is one step of a random history. Its numbers choose among what there is
// when its turn comes.
type op struct {
	Kind         string
	A, B         int
	D            time.Duration
	Flag, Hidden bool
	Outage       string // what the store does meanwhile
}

var (
	opKinds = []string{
		"make", "make", "connect", "connect", "connect", "connect", "lose link", "update", "update", "turn", "turn", "close",
		"heartbeat", "read", "read", "watch", "wait", "wait", "wait", "wait", "crash", "restart", "put", "put", "erase",
	}
	outages = []string{"", "", "", "", "refuse", "hold", "lost but stored", "lost"}
)

func genOp() *rapid.Generator[op] {
	return rapid.Custom(func(t *rapid.T) op {
		longest := rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second, 40 * time.Second, 130 * time.Second}).Draw(t, "longest")
		return op{
			Kind: rapid.SampledFrom(opKinds).Draw(t, "kind"),
			A:    rapid.IntRange(0, 99).Draw(t, "a"), B: rapid.IntRange(0, 99).Draw(t, "b"),
			D:    time.Duration(rapid.Int64Range(1, int64(longest/time.Millisecond)).Draw(t, "ms")) * time.Millisecond,
			Flag: rapid.Bool().Draw(t, "flag"), Hidden: rapid.IntRange(0, 3).Draw(t, "hidden") == 0,
			Outage: rapid.SampledFrom(outages).Draw(t, "outage"),
		}
	})
}

// TestModel plays random histories against a model that has no locks, no store
// and no wheel: phases, what each side sees, last seen, who is gone, and in the
// end the fold of the log.
func TestModel(t *testing.T) {
	t.Parallel()
	for d := presence.AllowAll; d <= presence.Single; d++ {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			checkModel(t, Policy{Grace: 6 * time.Second, MultiDevice: d, SessionsPerUser: 4})
		})
	}
}

func checkModel(t *testing.T, policy Policy) {
	rapidtest.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(genOp(), 5, 60).Draw(rt, "ops")
		var trouble string
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Policies[app] = policy })
			m := newModel(r, policy.WithDefaults())
			for i, o := range ops {
				m.play(o)
				if m.compare(); m.trouble != "" {
					trouble = fmt.Sprintf("step %d, %+v: %s", i, o, m.trouble)
					break
				}
			}
			if trouble == "" {
				m.wait(10 * time.Second)
				m.compare()
				m.compareLog()
				trouble = m.trouble
			}
			r.mem.Recover()
			if err := r.stop(); err != nil && trouble == "" {
				trouble = fmt.Sprintf("Stop: %v", err)
			}
		})
		if trouble != "" {
			rt.Fatal(trouble)
		}
	})
}

// compare holds the table against the model.
func (m *model) compare() {
	m.settle()
	for _, u := range m.users {
		p := m.r.tr.Presence(u.name)
		m.near("last seen", p.LastSeen, u.seen, u.slack)
		m.near("last seen for others", p.LastSeenShown, u.shown, u.slack)
		if p.LastSeen < u.wasSeen || p.LastSeenShown < u.wasShown {
			m.fail("last seen of %s went back: %v and %v after %v and %v", u.name.ID, p.LastSeen, p.LastSeenShown, u.wasSeen, u.wasShown)
		}
		u.wasSeen, u.wasShown = p.LastSeen, p.LastSeenShown
		if int32(p.Version-u.version) < 0 {
			m.fail("version of %s went back from %d to %d", u.name.ID, u.version, p.Version)
		}
		u.version = p.Version
		views := 0
		for _, s := range u.sessions {
			if v := s.view(p); v != nil {
				views++
				m.compareView(s, v)
			} else if s.isOpen() || s.phase == presence.PhaseClosed {
				m.fail("%s is %v and not in the picture", s.name, s.phase)
			}
			if got := m.r.phase(s.ref); got != s.phase {
				m.fail("%s: got %v, want %v", s.name, got, s.phase)
			}
		}
		views += m.compareRemembered(u, p)
		if views != len(p.Sessions) {
			m.fail("the picture of %s has %d sessions, want %d", u.name.ID, len(p.Sessions), views)
		}
	}
	m.compareCount()
	for id, want := range m.gone {
		if got := m.r.ear.goneOf(id); got != want {
			m.fail("a session is gone %d times, want %d", got, want)
		}
	}
}

// compareRemembered counts the closes that are still in the picture although
// nothing resumes their sessions any more.
func (m *model) compareRemembered(u *modelUser, p *presence.Presence) (views int) {
	now := time.Now()
	u.remembered = slices.DeleteFunc(u.remembered, func(s *modelSession) bool { return s.until.Add(fuzz).Before(now) })
	for _, s := range u.remembered {
		switch {
		case s.view(p) != nil:
			views++
		case now.Before(s.until.Add(-fuzz)):
			m.fail("%s is forgotten %v too early", s.name, s.until.Sub(now))
		}
	}
	return views
}

func (m *model) compareView(s *modelSession, v *presence.View) {
	for own, want := range map[bool]bool{true: s.isOpen(), false: s.isOpen() && !s.hidden} {
		f := v.Face(own)
		if f.Open() != want {
			m.fail("%s, own %v: open %v, want %v", s.name, own, f.Open(), want)
		}
		if f.Revision < s.revision[own] {
			m.fail("%s, own %v: revision went back from %d to %d", s.name, own, s.revision[own], f.Revision)
		}
		s.revision[own] = f.Revision
	}
	if !s.everShown && v.Shown.Opened != 0 {
		m.fail("%s was never shown, but others have %+v", s.name, v.Shown)
	}
	switch {
	case s.isOpen() && v.Status != nil && (v.Status.Show != s.show || v.Status.Invisible != s.hidden),
		s.isOpen() && v.Status == nil && (s.show != presence.Online || s.hidden):
		m.fail("%s says %+v, want %v, hidden %v", s.name, v.Status, s.show, s.hidden)
	case !s.isOpen() && v.Status != nil:
		m.fail("%s is closed and still says %+v", s.name, v.Status)
	case !s.isOpen() && v.True.Reason != s.told && !s.unsure:
		m.fail("%s closed by %v, want %v", s.name, v.True.Reason, s.told)
	}
	if _, t, err := m.r.tr.find(s.ref); err == nil {
		if t.pending != nil {
			m.fail("%s has an operation pending although none runs", s.name)
		}
		m.r.tr.shard(s.ref.User).mu.Unlock()
	}
}

// compareLog folds the whole log and holds it against the table: who is open,
// hidden, last seen, and exactly one close for each opening.
func (m *model) compareLog() {
	for _, u := range m.users {
		f, facts := m.r.folded(u.name)
		p := m.r.tr.Presence(u.name)
		if f.LastSeen != p.LastSeen || f.LastSeenShown != p.LastSeenShown {
			m.fail("last seen of %s in the log: %v and %v, in the table %v and %v", u.name.ID, f.LastSeen, f.LastSeenShown, p.LastSeen, p.LastSeenShown)
		}
		open := 0
		for i := range f.Sessions {
			if f.Sessions[i].Phase == presence.FoldOpen {
				open++
			}
		}
		for _, s := range u.sessions {
			fs := f.Session(s.ref.Session)
			if s.isOpen() {
				open--
				if fs == nil || fs.Phase != presence.FoldOpen || fs.Hidden != s.hidden {
					m.fail("%s is open, hidden %v; the log has %+v", s.name, s.hidden, fs)
				}
			}
		}
		if open != 0 {
			m.fail("the log has %d sessions of %s open that are not", open, u.name.ID)
		}
		isOpen := map[presence.SessionID]bool{}
		for i, fact := range facts {
			id := fact.Session.ID
			switch fact.Kind {
			case presence.RecordOpened, presence.RecordClosed:
				if isOpen[id] == (fact.Kind == presence.RecordOpened) {
					m.fail("fact %d of %s: %v twice", i, u.name.ID, fact.Kind)
				}
				isOpen[id] = fact.Kind == presence.RecordOpened
			}
		}
		if heard := m.r.ear.newest[u.name]; heard != nil && heard.Version != p.Version {
			m.fail("the listener has version %d of %s, the table %d", heard.Version, u.name.ID, p.Version)
		}
	}
	if m.r.ear.back {
		m.fail("an older picture came after a newer one")
	}
}

// near compares a time to within what deadlines may be late by.
func (m *model) near(what string, got presence.Time, want time.Time, slack time.Duration) {
	d := got.Sub(presence.At(want))
	if want.IsZero() != (got == 0) || got != 0 && (d > fuzz || d < -fuzz-slack) {
		m.fail("%s: got %v, want %v", what, got.Time(), want.UTC())
	}
}
