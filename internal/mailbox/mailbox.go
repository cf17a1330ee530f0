package mailbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// defaultText is how many bytes of messages' texts are kept in memory.
	defaultText = 64 << 20

	// maxWaiting bounds what waits to be stored, in bytes: some seconds of a store
	// that does not answer.
	maxWaiting = 32 << 20

	// retryAfter is what callers are told when the store does not take messages.
	retryAfter = time.Second
)

// Config is what mailboxes need; Store is required.
type Config struct {
	Store store.Mailboxes
	// TextBytes bounds the texts of messages kept in memory; 64 MB if zero.
	TextBytes int64
	// Tell, when not nil, tells the other nodes of an entry of the stream that this
	// one has stored, for their Stored; raw is nil when it is to be read. It keeps
	// neither raw nor the caller waiting.
	Tell func(sequence uint64, raw []byte)
	// Mine reports whether this node is the one of all that cuts the stream and
	// writes anew what stands in the way; nil: it is alone.
	Mine func() bool
	// Takes reports, with an error, that what a server says may be old here: it is not
	// put then. Nil: it never is.
	Takes  func() error
	Logger *slog.Logger // nil drops what is logged
}

// Mailboxes are those of all users. Make them with New; Start them before the
// first call.
type Mailboxes struct {
	cfg   Config
	log   *slog.Logger
	wake  chan struct{}
	ctx   context.Context // of the goroutines; set by Start
	stop  context.CancelFunc
	ended chan struct{} // closed when the goroutine of run has ended
	feeds sync.WaitGroup
	cutAt uint64 // the stream was cut before it; only the goroutine of run uses it

	mu sync.Mutex // guards all below; never held while the store is called
	index
	waiting []*change
	queued  int // bytes of waiting
	storing bool
	closing bool
	heard   []entryTold // by other nodes, not folded yet
	behind  bool        // others have stored what is to be read
	handed  []*box      // of which something is to be taken away
	windows []window    // in the order of their ends
	takers  int
	scrub   uint64    // entries through this one must be written anew: somebody in them was erased
	due     time.Time // when to begin with that
	stats   Stats
}

// Stats counts what mailboxes do.
type Stats struct {
	Messages int   // in queues
	Bytes    int64 // of them, on disk
	Stored   int64 // bytes that the stream takes, with what has gone and is not cut yet
	Text     int64 // bytes of texts in memory
	Takers   int
	Waiting  int // calls that are not stored yet

	Put     uint64 // messages stored since the start
	Entries uint64 // entries they and all else were stored in, since the start
	Moved   uint64 // messages written anew since the start
	Refused uint64 // calls refused by the store, since the start
}

// change is a call on its way into the stream.
type change struct {
	records []record
	bytes   int
	sizes   []int // of the puts' queues, one for each record
	done    chan error
}

// New checks cfg; nothing is read before Start.
func New(cfg Config) (*Mailboxes, error) {
	if cfg.Store == nil {
		return nil, errors.New("mailbox: a store is needed")
	}
	if cfg.TextBytes <= 0 {
		cfg.TextBytes = defaultText
	}
	if cfg.Takes == nil {
		cfg.Takes = func() error { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Mailboxes{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), ended: make(chan struct{}), index: newIndex(cfg.TextBytes)}, nil
}

// Start reads the stream.
func (m *Mailboxes) Start(ctx context.Context) error {
	began := time.Now()
	if _, err := m.catchUp(ctx, 0); err != nil {
		return fmt.Errorf("mailbox: cannot read the mailboxes: %w", err)
	}
	m.ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx)) // lives until Stop
	m.log.Debug("mailboxes are read", "messages", m.count, "bytes", m.total, "took", time.Since(began))
	go m.run(m.ctx)
	return nil
}

// Stop takes no more calls and stores what waits, until ctx ends.
func (m *Mailboxes) Stop(ctx context.Context) error {
	if m.stop == nil {
		return nil
	}
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()
	m.poke()
	var err error
	select {
	case <-m.ended:
	case <-ctx.Done():
		err = fmt.Errorf("mailbox: stopped with calls that may not be stored: %w", ctx.Err())
	}
	m.stop()
	<-m.ended
	m.feeds.Wait()
	return err
}

// Put puts messages into their queues, all of them or, after an error, none; only
// if the store does not answer they may be put all the same, and a repetition with
// the same ids puts none twice. It returns after they are on disk, with a receipt
// for each in its order. Errors are faults: FIELD_INVALID names the item as
// "items[3].message", LOG_UNAVAILABLE is worth another try. It fails with what
// Config.Takes says, too.
func (m *Mailboxes) Put(ctx context.Context, items []Item) ([]Receipt, error) {
	if err := checkAll(items); err != nil {
		return nil, err
	}
	if err := m.cfg.Takes(); err != nil {
		return nil, err
	}
	receipts := make([]Receipt, len(items))
	c := &change{records: make([]record, len(items)), done: make(chan error, 1)}
	need := map[presence.AppID]int64{}
	for i := range items {
		it := &items[i]
		if receipts[i].ID = it.ID; it.ID == "" {
			receipts[i].ID = rand.Text()
		}
		body := appendBody(nil, &Message{ID: receipts[i].ID, Alias: it.Alias, Source: it.Source, Text: it.Text, Action: it.Action})
		c.records[i] = record{kind: recordPut, user: it.User, publisher: it.Publisher, life: lifeOf(it.TTL), body: body, hash: hashID(receipts[i].ID)}
		need[it.User.App] += int64(c.records[i].cost())
	}
	if err := m.room(need); err != nil {
		return nil, err
	}
	if err := m.do(ctx, c); err != nil {
		return nil, err
	}
	for i := range receipts {
		receipts[i].Size = c.sizes[i]
	}
	return receipts, nil
}

// lifeOf is a time to live in milliseconds; one that is over at once lives for one.
func lifeOf(ttl time.Duration) uint64 {
	if ttl == 0 {
		return 0
	}
	return uint64(max(1, ttl.Milliseconds()))
}

// room refuses what would fill the stream: two fifths of it are for what lives, of
// which one app may take half, and the rest for what is being written anew.
func (m *Mailboxes) room(need map[presence.AppID]int64) error {
	limit := m.cfg.Store.MailLimit()
	most := limit * 2 / 5
	m.mu.Lock()
	defer m.mu.Unlock()
	all, stored := m.live, m.total+int64(m.queued)
	for app, n := range need {
		all, stored = all+n, stored+n
		if m.byApp[app]+n > most/2 {
			return fault.Retry(fault.LogUnavailable, time.Minute, "the mailboxes of app %s are full (%d MB): wait until users have come or messages have expired", app, most/2>>20)
		}
	}
	if all > most {
		return fault.Retry(fault.LogUnavailable, time.Minute, "the mailboxes are full (%d MB): wait until users have come or messages have expired", most>>20)
	}
	if stored > limit/8*fullFrom {
		return fault.Retry(fault.LogUnavailable, retryAfter, "what has gone from the mailboxes is being cleared away; try again")
	}
	return nil
}

// Purge empties a publisher's queue for a user, and returns when that is on disk.
// What connections have been given and have not taken is not told any more.
func (m *Mailboxes) Purge(ctx context.Context, user presence.User, publisher string) error {
	return m.do(ctx, &change{done: make(chan error, 1), records: []record{{kind: recordPurge, user: user, publisher: publisher}}})
}

// Erase empties all queues of a user, and returns when that is on disk. What the
// stream still holds of him is unreadable to everybody and is written over from
// scrubDelay on.
func (m *Mailboxes) Erase(ctx context.Context, user presence.User) error {
	m.mu.Lock()
	never := m.total == 0 && len(m.waiting) == 0 && !m.storing && m.cfg.Tell == nil
	m.mu.Unlock()
	if never {
		return nil
	}
	return m.do(ctx, &change{done: make(chan error, 1), records: []record{{kind: recordErase, user: user}}})
}

// Size is how many messages a queue has now.
func (m *Mailboxes) Size(user presence.User, publisher string) int {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[user]
	if b == nil || b.queues[publisher] == nil {
		return 0
	}
	n := 0
	for _, h := range b.queues[publisher].held {
		if !h.dead(now) {
			n++
		}
	}
	return n
}

// Stats returns the counts of this moment.
func (m *Mailboxes) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Messages, s.Bytes, s.Stored, s.Text = m.count, m.live, m.total, m.text
	s.Takers, s.Waiting = m.takers, len(m.waiting)
	return s
}

// do hands a change over and waits until it is on disk.
func (m *Mailboxes) do(ctx context.Context, c *change) error {
	for i := range c.records {
		c.bytes += int(c.records[i].cost())
	}
	m.mu.Lock()
	switch {
	case m.closing || m.stop == nil:
		m.mu.Unlock()
		return fault.Retry(fault.LogUnavailable, retryAfter, "the mailboxes of this node are not open")
	case m.queued+c.bytes > maxWaiting && len(m.waiting) > 0:
		m.mu.Unlock()
		return fault.Retry(fault.LogUnavailable, retryAfter, "too many messages wait to be stored")
	}
	m.waiting = append(m.waiting, c)
	m.queued += c.bytes
	m.mu.Unlock()
	m.poke()
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return fault.Retry(fault.LogUnavailable, retryAfter, "the store did not answer in time; what was asked may be done or not")
	}
}

// poke makes the goroutine look at what waits.
func (m *Mailboxes) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// spawn runs f beside, until Stop. The lock is held.
func (m *Mailboxes) spawn(f func(ctx context.Context)) {
	if m.closing || m.ctx == nil {
		return
	}
	m.feeds.Add(1)
	go func() {
		defer m.feeds.Done()
		f(m.ctx)
	}()
}

// now is the wall clock: messages live across restarts.
func (m *Mailboxes) now() presence.Time { return presence.At(time.Now()) }
