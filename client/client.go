package client

import (
	"context"
	"log/slog"
	"sync"
)

// chunk is how many users go into one call: the server's default bound of a
// batch (protocol note A5).
const chunk = 200

// Client speaks for one user to one server. All its methods may be called from
// any goroutine. It connects when it is first needed, and its sessions and
// queries share one connection.
type Client struct {
	cfg  Config
	log  *slog.Logger
	door door

	mu       sync.Mutex // guards all below
	sessions map[*Session]struct{}
	closed   bool
}

// New checks cfg and returns a Client. It does not connect, so it cannot tell
// whether a server is there. Close it when done.
func New(cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Backoff = cfg.Backoff.withDefaults()
	c := &Client{cfg: cfg, log: cfg.Logger, sessions: map[*Session]struct{}{}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if cfg.live() {
		c.door = newLiveDoor(&cfg)
	} else {
		c.door = newGRPCDoor(&cfg)
	}
	return c, nil
}

// Query asks once for the presence of users and needs no session, save at the
// live door, where it goes over the connection of one that is open: one Presence
// for each, in the order asked. Somebody nobody ever heard of is simply not
// available. More than 200 users take several calls, one after the other; the
// first failure ends the query. A call that gets no answer ends after 15 s, or
// with ctx.
func (c *Client) Query(ctx context.Context, users ...string) ([]Presence, error) {
	if err := checkUsers(users); err != nil {
		return nil, err
	}
	found := make([]Presence, 0, len(users))
	for part := range chunks(users) {
		p, err := c.door.query(ctx, part)
		if err != nil {
			return nil, err
		}
		found = append(found, p...)
	}
	return found, nil
}

// Close lets go of all sessions as Session.Close does, and of the connection.
// Calls under way fail. Closing twice is harmless.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	open := make([]*Session, 0, len(c.sessions))
	for s := range c.sessions {
		open = append(open, s)
	}
	c.mu.Unlock()
	for _, s := range open {
		s.Close()
	}
	return c.door.close()
}

// enter notes a session and starts its run, unless the Client is closed. Both
// happen under one lock, so that Close waits for what was started.
func (c *Client) enter(s *Session, run func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.sessions[s] = struct{}{}
	s.work.Go(run)
	return true
}

func (c *Client) leave(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}
