package tracker

import (
	"context"
	"sync"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// live is what a device does.
func (m *nodesModel) live(ctx context.Context, s step, n *node, d *device) {
	switch s.Kind {
	case "connect":
		m.connect(n, d)
	case "kill and race":
		if n = d.at; n == nil || n.cut || d.closed {
			return
		}
		if m.fault(step{Kind: "kill"}, n); !n.dead {
			return
		}
		d.at = nil
		release := m.c.mem.Hold() // both have claimed before one is read
		time.AfterFunc(s.D, release)
		m.live(ctx, step{Kind: "race", B: s.B}, m.pick(s.B), d)
	case "race":
		if other := m.pick(s.B + 1); other != n && !d.closed {
			var both sync.WaitGroup
			wires := [2]*wire{{}, {}}
			var errs [2]error
			for i, at := range []*node{n, other} {
				both.Go(func() {
					_, errs[i] = at.tr.Connect(ctx, d.ref, ConnectParams{Link: wires[i], Maker: d.maker})
				})
			}
			both.Wait()
			synctest.Wait()
			d.at = nil
			for i, at := range []*node{n, other} {
				m.links = append(m.links, &linked{d, at, wires[i]})
				if errs[i] == nil && len(wires[i].ended()) == 0 {
					d.at, d.wire, d.since = at, wires[i], time.Now()
				}
			}
		}
	case "lose link":
		if d.at != nil {
			d.at.tr.LinkLost(d.ref, d.wire)
			d.at = nil
		}
	case "update", "hide":
		o := m.owner(n, d)
		if o == nil {
			return
		}
		status := presence.Status{Show: presence.Show(s.B % 3), Invisible: s.Kind == "hide" && s.Flag}
		_, err := o.tr.Update(ctx, d.ref, func(*presence.Status) (*presence.Status, error) { return &status, nil })
		if err == nil {
			d.show, d.unsure = status.Show, false
		} else {
			d.unsure = true
		}
	case "close":
		o := n
		if _, known := n.tr.OwnerOf(d.ref); !known {
			o = m.owner(n, d) // a door would ask its maker
		}
		if o == nil {
			return
		}
		if _, err := o.tr.Close(ctx, d.ref, presence.ReasonLogout); err == nil {
			d.closed, d.at = d.at != nil || d.closed, nil
		}
	case "drop":
		if _, err := n.tr.Drop(ctx, d.user, nil); err == nil {
			for _, o := range m.devices {
				if o.user == d.user {
					o.closed, o.at = o.closed || o.at != nil, nil
				}
			}
		}
	}
}

// logIn makes a session of one user at each of two nodes and connects both at the
// same time.
func (m *nodesModel) logIn(u presence.User, at ...*node) {
	var all sync.WaitGroup
	for _, n := range at {
		made, err := n.tr.Make(context.Background(), MakeParams{User: u, Device: presence.Device{Platform: "ios"}})
		if err != nil {
			continue
		}
		d := &device{user: u, ref: made.Ref, maker: n.number()}
		m.devices = append(m.devices, d)
		w := &wire{}
		l := &linked{d, n, w}
		m.links = append(m.links, l)
		all.Go(func() {
			c, err := n.tr.Connect(context.Background(), d.ref, ConnectParams{Link: w, Maker: d.maker})
			if err == nil && len(w.ended()) == 0 {
				d.at, d.wire, d.since, d.acked = n, w, time.Now(), c.Epoch
			} else if err != nil {
				l.wire = nil
			}
		})
	}
	all.Wait()
}

func (m *nodesModel) connect(n *node, d *device) {
	w := &wire{}
	c, err := n.tr.Connect(context.Background(), d.ref, ConnectParams{Link: w, Maker: d.maker})
	if err != nil {
		return
	}
	if d.closed && n.cut {
		n.tr.LinkLost(d.ref, w) // it has not heard of the end that was said elsewhere; when it does, the session ends
		return
	}
	if d.closed {
		m.fail("a session of %s that was closed for good was connected: %+v", d.user.ID, c)
	}
	d.at, d.wire, d.since, d.acked = n, w, time.Now(), c.Epoch
	m.links = append(m.links, &linked{d, n, w})
}

func (m *nodesModel) serve(s step, n *node) {
	u := m.users[s.A%len(m.users)]
	if s.Kind == "remove" {
		_, _ = n.tr.RemovePresence(context.Background(), u, "bot")
		return
	}
	_, _ = n.tr.PutPresence(context.Background(), PutParams{User: u, Name: "bot", Status: &presence.Status{Show: presence.Busy}, TTL: s.D + time.Second})
}

func (m *nodesModel) fault(s step, n *node) {
	c := m.c
	healthy := 0
	for _, o := range c.running() {
		if !o.cut {
			healthy++
		}
	}
	switch {
	case s.Kind == "start" && len(c.running()) < 3:
		c.start(3 + s.A)
	case s.Kind == "heal" && n.cut:
		anew := m.c.lost(n)
		c.heal(n, anew)
		m.faulted[n] = time.Now()
	case healthy < 3 || n.cut:
	case s.Kind == "kill":
		n.store.late.Store(false)
		m.faulted[n] = time.Now()
		c.kill(n)
	case s.Kind == "leave":
		m.release() // it waits for what was submitted
		n.store.late.Store(false)
		m.calm = time.Now()
		c.mem.Recover()
		c.leave(n)
	case s.Kind == "isolate":
		m.faulted[n] = time.Now()
		c.isolate(n)
	}
}

// lost reports whether another node took n for lost, so that it must come back
// as another.
func (c *nodes) lost(n *node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(n.lostBy) > 0
}
