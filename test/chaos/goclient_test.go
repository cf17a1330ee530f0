package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/client"
)

// program is a watcher that uses the Go client and leaves losses of the link
// to it.
type program struct {
	session *client.Session

	mu     sync.Mutex // guards all below
	opened map[string]int
	closed map[string]int
	read   sync.WaitGroup
}

// newProgram opens a session that watches users; it ends with the test.
func newProgram(t *testing.T, w *world, user string, users []string) *program {
	t.Helper()
	c, err := client.New(client.Config{
		Addr: w.node.grpc, Token: func(context.Context) (string, error) { return w.jwts[user], nil },
		Device:  client.Device{Platform: "test", Product: "chaos", Locale: "en"},
		Backoff: client.Backoff{First: 50 * time.Millisecond, Max: 300 * time.Millisecond, Healthy: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &program{opened: map[string]int{}, closed: map[string]int{}}
	t.Cleanup(func() { c.Close(); p.read.Wait() })
	if p.session, err = c.Open(t.Context(), client.Options{Watch: users, Patient: true}); err != nil {
		t.Fatal(err)
	}
	changes := p.session.Changes()
	p.read.Go(func() {
		for c := range changes {
			p.take(c)
		}
	})
	return p
}

func (p *program) take(c client.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range c.Sessions {
		switch s.Kind {
		case client.SessionOpened:
			p.opened[s.Session.ID]++
		case client.SessionClosed:
			p.closed[s.Session.ID]++
		}
	}
}

// flaps are the openings and closings that nothing explains, since the start.
func (p *program) flaps(lives map[string]*life) (found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, closed := range p.closed {
		l := lives[id]
		if l == nil {
			found = append(found, fmt.Sprintf("the Go client was told of a session %s that nobody made", id))
			continue
		}
		if opens, closes := l.explained(time.Time{}, time.Now()); closed > closes || p.opened[id] > opens {
			found = append(found, fmt.Sprintf("session %s of %s flapped: the Go client saw it open %d times and close %d times, its device explains %d and %d",
				id, l.user, p.opened[id], closed, opens, closes))
		}
	}
	return found
}

// picture is what the Go client knows.
func (p *program) picture(users []string) view {
	v := view{}
	for _, u := range users {
		known, ok := p.session.Presence(u)
		if !ok || !known.StaleSince.IsZero() {
			continue
		}
		q := person{online: known.Available, lastSeen: known.LastSeen, sessions: map[string]shown{}}
		for _, s := range known.Sessions {
			number, err := numberOf(s.Text)
			if err != nil {
				number = -1
			}
			q.sessions[s.ID] = shown{number, map[client.Show]isonlinev1.IsOnlineStatus{
				client.Online: isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_ONLINE,
				client.Away:   isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY,
				client.Busy:   isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY,
			}[s.Show]}
		}
		v[u] = q
	}
	return v
}
