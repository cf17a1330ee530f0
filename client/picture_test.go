package client

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// note is a notification of bob's session s.
func note(kind noteKind, revision uint64, available bool) *notification {
	return &notification{user: "bob", available: available, kind: kind, session: &UserSession{ID: "s", Revision: revision, Text: fmt.Sprint(revision)}}
}

func TestPictureOrder(t *testing.T) {
	t.Parallel()
	gone := &notification{user: "bob"}
	again := (*notification)(nil) // stands for the start of a round
	tests := []struct {
		name  string
		notes []*notification
		want  []SessionChangeKind // of all steps
		text  string              // of the session in the end; "" is closed
	}{
		{"rising", []*notification{note(noteCurrent, 1, true), note(noteUpdated, 2, true)}, []SessionChangeKind{SessionCurrent, SessionUpdated}, "2"},
		{"overtaken update", []*notification{note(noteOpened, 5, true), note(noteUpdated, 4, true)}, []SessionChangeKind{SessionOpened}, "5"},
		{"overtaken snapshot", []*notification{note(noteUpdated, 5, true), note(noteCurrent, 4, true)}, []SessionChangeKind{SessionCurrent}, "5"},
		{"overtaken close", []*notification{note(noteOpened, 5, true), note(noteClosed, 4, true)}, []SessionChangeKind{SessionOpened}, "5"},
		{"repeated", []*notification{note(noteCurrent, 5, true), note(noteCurrent, 5, true)}, []SessionChangeKind{SessionCurrent}, "5"},
		{"close without a number", []*notification{note(noteOpened, 0, true), note(noteClosed, 0, false)}, []SessionChangeKind{SessionOpened, SessionClosed}, ""},
		{"late after close", []*notification{note(noteOpened, 5, true), note(noteClosed, 5, false), note(noteUpdated, 4, true)}, []SessionChangeKind{SessionOpened, SessionClosed}, ""},
		{"late before any", []*notification{note(noteClosed, 5, false), note(noteOpened, 4, true)}, nil, ""},
		{"opened anew", []*notification{note(noteOpened, 5, true), note(noteClosed, 5, false), note(noteOpened, 6, true)}, []SessionChangeKind{SessionOpened, SessionClosed, SessionOpened}, "6"},
		{"offline ends all", []*notification{note(noteOpened, 5, true), gone}, []SessionChangeKind{SessionOpened, SessionClosed}, ""},
		{"numbers begin anew in a round", []*notification{note(noteCurrent, 50, true), again, note(noteCurrent, 1, true)}, []SessionChangeKind{SessionCurrent, SessionUpdated}, "1"},
		{"also for the closed", []*notification{note(noteCurrent, 50, true), again, gone, note(noteOpened, 1, true)}, []SessionChangeKind{SessionCurrent, SessionClosed, SessionOpened}, "1"},
		{"also after a close", []*notification{note(noteCurrent, 50, true), again, note(noteClosed, 1, false), note(noteOpened, 2, true)}, []SessionChangeKind{SessionCurrent, SessionClosed, SessionOpened}, "2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPicture()
			var steps []SessionChangeKind
			for _, n := range tt.notes {
				if n == again {
					p.startOver()
					continue
				}
				c, _ := p.apply(n)
				for _, s := range c.Sessions {
					steps = append(steps, s.Kind)
				}
			}
			if !slices.Equal(steps, tt.want) {
				t.Errorf("steps: got %q, want %q", steps, tt.want)
			}
			bob, _ := p.presence("bob")
			s, open := bob.Session("s")
			if open != (tt.text != "") || s.Text != tt.text {
				t.Errorf("session: got %q, want %q", s.Text, tt.text)
			}
		})
	}
}

func TestPictureValues(t *testing.T) {
	t.Parallel()
	p := newPicture()
	steps := []struct {
		name    string
		note    notification
		changed bool
	}{
		{"first news", notification{user: "bob"}, true},
		{"the same", notification{user: "bob"}, false},
		{"last seen", notification{user: "bob", lastSeen: noon}, true},
		{"last seen left out", notification{user: "bob"}, false},
		{"attribute", notification{user: "bob", attributes: map[string]any{"a": "x", "b": []any{1.0}}}, true},
		{"attribute again", notification{user: "bob", attributes: map[string]any{"b": []any{1.0}}}, false},
		{"attribute gone", notification{user: "bob", attributes: map[string]any{"a": nil, "never": nil}}, true},
		{"stale", notification{user: "bob", staleSince: noon}, true},
	}
	for _, s := range steps {
		if _, changed := p.apply(&s.note); changed != s.changed {
			t.Errorf("%s: changed %v, want %v", s.name, changed, s.changed)
		}
	}
	bob, _ := p.presence("bob")
	if !bob.LastSeen.Equal(noon) || !bob.StaleSince.Equal(noon) || fmt.Sprint(bob.Attributes) != "map[b:[1]]" {
		t.Errorf("bob: got %+v", bob)
	}
	p.lostAt = noon.Add(-time.Hour)
	if bob, _ := p.presence("bob"); !bob.StaleSince.Equal(p.lostAt) {
		t.Errorf("stale since: got %v, want the earlier %v", bob.StaleSince, p.lostAt)
	}
}

// A reader who applies the steps of every change has the same sessions as the
// newest Presence, however late he reads.
func TestStepsAddUp(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		p, q := newPicture(), newQueue()
		reader := map[string]string{} // session → text
		read := func() {
			c, ok := q.pop()
			if !ok {
				return
			}
			for _, s := range c.Sessions {
				_, known := reader[s.Session.ID]
				if fresh := s.Kind == SessionCurrent || s.Kind == SessionOpened; fresh == known {
					t.Fatalf("seed %d: step %s of %s, but known is %v", seed, s.Kind, s.Session.ID, known)
				}
				if s.Kind == SessionClosed {
					delete(reader, s.Session.ID)
				} else {
					reader[s.Session.ID] = s.Session.Text
				}
			}
			want := map[string]string{}
			for _, s := range c.Presence.Sessions {
				want[s.ID] = s.Text
			}
			if fmt.Sprint(reader) != fmt.Sprint(want) {
				t.Fatalf("seed %d: the steps give %v, the presence is %v", seed, reader, want)
			}
		}
		for i := range 200 {
			switch r.IntN(12) {
			case 0:
				p.startOver()
			case 1:
				for _, c := range p.settle("") {
					q.push(c)
				}
			case 2, 3:
				read()
			case 4:
				if c, changed := p.apply(&notification{user: "bob"}); changed {
					q.push(c)
				}
			default:
				n := note(noteKind(r.IntN(4)), uint64(i), r.IntN(4) > 0)
				n.session.ID = fmt.Sprint("s", r.IntN(3))
				if c, changed := p.apply(n); changed {
					q.push(c)
				}
			}
			if len(q.order) != len(q.pending) || len(q.order) > 1 {
				t.Fatalf("seed %d: %d changes wait for one user", seed, len(q.order))
			}
		}
		read()
	}
}

func TestQueueDrop(t *testing.T) {
	t.Parallel()
	q := newQueue()
	for _, u := range []string{"bob", "carol", "bob"} {
		q.push(Change{Kind: ChangePresence, User: u})
	}
	q.drop("bob")
	q.drop("nobody")
	c, ok := q.pop()
	if _, more := q.pop(); !ok || c.User != "carol" || more {
		t.Errorf("after the drop: got %q, %v, more %v; want carol alone", c.User, ok, more)
	}
}

// Whatever a server sends, the picture stays one: bounded, without a session
// of a user who is not there, and readable.
func FuzzStream(f *testing.F) {
	for _, n := range []*isonlinev1.IsOnlineNotification{offline("bob"), news("bob", "b1", current, 1, "hi"), news("bob", "b1", closedN, 1, "")} {
		b, err := proto.Marshal(&isonlinev1.ConnectToIsOnlineSessionResponse{
			Sequence: 1, Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Notification{Notification: n},
		})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m isonlinev1.ConnectToIsOnlineSessionResponse
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		fr := fromMessage(&m)
		if fr.notification == nil {
			return
		}
		p := newPicture()
		p.apply(note(noteOpened, 3, true))
		c, changed := p.apply(fr.notification)
		if _, again := p.apply(fr.notification); changed && again {
			t.Errorf("the same news twice is news twice: %+v", c)
		}
		got, ok := p.presence(fr.notification.user)
		if !ok && changed {
			t.Errorf("news of %q, but no presence", fr.notification.user)
		}
		if len(got.Sessions) > 2 {
			t.Errorf("%d sessions from two notifications", len(got.Sessions))
		}
		p.settle("")
	})
}
