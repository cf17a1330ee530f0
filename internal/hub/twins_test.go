package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// wire is an Encoder whose bodies are all that a door tells of a notification.
type wire struct{}

// Locale keeps what it is given.
func (*wire) Locale(_ presence.AppID, locale string) string { return locale }

// Encode writes a line.
func (*wire) Encode(n *Notification) Body {
	line := fmt.Sprintf("%s %d", n.Presence.User.ID, n.Kind)
	if n.Available {
		line += " online"
	} else {
		line += fmt.Sprintf(" offline, last seen %d", n.Presence.Seen(n.Own))
	}
	if n.View == nil {
		return line
	}
	f := n.View.Face(n.Own)
	line += fmt.Sprintf(": %v r%d since %d updated %d", n.View.Public, f.Revision, f.Since, f.Updated)
	if n.Kind == KindClosed {
		return line + fmt.Sprintf(" closed %d reason %d", f.ClosedAt, f.Reason)
	}
	return line + fmt.Sprintf(" on %v says %v", n.View.Device.Platform, n.View.Status)
}

// twin is one of two worlds in which the same happens, but that in one of them
// the target leaves and in the other he is veiled, and lives on behind it.
type twin struct {
	world  *world
	veiled bool
	gone   bool // he left, or was veiled
	seats  []*seat
}

// seat is a device that can lose what is sent to it.
type seat struct {
	watcher *Watcher
	stream  uint64
	sent    uint64
	heard   []string
}

func (w *twin) seat(i int) *seat {
	for len(w.seats) <= i {
		n := byte(len(w.seats) + 1)
		w.seats = append(w.seats, &seat{watcher: w.world.join(n, Params{User: named("watcher"), Limit: 9})})
	}
	return w.seats[i]
}

func (s *seat) connect(after *uint64) {
	a, err := s.watcher.Attach(&wire{}, func() {}, after)
	if err != nil {
		s.heard = append(s.heard, err.Error())
		return
	}
	s.stream = a.Stream
	s.sent = s.watcher.Next(a.Stream)
	s.heard = append(s.heard, fmt.Sprintf("#%d connected %v %v", s.sent, a.Resumed, a.Resync))
}

func (s *seat) drain() {
	if s.stream == 0 {
		return
	}
	frames, _ := s.watcher.Drain(s.stream, nil, 1000)
	for _, f := range frames {
		s.sent = f.Sequence
		if f.Mark != nil {
			s.heard = append(s.heard, fmt.Sprintf("#%d mark %+v", f.Sequence, *f.Mark))
		} else {
			s.heard = append(s.heard, fmt.Sprintf("#%d %v", f.Sequence, f.Body))
		}
	}
}

// twins are drawn steps, played in both worlds.
type twins struct {
	t    *rapid.T
	both [2]*twin
	step int
}

// R11: what reaches a watcher whose target blocked him, or went out of his sight
// for another reason, is bit for bit what reaches one whose target left at that
// moment: in what is sent at once, in later snapshots, and in what is repeated to
// a device that lost it.
func TestVeiledIsBitForBitGone(t *testing.T) {
	t.Parallel()
	for range 10 {
		rapid.Check(t, func(t *rapid.T) {
			p := &twins{t: t}
			for i := range p.both {
				p.both[i] = &twin{world: newWorld(), veiled: i == 1}
			}
			for range rapid.IntRange(0, 10).Draw(t, "steps before") {
				p.target()
				p.watcher()
			}
			for _, w := range p.both {
				w.leave()
			}
			for range rapid.IntRange(1, 15).Draw(t, "steps after") {
				p.behind()
				p.watcher()
			}
			p.compare()
		})
	}
}

func (w *twin) leave() {
	w.gone = true
	if w.veiled {
		w.world.veil("watcher", "target", true)
	} else {
		w.world.hidesAll("target")
	}
}

// target is a step of the target, in both worlds.
func (p *twins) target() {
	p.step++
	what, session := rapid.IntRange(0, 4).Draw(p.t, "what"), number(rapid.IntRange(1, 3).Draw(p.t, "session"))
	for _, w := range p.both {
		w.act(what, session, p.step)
	}
}

// behind is a step of the target in the world where he is veiled.
func (p *twins) behind() {
	p.step++
	what, n := rapid.IntRange(0, 4).Draw(p.t, "what"), rapid.IntRange(1, 6).Draw(p.t, "session")
	p.both[1].act(what, number(n), p.step)
	p.both[0].world.change("nobody", func(*person, presence.Time) {}) // time passes there too
}

// act opens, updates or closes a session, as it can be.
func (w *twin) act(what int, session presence.PublicID, n int) {
	status := saying(n)
	open := slices.Contains(w.world.publics("target", (*stay).open), session)
	switch {
	case what == 4 && open:
		w.world.tell(w.world.closes("target", session))
	case what == 4:
		w.world.change("nobody", func(*person, presence.Time) {})
	case open:
		w.world.tell(w.world.updates("target", session, status))
	default:
		w.world.tell(w.world.opens("target", session, &status))
	}
}

// watcher is a step of one of the watcher's devices, in both worlds.
func (p *twins) watcher() {
	what, device := rapid.IntRange(0, 9).Draw(p.t, "watcher"), rapid.IntRange(0, 2).Draw(p.t, "device")
	back := uint64(rapid.IntRange(0, 4).Draw(p.t, "back"))
	for _, w := range p.both {
		s := w.seat(device)
		switch what {
		case 0, 1:
			s.watcher.Watch([]presence.UserID{"target"}, ScopeUser)
		case 2:
			s.watcher.Unwatch("target")
		case 3:
			s.watcher.WatchFriends([]presence.UserID{"target"})
		case 4:
			s.connect(nil)
		case 5, 6:
			if after := s.sent - min(s.sent, back); s.stream != 0 {
				s.connect(&after)
			}
		default:
			s.drain()
		}
	}
}

func (p *twins) compare() {
	for i := range max(len(p.both[0].seats), len(p.both[1].seats)) {
		a, b := p.both[0].seat(i), p.both[1].seat(i)
		a.drain()
		b.drain()
		if !slices.Equal(a.heard, b.heard) {
			p.t.Fatalf("device %d heard of one who left\n  %s\nand of one who is veiled\n  %s", i,
				strings.Join(a.heard, "\n  "), strings.Join(b.heard, "\n  "))
		}
	}
}

func (s *seat) want(t *testing.T, what string, lines ...string) {
	t.Helper()
	s.drain()
	for i, l := range s.heard {
		_, s.heard[i], _ = strings.Cut(l, " ")
	}
	if !slices.Equal(s.heard, lines) {
		t.Errorf("%s: heard\n  %s\nwant\n  %s", what, strings.Join(s.heard, "\n  "), strings.Join(lines, "\n  "))
	}
	s.heard = nil
}
