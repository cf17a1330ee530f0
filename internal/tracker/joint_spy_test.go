package tracker

import (
	"fmt"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// spy watches users at one node by the hub that doors use, and asks that node for
// them: what it is told must make sense on its own.
type spy struct {
	tr      *Tracker
	hub     *hub.Hub
	watcher *hub.Watcher
	stream  uint64
	users   []presence.UserID

	open     map[presence.PublicID]bool // what it was told
	twice    map[presence.PublicID]bool // of whose end it was told twice
	openings map[presence.PublicID]int
	told     map[presence.UserID]notedSeen
	asked    map[presence.UserID][2]presence.Time // the latest answers, to others and to himself
	wrong    []string
	story    []string
}

// notedSeen is what a watcher knows of a user.
type notedSeen struct {
	available bool
	seen      presence.Time
}

// heardNotice is a notification in the dialect of a spy.
type heardNotice struct {
	user      presence.UserID
	public    presence.PublicID
	kind      hub.Kind
	available bool
	seen      presence.Time // while not available
}

// Encode implements hub.Encoder.
func (s *spy) Encode(n *hub.Notification) hub.Body {
	h := heardNotice{user: n.Presence.User.ID, kind: n.Kind, available: n.Available}
	if n.View != nil {
		h.public = n.View.Public
	}
	if !n.Available {
		h.seen = n.Presence.Seen(n.Own)
	}
	return h
}

// Locale implements hub.Encoder.
func (s *spy) Locale(presence.AppID, string) string { return "" }

// newSpy is at a node that runs.
func newSpy(m *member, users []presence.UserID) *spy {
	return &spy{
		tr: m.tr, hub: m.hub, users: users, open: map[presence.PublicID]bool{}, openings: map[presence.PublicID]int{}, twice: map[presence.PublicID]bool{},
		told: map[presence.UserID]notedSeen{}, asked: map[presence.UserID][2]presence.Time{},
	}
}

// begin begins to watch.
func (s *spy) begin() error {
	s.watcher = s.hub.Join(presence.SessionID{1}, hub.Params{User: presence.User{App: app, ID: "spy"}, Limit: 1000})
	if _, err := s.watcher.Watch(s.users, hub.ScopeAll); err != nil {
		return err
	}
	a, err := s.watcher.Attach(s, func() {}, nil)
	s.stream = a.Stream
	return err
}

func (s *spy) blame(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// look reads what came, and asks.
func (s *spy) look(at string) {
	for more := true; more; {
		var frames []hub.Frame
		frames, more = s.watcher.Drain(s.stream, nil, 100)
		for _, f := range frames {
			if n, ok := f.Body.(heardNotice); ok {
				s.hear(&n, at)
			}
		}
	}
	for _, id := range s.users {
		p := s.tr.Presence(presence.User{App: app, ID: id})
		old, now := s.asked[id], [2]presence.Time{p.LastSeenShown, p.LastSeen}
		if now[0] < old[0] || now[1] < old[1] {
			s.blame("last seen of %s went back from %v to %v", id, old, now)
		}
		s.asked[id] = now
	}
}

func (s *spy) hear(n *heardNotice, at string) {
	old := s.told[n.user]
	if !n.available && n.seen < old.seen {
		s.blame("a watcher was told last seen %d of %s after %d", n.seen, n.user, old.seen)
	}
	s.told[n.user] = notedSeen{n.available, max(n.seen, old.seen)}
	s.story = append(s.story, fmt.Sprintf("%s %s %v kind %d available %v seen %d", at, n.user, n.public, n.kind, n.available, n.seen))
	switch n.kind {
	case hub.KindOpened, hub.KindCurrent:
		s.open[n.public] = true
		s.openings[n.public]++
	case hub.KindClosed:
		// What came and went before it was read is told as an end alone.
		if open, known := s.open[n.public]; known && !open {
			s.twice[n.public] = true // or it showed and hid itself in between
		}
		s.open[n.public] = false
	}
}

// agrees says where what it was told is not what the node answers.
func (s *spy) agrees() (found []string) {
	for _, id := range s.users {
		p := s.tr.Presence(presence.User{App: app, ID: id})
		available := p.Available(false) != presence.Unavailable
		switch told := s.told[id]; {
		case told.available != available:
			found = append(found, fmt.Sprintf("a watcher knows %s as available %v, a query says %v", id, told.available, available))
		case !available && told.seen != p.Seen(false):
			found = append(found, fmt.Sprintf("a watcher knows last seen of %s as %d, a query says %d", id, told.seen, p.Seen(false)))
		}
		for _, v := range p.Sessions {
			if v.Shown.Open() != s.open[v.Public] {
				found = append(found, fmt.Sprintf("a watcher knows %v of %s as open %v, a query says %v", v.Public, id, s.open[v.Public], v.Shown.Open()))
			}
		}
	}
	return found
}

// last tells the end of the story of a user.
func (s *spy) last(text string) string {
	var lines []string
	for _, line := range s.story {
		for _, id := range s.users {
			if strings.Contains(text, " "+string(id)) && strings.Contains(line, " "+string(id)+" ") {
				lines = append(lines, line)
			}
		}
	}
	return strings.Join(lines[max(0, len(lines)-12):], "\n\t")
}
