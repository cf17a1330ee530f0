package topic

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// QueueSize is how many messages wait for one subscription at most.
const QueueSize = 256

// keptQueue is how much room for messages an idle subscription keeps.
const keptQueue = 4

// ErrSlow: more messages waited than QueueSize; the subscription got none since.
// The door closes the connection, and who comes again subscribes again.
var ErrSlow = errors.New("topic: the subscriber reads slower than messages come")

// appTopics are the subscribed topics of an app.
type appTopics struct {
	subscriptions atomic.Int64
	mu            sync.RWMutex // guards all below
	crowds        map[string]*crowd
	users         map[presence.UserID][]*Subscription // of those who may not see everybody
}

// crowd are the subscriptions of one topic.
type crowd struct {
	name    string
	mu      sync.RWMutex // guards members, and the index of their places
	members []member
}

// member is a subscription, and the number of its place in the crowd.
type member struct {
	s     *Subscription
	place int
}

// place is where a subscription stands in a crowd.
type place struct {
	crowd *crowd
	index int
}

// Subscription is one subscriber's queue. Its methods may be called from any
// goroutine; one at a time drains.
type Subscription struct {
	topics *Topics
	app    *appTopics
	user   presence.User // who may not see everybody; ID "" when he may
	wake   func()
	places []place

	mu    sync.Mutex // guards all below
	queue []*Message
	awake bool // wake was called, and no Drain came back empty since
	ended bool // slow, or closed
	// hidden are users who went out of the subscriber's sight.
	hidden map[presence.UserID]struct{}
}

// Params are what a subscription begins with.
type Params struct {
	App presence.AppID
	// User is who subscribes; what he may not see is not for him. "" sees
	// everybody.
	User   presence.UserID
	Topics []string // each once; CheckTopics says what may stand there
	// Wake says that something waits: it is called at most once between two Drains
	// that came back empty. It must not block, nor call back into this package on
	// the same goroutine.
	Wake func()
}

// Subscribe begins a subscription: what is published from now on waits for its
// Drain. It gives no snapshot: read with Get, after it.
func (t *Topics) Subscribe(p Params) *Subscription {
	s := &Subscription{topics: t, app: t.app(p.App), wake: p.Wake}
	if p.User != "" && t.cfg.Seer != nil {
		s.user = presence.User{App: p.App, ID: p.User}
	}
	seen := make(map[string]struct{}, len(p.Topics))
	s.places = make([]place, 0, len(p.Topics))
	s.app.subscriptions.Add(1) // before it is in a crowd: see Changed
	for _, name := range p.Topics {
		if _, twice := seen[name]; !twice {
			seen[name] = struct{}{}
			s.app.enter(name, s)
		}
	}
	if s.user.ID != "" {
		s.app.mu.Lock()
		defer s.app.mu.Unlock()
		s.app.users[s.user.ID] = append(s.app.users[s.user.ID], s)
	}
	return s
}

func (t *Topics) app(id presence.AppID) *appTopics {
	if a := t.known(id); a != nil {
		return a
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.apps[id]
	if a == nil {
		a = &appTopics{crowds: map[string]*crowd{}, users: map[presence.UserID][]*Subscription{}}
		t.apps[id] = a
	}
	return a
}

// known is app, or nil when nobody ever subscribed in it.
func (t *Topics) known(id presence.AppID) *appTopics {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.apps[id]
}

// enter puts s into a crowd, which it makes when it is the first.
func (a *appTopics) enter(name string, s *Subscription) {
	a.mu.Lock() // held to the end, or leave may take the crowd away in between
	defer a.mu.Unlock()
	c := a.crowds[name]
	if c == nil {
		c = &crowd{name: name}
		a.crowds[name] = c
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.places = append(s.places, place{c, len(c.members)})
	c.members = append(c.members, member{s, len(s.places) - 1})
}

// leave takes a subscription out of the crowd of one of its places.
func (a *appTopics) leave(p *place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := p.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.members) - 1
	moved := c.members[last]
	c.members[p.index] = moved
	moved.s.places[moved.place].index = p.index
	c.members[last] = member{}
	if c.members = c.members[:last]; last == 0 {
		delete(a.crowds, c.name)
	}
}

// Close ends the subscription: nothing waits for it any more, and wake is not
// called again once it returned. Call it once.
func (s *Subscription) Close() {
	for i := range s.places {
		s.app.leave(&s.places[i])
	}
	s.app.subscriptions.Add(-1)
	s.app.forget(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.ended, s.awake = nil, true, true
}

// forget takes a subscription from those of its user.
func (a *appTopics) forget(s *Subscription) {
	if s.user.ID == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(a.users[s.user.ID]), func(o *Subscription) bool { return o == s })
	if a.users[s.user.ID] = left; len(left) == 0 {
		delete(a.users, s.user.ID)
	}
}

// Drain appends up to limit messages of what waits to dst. more says that
// something is left; when it is false the next message wakes. After ErrSlow
// nothing comes any more: Close it.
func (s *Subscription) Drain(dst []*Message, limit int) (_ []*Message, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return dst, false, ErrSlow
	}
	n := min(limit, len(s.queue))
	dst = append(dst, s.queue[:n]...)
	clear(s.queue[:n]) // else they are kept as long as the last
	if more = n < len(s.queue); more {
		s.queue = s.queue[n:]
		return dst, true, nil
	}
	if s.queue = s.queue[:0]; cap(s.queue) > keptQueue {
		s.queue = nil
	}
	s.awake = false
	return dst, false, nil
}

// Deliver brings a message to the subscribers of this node. It is where messages
// of other nodes come in, in the order in which they were told. It never blocks
// on a subscriber.
func (t *Topics) Deliver(m *Message) {
	a := t.known(m.App)
	if a == nil || m.Revision > 0 && !t.order.passes(m) {
		return
	}
	t.published.Add(1)
	a.mu.RLock()
	c := a.crowds[m.Topic]
	a.mu.RUnlock()
	if c == nil {
		return
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	delivered := uint64(0)
	for i := range c.members {
		if s := c.members[i].s; t.sees(s, m.User) && s.push(m) {
			delivered++
		}
	}
	t.delivered.Add(delivered)
}

// sees says whether a subscriber may see a user.
func (t *Topics) sees(s *Subscription, user presence.UserID) bool {
	if s.user.ID == "" {
		return true
	}
	sight := t.cfg.Seer.Sight(s.user)
	if sight == nil {
		return true
	}
	visible, _, _ := sight.Of(user)
	return visible
}

// push puts a message into the queue; false when it has ended.
func (s *Subscription) push(m *Message) bool {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return false
	}
	fits := len(s.queue) < QueueSize
	if fits {
		s.queue = append(s.queue, m)
	} else {
		s.queue, s.ended = nil, true
		s.topics.slow.Add(1)
	}
	wake := !s.awake || !fits
	s.awake = true
	s.mu.Unlock()
	if wake {
		s.wake()
	}
	return fits
}
