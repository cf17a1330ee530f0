package cluster_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
)

// hearing is when a node really got heartbeats of another one.
type hearing struct {
	counter uint64
	times   []time.Time // of the last ones, oldest first
}

// got notes a heartbeat: protocol, kind, incarnation, fingerprint, name, version,
// counter.
func (m *model) got(n *node, b []byte) {
	from := binary.LittleEndian.Uint64(b[2:])
	rest := b[18:]
	for range 2 {
		size, k := binary.Uvarint(rest)
		rest = rest[k+int(size):]
	}
	counter, _ := binary.Uvarint(rest)
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.heard[n][from]
	if h == nil {
		h = &hearing{}
		m.heard[n][from] = h
	}
	if counter > h.counter {
		h.counter = counter
		h.times = append(h.times, time.Now())
		if len(h.times) > 64 {
			h.times = slices.Delete(h.times, 0, 32)
		}
	}
}

// wasSilent reports whether, at some time within SuspectAfter before now, n ran and
// had not heard x for LostAfter. m.mu is held.
func (m *model) wasSilent(n *node, x cluster.Incarnation) bool {
	now := time.Now()
	end := now
	if at, over := m.ended[n]; over {
		end = at
	}
	h := m.heard[n][x]
	if now.Sub(end) > cluster.SuspectAfter || h == nil {
		return h == nil && now.Sub(end) <= cluster.SuspectAfter
	}
	for i := len(h.times) - 1; i >= 0; i-- {
		if end.Sub(h.times[i]) >= cluster.LostAfter {
			return true
		}
		if end = h.times[i]; now.Sub(end) > cluster.SuspectAfter {
			return false
		}
	}
	return true
}

// lost holds a verdict of j about x, which counts since a time, against what was
// delivered.
func (m *model) lost(j *node, x cluster.Incarnation, since time.Time) {
	members, names, later := 0, []string{}, false
	var name string
	all := j.c.Members()
	for _, o := range all {
		if o.Incarnation == x {
			name = o.Name
		}
	}
	for _, o := range all {
		later = later || o.Name == name && o.Incarnation > x
		if o.Standing <= cluster.Lost {
			members++
			names = append(names, fmt.Sprint(o.Name, o.Incarnation, o.Standing))
		}
	}
	if later {
		return // its process has ended: nobody needs to judge
	}
	m.mu.Lock()
	if h := m.heard[j][x]; h != nil {
		for _, at := range h.times {
			if at.After(since.Add(10*time.Millisecond-cluster.LostAfter)) && time.Since(at) > time.Millisecond {
				m.trouble = fmt.Sprintf("%s lost %s%d since %v ago, and heard it %v ago", j.name, name, x, time.Since(since), time.Since(at))
			}
		}
	}
	silent := 0
	var who []string
	for n := range m.heard {
		if !slices.Contains(who, n.name) && n.name != name && (m.wasSilent(n, x) || n.standing(name) == "left") {
			silent++
			who = append(who, n.name)
		}
	}
	m.mu.Unlock()
	if members%2 == 0 {
		members++
		if m.quorum.Unrenewed(name, cluster.LostAfter, cluster.SuspectAfter) {
			silent++
			who = append(who, "quorum")
		}
	}
	if 2*silent <= members {
		m.fail("%s lost %s%d, which was silent only to %v of %v", j.name, name, x, who, names)
	}
	if since := m.quorum.Renewed(j.name); since > cluster.LostAfter {
		m.fail("%s lost %s%d %v after its own liveness was acknowledged", j.name, name, x, since)
	}
}

// compare says what must hold at all times.
func (m *model) compare() {
	for _, name := range m.names() {
		n := m.nodes[name]
		n.table.mu.Lock()
		for _, x := range n.table.trouble {
			m.fail("%s: %s", name, x)
		}
		n.table.mu.Unlock()
		if err := n.c.Err(); err != nil {
			m.fail("%s failed: %v", name, err)
		}
	}
	m.compareOwners(false)
}

// compareOwners wants one owner, and one heir, wherever two know the same
// members; at the end all do.
func (m *model) compareOwners(all bool) {
	owners := map[string]string{} // by members: the owners
	for _, name := range m.names() {
		c := m.nodes[name].c
		var members, owns []string
		for _, o := range c.Members() {
			if o.Standing <= cluster.Suspect && (o.Self || !o.Heard.IsZero()) {
				members = append(members, fmt.Sprint(o.Incarnation))
			}
		}
		for k := range 20 {
			key := []byte{byte(k)}
			owns = append(owns, fmt.Sprint(c.Owner(key), c.Heir(key, 1)))
		}
		key, got := strings.Join(members, " "), strings.Join(owns, " ")
		if was, ok := owners[key]; ok && was != got {
			m.fail("%s says who owns is %s, others with the same members %s say %s", name, got, key, was)
		}
		owners[key] = got
	}
	if all && len(owners) > 1 {
		m.fail("members differ: %v", owners)
	}
}
