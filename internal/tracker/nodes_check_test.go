package tracker

import (
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// check holds what must be at every moment.
func (m *nodesModel) check() {
	m.hangUp()
	for _, n := range m.c.running() {
		seen := m.seen[n]
		if seen == nil {
			seen = map[presence.User]presence.Time{}
			m.seen[n] = seen
		}
		for _, u := range m.users {
			p := n.tr.Presence(u)
			if p.LastSeen < seen[u] {
				m.fail("last seen of %s went back on node %d", u.ID, n.name)
			}
			seen[u] = p.LastSeen
		}
		if n.ear.back {
			m.fail("an older picture came after a newer one on node %d", n.name)
		}
	}
	for _, d := range m.devices {
		if d.at == nil {
			continue
		}
		if d.at.dead {
			d.at = nil
			continue
		}
		m.steady(d)
	}
}

// steady: whoever is connected at a node that nothing was wrong with is shown open
// at every such node.
func (m *nodesModel) steady(d *device) {
	const settled = 2 * time.Second
	if time.Since(d.since) < settled || time.Since(m.faulted[d.at]) < 20*time.Second && !m.faulted[d.at].IsZero() || d.at.cut {
		return
	}
	if d.at.store.late.Load() || time.Since(m.on) < settled {
		return // another login may have replaced it, which its node has yet to read
	}
	for _, n := range m.c.running() {
		if n.cut || time.Since(m.faulted[n]) < 20*time.Second && !m.faulted[n].IsZero() {
			continue
		}
		open := false
		for _, v := range n.tr.Presence(d.user).Sessions {
			if v.True.Open() && v.Public == m.public(d) {
				open = true
				m.unmoved(d, n, v.True.Opened)
			}
		}
		if !open {
			m.fail("a session of %s that is connected at node %d since %v is not open at node %d", d.user.ID, d.at.name, time.Since(d.since), n.name)
		}
	}
}

// unmoved: whoever stays connected opens once at each node (R9).
func (m *nodesModel) unmoved(d *device, n *node, opened uint32) {
	type of struct {
		since time.Time
		n     *node
	}
	if d.opened == nil {
		d.opened = map[any]uint32{}
	}
	key := of{d.since, n}
	if before, ok := d.opened[key]; ok && before != opened {
		m.fail("a session of %s that is connected at node %d since %v opened anew at node %d", d.user.ID, d.at.name, time.Since(d.since), n.name)
	}
	d.opened[key] = opened
}

func (m *nodesModel) public(d *device) (id presence.PublicID) {
	sh, s, err := d.at.tr.find(d.ref)
	if err != nil {
		return id
	}
	defer sh.mu.Unlock()
	return s.public
}

// settle ends all faults and holds that everybody agrees.
func (m *nodesModel) settle() {
	m.release()
	m.readOn()
	m.hangUp()
	m.c.mem.Recover()
	m.c.mu.Lock()
	m.c.lose = nil
	m.c.mu.Unlock()
	for _, n := range m.c.running() {
		if n.cut {
			m.c.heal(n, m.c.lost(n))
		}
	}
	wait(5 * time.Second)
	m.check()
	for n, at := range m.faulted {
		if left := 12*time.Second - time.Since(at); n.dead && left > 0 {
			wait(left) // its sessions' grace is not over
		}
	}
	// A claim whose result was unknown is made again within 10 s, and what it opens
	// for nobody closes a moment later.
	for range 5 {
		before := m.trouble
		if m.agree("some seconds after the last fault", false); m.trouble == before {
			break
		}
		if m.trouble = before; before != "" {
			return
		}
		wait(3 * time.Second)
	}
	m.agree("20 s after the last fault", false)
	wait(55 * time.Second) // the longest grace of all, and its claim made again
	m.check()
	m.agree("when every grace is over", true)
}

// agree holds all nodes and the log against one another.
func (m *nodesModel) agree(when string, over bool) {
	first := m.c.running()[0]
	for _, u := range m.users {
		f, _ := first.folded(u)
		for _, n := range m.c.running() {
			if got, want := n.looks(u), first.looks(u); got != want {
				m.fail("%s node %d sees %s of %s, node %d %s", when, n.name, got, u.ID, first.name, want)
			}
			if a, b := n.tr.Presence(u), first.tr.Presence(u); a.LastSeen != b.LastSeen || over && a.Stale != 0 {
				m.fail("%s node %d has last seen %v of %s, node %d %v (stale %v)", when, n.name, a.LastSeen, u.ID, first.name, b.LastSeen, a.Stale)
			}
		}
		for i := range f.Sessions {
			m.agreeOn(when, u, &f.Sessions[i])
		}
		if got := m.loggedIn(&f); m.single && len(got) > 1 {
			m.fail("%s %s has %d sessions under the policy single: %v", when, u.ID, len(got), got)
		}
	}
	for _, d := range m.devices {
		if !over {
			break
		}
		f, _ := first.folded(d.user)
		fs := f.Session(d.ref.Session)
		switch isOpen := fs != nil && fs.Phase == presence.FoldOpen; {
		case d.at != nil && !isOpen:
			m.fail("%s a session of %s is connected at node %d, the log has %+v", when, d.user.ID, d.at.name, fs)
		case d.at == nil && isOpen:
			m.fail("%s a session of %s is nowhere connected and open in the log: %+v", when, d.user.ID, fs)
		case d.acked != (presence.Epoch{}) && fs != nil && fs.Epoch.Compare(d.acked) < 0:
			m.fail("%s an acknowledged opening of %s at %+v is not in the log: %+v", when, d.user.ID, d.acked, fs)
		case d.at != nil && !d.unsure && d.at.status(d.ref).Show != d.show:
			m.fail("%s a session of %s says %v, want %v", when, d.user.ID, d.at.status(d.ref).Show, d.show)
		}
	}
}

// loggedIn are a user's sessions in the log that are open, but for those that a
// server set.
func (m *nodesModel) loggedIn(f *presence.Folded) (open []string) {
	for i := range f.Sessions {
		s := &f.Sessions[i]
		ofDevice := slices.ContainsFunc(m.devices, func(d *device) bool { return d.ref.Session == s.ID })
		if s.Phase == presence.FoldOpen && ofDevice {
			open = append(open, s.ID.String()[:4])
		}
	}
	return open
}

// agreeOn: whom the log has open is open everywhere and has one owner, and the
// reverse.
func (m *nodesModel) agreeOn(when string, u presence.User, fs *presence.FoldedSession) {
	owners := 0
	for _, n := range m.c.running() {
		sh := n.tr.shard(u)
		sh.mu.Lock()
		var s *session
		if held := sh.known(u); held != nil {
			s = held.session(fs.ID)
		}
		isOpen := s != nil && s.phase.Open()
		if isOpen && !s.foreign {
			owners++
		}
		if isOpen != (fs.Phase == presence.FoldOpen) || isOpen && s.epoch != fs.Epoch {
			m.fail("%s the log has %v of %+v, node %d has it open: %v, at %+v", when, fs.Phase, fs.Epoch, n.name, isOpen, s.brief())
		}
		sh.mu.Unlock()
	}
	if fs.Phase == presence.FoldOpen && owners > 1 {
		m.fail("%s %d nodes have the session %+v", when, owners, fs)
	}
}

// status is what a session says at this node.
func (n *node) status(ref Ref) presence.Status {
	sh, s, err := n.tr.find(ref)
	if err != nil {
		return presence.Status{}
	}
	defer sh.mu.Unlock()
	if s.status == nil {
		return presence.Status{}
	}
	return *s.status
}

func (s *session) brief() string {
	if s == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v, %v, foreign %v, %+v", s.phase, s.epoch, s.foreign, s.truth)
}

// written is the log, briefly.
func (m *nodesModel) written() (s string) {
	for _, r := range m.c.mem.Records() {
		s += fmt.Sprintf("\n%v %v %v %v at %d", r.Kind, r.Session.String()[:4], r.Epoch, r.Reason, r.Time%1000000)
	}
	return s
}
