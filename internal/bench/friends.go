package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The phases of the friends' load. They run in this order.
const (
	// PhaseFriends subscribes sessions to the friend lists of their users, one at
	// a time: from the call to the end of the snapshot.
	PhaseFriends = "friends"
	// PhaseListChange adds and removes friends, one at a time: from the backend's
	// request to what the watching session is told.
	PhaseListChange = "list_change"
	// PhaseBatchQuery asks for many users in one call, one call at a time.
	PhaseBatchQuery = "batch_query"
)

// The friends' load. What is online is held by the server's own sessions, so
// that 2,000 users need no connections.
const (
	onlineUsers = 2000
	// subscribedEntries is about how many friends all sessions of one size have
	// together, so that each size takes about the same time.
	subscribedEntries           = 40_000
	fewSessions, manySessions   = 5, 100
	changedList, listChanges    = 500, 500
	batchUsers, batchQueries    = 200, 1000
	requestsAtOnce              = 16
	answerLimit                 = 20 * time.Second
	presenceLife, tokensPerUser = 30 * time.Minute, 12 * time.Hour
)

// FriendSizes are the lengths of the friend lists that are measured.
func FriendSizes() []int { return []int{50, 500, 10_000} }

// FriendsConfig says what to measure. Either GRPC with HTTP or Self must be
// given, and Key and Token.
type FriendsConfig struct {
	GRPC, HTTP string // a server that runs already: loopback addresses with ports
	Self       Start  // or starts one that tells both addresses, divided by a space
	Key        string // the server key of the users' app
	// Token returns the access token of a user.
	Token func(user string, life time.Duration) (string, error)

	Sizes    []int            // lengths of friend lists; default FriendSizes
	Progress io.Writer        // where the progress bar is drawn; nil draws none
	Report   func(FriendsRow) // gets each row as its phase ends; nil drops them
}

// FriendsRow is the result of one phase; its JSON is one line of
// `bench --friends-subscription --json`. Keys that do not apply are left out.
type FriendsRow struct {
	Door    string  `json:"door"`
	Phase   string  `json:"phase"`
	Friends int     `json:"friends,omitzero"`         // length of the list
	Users   int     `json:"users,omitzero"`           // of one batch
	Count   int     `json:"count"`                    // subscriptions, changes or queries measured
	CPU     float64 `json:"cpu_ms_per_call,omitzero"` // CPU milliseconds of the server for each of them
	P50     float64 `json:"p50_ms"`                   // milliseconds
	P99     float64 `json:"p99_ms"`                   // milliseconds
}

func (c FriendsConfig) withDefaults() (FriendsConfig, error) {
	if len(c.Sizes) == 0 {
		c.Sizes = FriendSizes()
	}
	if c.Report == nil {
		c.Report = func(FriendsRow) {}
	}
	switch {
	case c.Self == nil && (c.GRPC == "" || c.HTTP == ""):
		return c, errors.New("bench: no server: give both its addresses, or let the bench start one")
	case c.Self != nil && c.GRPC != "":
		return c, errors.New("bench: give either addresses or a server to start, not both")
	case c.Token == nil || c.Key == "":
		return c, errors.New("bench: no way to get access tokens, or no server key")
	}
	for _, n := range c.Sizes {
		if n < 1 || n > 10_000 {
			return c, fmt.Errorf("bench: a friend list of %d; 1 to 10000 are possible", n)
		}
	}
	return c, nil
}

// Friends measures friend lists: subscribing to them, changing them, and
// queries of many users. It talks to loopback addresses only, is bounded in
// users and calls, and leaves neither sessions nor lists behind on a server that
// ran before. It returns the first error: a refused configuration, a server that
// refuses or takes longer than twenty seconds for one call, or the end of ctx.
func Friends(ctx context.Context, cfg FriendsConfig) (err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return err
	}
	pid := 0
	if cfg.Self != nil {
		text, child, stop, failed := cfg.Self(ctx)
		if failed != nil {
			return fmt.Errorf("bench: start the server: %w", failed)
		}
		defer func() { err = errors.Join(err, stop()) }()
		grpc, http, ok := strings.Cut(text, " ")
		if !ok {
			return fmt.Errorf("bench: the server told %q instead of two addresses", text)
		}
		cfg.GRPC, cfg.HTTP, pid = grpc, http, child
	}
	for _, addr := range []string{cfg.GRPC, cfg.HTTP} {
		if _, err := loopback(addr); err != nil {
			return err
		}
	}
	f := &friends{cfg: cfg, proc: process(pid), bar: newBar(cfg.Progress)}
	defer f.bar.end()
	defer func() { err = errors.Join(err, f.leave(context.WithoutCancel(ctx))) }()
	return f.run(ctx)
}

// friends is one call of Friends.
type friends struct {
	cfg     FriendsConfig
	proc    process // 0: a server whose CPU time is not measured
	bar     *bar
	backend backend
	devices []*friendDevice
	listed  []string // users with a list
	online  []string // users made to be online
}

func (f *friends) run(ctx context.Context) (err error) {
	if f.backend, err = newBackend(f.cfg.HTTP, f.cfg.Key); err != nil {
		return err
	}
	f.bar.begin("making users", onlineUsers)
	for i := range onlineUsers {
		f.online = append(f.online, fmt.Sprintf("bench-online-%d", i))
	}
	if err := each(ctx, f.online, requestsAtOnce, f.backend.appear, f.bar); err != nil {
		return err
	}
	for _, size := range f.cfg.Sizes {
		if err := f.subscribe(ctx, size); err != nil {
			return fmt.Errorf("bench: friends, %d: %w", size, err)
		}
	}
	if err := f.change(ctx); err != nil {
		return fmt.Errorf("bench: list change: %w", err)
	}
	if err := f.query(ctx); err != nil {
		return fmt.Errorf("bench: batch query: %w", err)
	}
	return nil
}

// leave takes back what the run made. A server that the bench started goes
// anyway.
func (f *friends) leave(ctx context.Context) error {
	for _, d := range f.devices {
		d.close()
	}
	if f.cfg.Self != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	return errors.Join(
		each(ctx, f.listed, requestsAtOnce, f.backend.forget, f.bar),
		each(ctx, f.online, requestsAtOnce, f.backend.disappear, f.bar))
}
