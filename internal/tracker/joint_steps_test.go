package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What a step of a joint history does.

// whole reports whether all three nodes are well, so that one may be not.
func (m *jointModel) whole() bool {
	return len(m.all) == 3 && m.paused == nil && len(m.still) == 0 && m.cutOff == nil
}

// one is a device, if there is any.
func (m *jointModel) one(b int) *jointDevice {
	if len(m.devices) == 0 {
		return nil
	}
	return m.devices[b%len(m.devices)]
}

// begin starts a node that does not run.
func (m *jointModel) begin(name string) {
	if m.all[name] == nil {
		m.pass(time.Until(m.held) + 2*time.Second) // it needs the quorum, and devices would wait for it
		m.start(name)
	}
}

func (m *jointModel) play(s jointStep) {
	n := m.pick(s.A)
	switch s.Kind {
	case "device":
		made, err := n.tr.Make(context.Background(), MakeParams{User: presence.User{App: app, ID: jointUsers[s.B%len(jointUsers)]}, Device: presence.Device{Platform: "ios"}})
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w := &wire{}
		if _, err := n.tr.Connect(ctx, made.Ref, ConnectParams{Link: w}); err == nil {
			m.devices = append(m.devices, &jointDevice{ref: made.Ref, public: made.Public, maker: n.c.Self(), at: n, wire: w, since: time.Now(), asked: time.Now(), shown: map[*member]bool{}})
		}
	case "lose link":
		if len(m.devices) > 0 && m.devices[s.B%len(m.devices)].at != nil && !m.stands(m.devices[s.B%len(m.devices)].at) {
			m.lose(m.devices[s.B%len(m.devices)])
		}
	case "word":
		if d := m.one(s.B); d != nil && d.at != nil && !m.stands(d.at) && !d.leaves {
			m.word(d)
		}
	case "update", "hide":
		if d := m.one(s.B); d != nil && d.at != nil && !m.stands(d.at) && !d.leaves {
			m.statuses++
			if s.Kind == "hide" {
				d.hidden = !d.hidden
				d.turns++
			}
			m.update(d, d.at, &presence.Status{Show: presence.Show(m.statuses % 3), Invisible: d.hidden})
		}
	case "say behind":
		if d := m.one(s.B); d != nil && d.said.former != nil && m.all[d.said.former.name] == d.said.former && !m.stands(d.said.former) && !d.leaves {
			m.statuses++
			m.update(d, d.said.former, &presence.Status{Show: presence.Show(m.statuses % 3), Invisible: d.hidden})
		}
	case "bye", "vanish":
		if d := m.one(s.B); d != nil && !d.leaves {
			at := d.at
			d.leaves, d.doubt, d.bye = true, true, s.Kind == "bye"
			if d.at != nil {
				m.lose(d)
			}
			if d.bye && !d.busy && at != nil && at != m.paused {
				m.say(d, at)
			}
		}
	case "wait":
		m.pass(s.D)
	case "start":
		m.begin(string(rune('a' + s.A%3)))
	default:
		m.hurt(s, n)
	}
	m.pass(50 * time.Millisecond)
}

// hurt plays a fault. One node is hurt at a time.
func (m *jointModel) hurt(s jointStep, n *member) {
	a, b := string(rune('a'+s.A%3)), string(rune('a'+(s.A+1+s.B%2)%3))
	switch s.Kind {
	case "cut one way", "cut":
		if m.cutOff != nil || time.Now().Before(m.held) {
			return // whose node is out of reach needs the log to come elsewhere
		}
		m.parted = true
		if m.net.Cut(a, b); s.Kind == "cut" {
			m.net.Cut(b, a)
		}
	case "mend":
		m.cutOff = nil
		m.heal()
	case "faults":
		m.net.SetFaults(clustertest.Faults{Loss: float64(s.A%3) * 0.03, Double: 0.05, Delay: time.Duration(s.B%10) * time.Millisecond, Jitter: time.Duration(s.A) * time.Millisecond / 2})
	case "hold":
		m.holdFor(min(s.D, 6*time.Second))
	case "kill", "election", "alone", "alone and pause", "pause", "stop":
		if !m.whole() {
			return
		}
		m.net.Heal()
		m.pass(2 * time.Second) // the last fault is forgotten
		for _, d := range m.devices {
			// But not by who asked a node in vain that was cut off from his own.
			d.doubt = d.doubt || m.parted && d.at == nil
		}
		m.parted = false
		switch s.Kind {
		case "kill":
			n.kill()
		case "election":
			n.kill()
			m.quorum.SetDown(true)
			d := 3*time.Second + min(s.D, 6*time.Second)
			m.holdFor(d)
			time.AfterFunc(d, m.quorum.Heal)
		case "alone":
			m.cutOff = n
			n.cut()
		case "alone and pause":
			m.cutOff = n
			n.cut()
			m.pass(time.Duration(s.B) * 700 * time.Millisecond)
			m.stop(m.all[string(rune('a'+(n.name[0]-'a'+1+byte(s.B%2))%3))], 2*time.Second+min(s.D, 2*time.Second))
		case "pause":
			m.stop(n, min(s.D, 5*time.Second))
		case "stop":
			m.stop(n, 30*time.Second)
		}
	}
}

// holdFor lets the log take nothing for a while.
func (m *jointModel) holdFor(d time.Duration) {
	if m.cutOff == nil {
		m.net.Heal()
	}
	m.hold()
	m.hold, m.held = m.mem.Hold(), time.Now().Add(d)
	time.AfterFunc(d, m.hold)
}
