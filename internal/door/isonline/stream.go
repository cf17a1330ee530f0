package isonline

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/durationpb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// WriteLimit is how long one message may wait for a reader before the stream is
// ended as slow. It is below the resume window, so that every close that waited
// is still known when the device comes back.
const WriteLimit = 30 * time.Second

// sweepEvery is how often an open stream is looked at: for a writer that is
// stuck, and for silence that calls for a keep-alive.
const sweepEvery = 5 * time.Second

// drainAtOnce is how many messages one look at the watcher takes.
const drainAtOnce = 32

// causeSlow is the door's own cause of an end, beside the tracker's.
const causeSlow tracker.EndCause = 255

// Where a stream stands with the flushers.
const (
	idle    = iota // nothing waits
	waiting        // in line
	busy           // a flusher sends for it
	again          // the same, and something came since
)

// transport carries one events stream. One goroutine sends at a time.
type transport interface {
	Context() context.Context
	SendMsg(m any) error
}

// gatherer is a transport that keeps what was sent until push, so that all of it
// leaves in one write. grpc does that by itself.
type gatherer interface {
	push() error
}

// stream is one events stream: the link of its session.
type stream struct {
	door     *Door
	ref      tracker.Ref
	platform string // of the device
	watcher  *hub.Watcher
	conn     *conn
	out      transport

	// attachment names this stream to the watcher; set before anything drains.
	attachment uint64
	last       uint64 // number of the newest message; whose turn it is to send has it

	ended   chan tracker.End // room for one: the first end counts
	state   atomic.Int32     // idle, waiting, busy or again
	next    *stream          // in line; guarded by the flushers
	sending atomic.Int64     // wheel time at which the current send began; 0: none
	sent    atomic.Int64     // wheel time of the last send that returned
	failed  atomic.Bool      // a send failed: the transport is gone

	mu      sync.Mutex // guards keep, bye and timer's life
	keep    bool       // a keep-alive is due
	bye     *isonlinev1.Closing
	said    chan struct{} // closed when bye was sent, or never can be
	sweeper wheel.Timer
	over    bool
}

var _ tracker.Link = (*stream)(nil)

// LastRead is when the connection last gave a sign of life.
func (s *stream) LastRead() time.Duration { return s.conn.LastRead() }

// Shared reports whether the connection carries several users.
func (s *stream) Shared() bool { return s.conn.isShared() }

// End makes the stream end; the first end counts.
func (s *stream) End(e tracker.End) {
	select {
	case s.ended <- e:
	default:
	}
}

// wake makes sure that a flusher looks at the stream soon. It never blocks.
func (s *stream) wake() {
	for {
		switch s.state.Load() {
		case idle:
			if s.state.CompareAndSwap(idle, waiting) {
				s.door.flushers.add(s)
				return
			}
		case busy:
			if s.state.CompareAndSwap(busy, again) {
				return
			}
		default:
			return
		}
	}
}

// flush sends what waits. It reports whether more came meanwhile, so that the
// stream must go in line once more.
func (s *stream) flush() (more bool) {
	s.state.Store(busy)
	s.drain()
	if g, ok := s.out.(gatherer); ok && !s.failed.Load() {
		s.sendBegins()
		s.sendEnds(g.push())
	}
	if s.state.CompareAndSwap(busy, idle) {
		return false
	}
	s.state.Store(waiting)
	return true
}

func (s *stream) drain() {
	lent, ok := s.door.frames.Get().(*[]hub.Frame)
	if !ok {
		room := make([]hub.Frame, 0, drainAtOnce+8)
		lent = &room
	}
	defer s.door.frames.Put(lent)
	for more := true; more && !s.failed.Load(); {
		if !s.own() {
			return
		}
		var list []hub.Frame
		list, more = s.watcher.Drain(s.attachment, (*lent)[:0], drainAtOnce)
		for i := range list {
			s.last = list[i].Sequence
			if s.transmit(s.message(&list[i])) != nil {
				break
			}
		}
		clear(list)
		*lent = list[:0]
	}
}

// own sends the door's own messages that are due. It reports false when the
// stream said goodbye: nothing follows that.
func (s *stream) own() bool {
	s.mu.Lock()
	keep, bye := s.keep, s.bye
	s.keep = false
	s.mu.Unlock()
	if bye != nil {
		select {
		case <-s.said:
		default:
			s.send(s.farewellNumber(bye), &isonlinev1.ConnectToIsOnlineSessionResponse{
				Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Closing{Closing: bye},
			})
			close(s.said)
		}
		return false
	}
	if keep {
		s.send(s.watcher.Next(s.attachment), &isonlinev1.ConnectToIsOnlineSessionResponse{
			Event: &isonlinev1.ConnectToIsOnlineSessionResponse_KeepAlive{
				KeepAlive: &isonlinev1.KeepAlive{ServerTime: stamp(presence.At(s.door.now()))},
			},
		})
	}
	return true
}

// farewellNumber is the number of the closing message. When another stream took
// over, the session's numbers go on there, and this message takes none of them:
// which of the two streams is quicker must not show.
func (s *stream) farewellNumber(bye *isonlinev1.Closing) uint64 {
	if bye.GetReason() == isonlinev1.ClosingReason_CLOSING_REASON_REPLACED_STREAM {
		return s.last + 1
	}
	return s.watcher.Next(s.attachment)
}

// message is what goes to the transport for a frame of the hub.
func (s *stream) message(f *hub.Frame) any {
	if f.Mark == nil {
		return newFrame(f.Sequence, f.Body.(mem.Buffer))
	}
	m := &isonlinev1.ConnectToIsOnlineSessionResponse{Sequence: f.Sequence}
	if f.Mark.Scope == hub.ScopeEnded {
		ended := &isonlinev1.SubscriptionEnded{UserId: f.Mark.User, Reason: isonlinev1.SubscriptionEnded_UNSUBSCRIBED}
		if f.Mark.Reason == hub.EndUnfriended {
			ended.Reason = isonlinev1.SubscriptionEnded_NO_LONGER_FRIEND
		}
		m.Event = &isonlinev1.ConnectToIsOnlineSessionResponse_SubscriptionEnded{SubscriptionEnded: ended}
		return m
	}
	done := &isonlinev1.SnapshotDone{Users: uint32(f.Mark.Users)}
	switch f.Mark.Scope {
	case hub.ScopeUser:
		done.Scope = &isonlinev1.SnapshotDone_UserId{UserId: f.Mark.User}
	case hub.ScopeFriends:
		done.Scope = &isonlinev1.SnapshotDone_Friends{Friends: true}
	default:
		done.Scope = &isonlinev1.SnapshotDone_All{All: true}
	}
	m.Event = &isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone{SnapshotDone: done}
	return m
}

func (s *stream) send(sequence uint64, m *isonlinev1.ConnectToIsOnlineSessionResponse) error {
	m.Sequence, s.last = sequence, sequence
	return s.transmit(m)
}

// transmit hands one message to the transport. It blocks while the peer does
// not read; sweep watches over that, so no deadline is set here.
func (s *stream) transmit(m any) error {
	s.sendBegins()
	return s.sendEnds(s.out.SendMsg(m))
}

func (s *stream) sendBegins() { s.sending.Store(int64(s.door.cfg.Wheel.Now())) }

func (s *stream) sendEnds(err error) error {
	s.sending.Store(0)
	s.sent.Store(int64(s.door.cfg.Wheel.Now()))
	if err != nil {
		s.failed.Store(true)
	}
	return err
}

// timeout is how long the session lives without a sign of life. The app may be
// served no more: what is open in it lives on.
func (s *stream) timeout() time.Duration {
	return s.door.cfg.Tracker.PolicyOn(s.ref.User.App, s.platform).HeartbeatTimeout
}

// watch starts the sweeps.
func (s *stream) watch() {
	s.sweeper.Fire = s.sweep
	s.door.cfg.Wheel.Set(&s.sweeper, sweepEvery)
}

// sweep ends a stream whose reader is stuck and keeps a silent one alive.
func (s *stream) sweep() {
	now := s.door.cfg.Wheel.Now()
	if began := s.sending.Load(); began != 0 && now-time.Duration(began) >= WriteLimit {
		s.End(tracker.End{Cause: causeSlow})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	interval := tracker.Interval(s.timeout())
	if now-time.Duration(s.sent.Load()) >= interval-sweepEvery/2 {
		s.keep = true
		s.wake()
	}
	s.door.cfg.Wheel.Set(&s.sweeper, min(sweepEvery, interval))
}

// sayGoodbye sends the closing message after what is being sent, and waits for
// it no longer than farewell: who does not read must not hold up an end.
func (s *stream) sayGoodbye(c *isonlinev1.Closing) {
	s.mu.Lock()
	s.bye, s.said = c, make(chan struct{})
	said := s.said
	s.mu.Unlock()
	s.wake()
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-said:
	case <-timer.C:
	case <-s.out.Context().Done():
	}
}

// detach takes the stream off its session's watcher, unless another stream has
// taken over by then.
func (s *stream) detach() {
	s.mu.Lock()
	s.over = true
	s.door.cfg.Wheel.Clear(&s.sweeper)
	s.mu.Unlock()
	s.watcher.Detach(s.attachment)
}

func durationOf(d time.Duration) *durationpb.Duration { return durationpb.New(d) }
