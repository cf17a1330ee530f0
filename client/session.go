package client

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Session begins with. The zero value is online, without a
// word and watching nobody.
type Options struct {
	Status Status
	Watch  []string // users
	// Friends watches the user's friends too: those on the list that the server
	// has of him, whoever they are by then. A list that cannot be read does not
	// keep the session from opening: see ChangeFriendsDown.
	Friends bool
	// Patient keeps trying when the server cannot be reached at first, until
	// Open's context ends. Without it Open returns the first failure.
	Patient bool
	// Heartbeat makes the session call Heartbeat regularly. It is needed only
	// where something between here and the server carries several users over
	// one connection; otherwise any byte is a sign of life.
	Heartbeat bool
}

// Session is the user being online on this device, and told of others. All its
// methods may be called from any goroutine.
//
// What Set, SetPartial, Watch, Unwatch, WatchFriends and UnwatchFriends ask for is kept when they fail for a
// while only: they return an [Error] whose Temporary is true, and the server is
// told as soon as it can be, the newest wish of each kind. Any other error means
// that nothing changed. A call without an answer ends after 15 s, or with its
// context.
type Session struct {
	client *Client
	opts   Options
	stop   context.CancelFunc
	done   chan struct{} // closed when the session is over

	leaving atomic.Bool   // Leave or Logout was called: no more attempts
	turn    chan struct{} // capacity 1; held while telling the server what is wanted, so that both agree on the order
	work    sync.WaitGroup

	mu    sync.Mutex // guards all below
	link  link
	wants wants
	pic   picture
	queue queue
	err   error // why it is over
}

// link is what is known of the connection to the server.
type link struct {
	token     string // of the session; "" when there is none
	heartbeat time.Duration
	batch     int    // the most users in one call; 0: the server did not say
	id        string // public, of the session
	up        bool
	cut       context.CancelCauseFunc // ends the stream; nil when there is none
	retell    func(error)             // tells later what is owed, after the given failure; nil while the link is down
}

// Open makes a session and returns when it is connected: from then on the user
// is online. ctx bounds the opening only; the session lasts until Leave, Logout
// or Close is called, or until Done. It lasts through losses of the link and
// restarts of the server.
//
// Open fails with an [Error] such as ReasonJWTInvalid, ReasonFieldInvalid or
// ReasonWatchRejected, with the error of Config.Token, or with ErrClosed.
func (c *Client) Open(ctx context.Context, o Options) (*Session, error) {
	if err := o.Status.check(); err != nil {
		return nil, err
	}
	if err := checkUsers(o.Watch); err != nil {
		return nil, err
	}
	s := &Session{
		client: c, opts: o, done: make(chan struct{}), turn: make(chan struct{}, 1),
		wants: newWants(o), pic: newPicture(), queue: newQueue(),
	}
	// The session outlives this call on purpose; Close ends it.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	opened := make(chan error, 1)
	k := &keeper{s: s, opened: opened}
	if !c.enter(s, func() { k.run(run) }) {
		stop()
		return nil, ErrClosed
	}
	select {
	case err := <-opened:
		if err != nil {
			s.Close()
			return nil, err
		}
		return s, nil
	case <-ctx.Done():
		s.Close()
		// A failed attempt says more than the end of our patience.
		return nil, k.unopened(ctx)
	}
}

// Changes returns the channel of news, always the same one. It begins with the
// snapshot of whoever is watched. It is closed when the session is over; Err
// says why, and news not yet read then are not delivered any more (Presence
// still has them).
//
// A reader that is slow is late but never wrong: what waits for it is at most
// one Change for each user (and one for the link), which always holds the
// newest picture, and in Sessions the steps from what it read last. It never
// holds up the session. A session whose Changes are never read costs no more.
func (s *Session) Changes() <-chan Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.queue.read {
		s.queue.read = true
		if s.err != nil {
			close(s.queue.out)
		} else {
			s.work.Go(s.deliver)
		}
	}
	return s.queue.out
}

// deliver hands over changes until the session is over.
func (s *Session) deliver() {
	out, wake := s.queue.out, s.queue.wake // never reassigned
	defer close(out)
	for {
		s.mu.Lock()
		c, ok := s.queue.pop()
		s.mu.Unlock()
		if !ok {
			select {
			case <-wake:
			case <-s.done:
				return
			}
			continue
		}
		select {
		case out <- c:
		case <-s.done:
			return
		}
	}
}

// Presence returns what is known of a watched user. ok is false for a user who
// is not watched, or of whom the server told nothing yet. While the link is
// down it returns the last that was known, with StaleSince set.
func (s *Session) Presence(user string) (p Presence, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pic.presence(user)
}

// Known lists the users of whom something is known, in alphabetical order: the
// watched, and the friends while they are watched.
func (s *Session) Known() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.pic.people))
}

// Watched lists the users that are watched by name, in alphabetical order.
func (s *Session) Watched() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wants.users()
}

// Status returns the status that was last asked for.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wants.wish().clone()
}

// ID returns the session's public id, by which others see it. It changes only
// when the server forgot the session and a new one was made.
func (s *Session) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.id
}

// Connected reports whether the link to the server is up.
func (s *Session) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.up
}

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session is over: nil while it is not, ErrClosed after
// Leave, Logout or Close, or an [Error] that trying again would not help
// against, such as ReasonReplacedStream or ReasonSessionClosed.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Leave says goodbye for this device: the user goes offline here at once, and
// stays logged in. The session is over when it returns, whatever it returns;
// with an error the server was not reached and finds out by itself within its
// grace period.
func (s *Session) Leave(ctx context.Context) error { return s.goodbye(ctx, false) }

// Logout is Leave for a user who logs out.
func (s *Session) Logout(ctx context.Context) error { return s.goodbye(ctx, true) }

func (s *Session) goodbye(ctx context.Context, logout bool) error {
	if s.leaving.Swap(true) {
		s.Close()
		return ErrClosed
	}
	defer s.Close()
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.finish()
	s.mu.Lock()
	token := s.link.token
	s.mu.Unlock()
	if token == "" {
		return nil
	}
	err := s.client.door.end(ctx, token, logout)
	if sessionLost(ReasonOf(err)) {
		return nil
	}
	return err
}

// Close lets go of the session without a word, as if the link were lost: the
// user stays online for the server's grace period, so that a program that
// starts again at once is not seen leaving. It returns when everything of the
// session has ended; closing twice, or after Leave, is harmless.
func (s *Session) Close() {
	s.stop()
	s.work.Wait()
}

// begin takes the turn to tell the server something.
func (s *Session) begin(ctx context.Context) error {
	select {
	case <-s.done:
		return s.Err()
	default:
	}
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		return ended(ctx, "waiting for an earlier call of this session")
	}
}

func (s *Session) finish() { <-s.turn }
