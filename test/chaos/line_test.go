package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

type (
	frame  = isonlinev1.ConnectToIsOnlineSessionResponse
	notice = isonlinev1.IsOnlineNotification
)

// told is one notification as a watcher got it.
type told struct {
	at time.Time
	*notice
}

// line is one events stream and what came on it.
type line struct {
	connected *isonlinev1.Connected
	cut       context.CancelFunc
	done      chan struct{} // closed when the stream ended
	keep      bool          // keep all notices, not only of whom
	ear       *ledger       // adds notices up; nil: it does not

	mu       sync.Mutex // guards all below
	sequence uint64     // of the last frame
	whom     map[string]bool
	newest   map[string]int // number of the status last told, by session
	notices  []told
	whole    bool // the snapshot of all that is watched is complete
	bad      error
	err      error // why it ended
	over     time.Time
}

// open connects a stream and reads its first frame; the rest is read by a
// goroutine of its own until the stream ends.
func (d *device) open(ctx context.Context, req *isonlinev1.ConnectToIsOnlineSessionRequest) (*line, error) {
	ctx, cut := context.WithCancel(d.w.as(ctx, d.user))
	guard := time.AfterFunc(callLimit, cut)
	defer guard.Stop()
	stream, err := d.stub.ConnectToIsOnlineSession(ctx, req)
	var first *frame
	if err == nil {
		first, err = stream.Recv()
	}
	if err != nil {
		cut()
		return nil, err
	}
	l := &line{connected: first.GetConnected(), cut: cut, done: make(chan struct{}), keep: d.keep && d.ear == nil, ear: d.ear, whom: map[string]bool{}, newest: map[string]int{}, sequence: first.GetSequence()}
	if l.connected == nil {
		cut()
		return nil, fmt.Errorf("the stream begins with %T, not with connected", first.GetEvent())
	}
	if req.ResumeAfter != nil && first.GetSequence() != req.GetResumeAfter()+1 {
		l.bad = fmt.Errorf("a stream resumed after %d goes on with %d", req.GetResumeAfter(), first.GetSequence())
	}
	if l.ear != nil && l.connected.GetResync() {
		l.ear.resync()
	}
	go func() {
		defer close(l.done)
		for {
			f, err := stream.Recv()
			if err != nil {
				l.mu.Lock()
				l.err, l.over = err, time.Now()
				l.mu.Unlock()
				return
			}
			l.take(f)
		}
	}()
	return l, nil
}

// take notes one frame.
func (l *line) take(f *frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.GetSequence() != l.sequence+1 && l.bad == nil {
		l.bad = fmt.Errorf("frame %d follows frame %d", f.GetSequence(), l.sequence)
	}
	l.sequence = f.GetSequence()
	switch e := f.GetEvent().(type) {
	case *isonlinev1.ConnectToIsOnlineSessionResponse_Notification:
		l.whom[e.Notification.GetUserId()] = true
		if s := e.Notification.GetSession(); s != nil {
			l.newest[s.GetSessionId()], _ = numberOf(s.GetRichText())
		}
		if l.ear != nil {
			l.ear.hear(e.Notification)
		}
		if l.keep {
			l.notices = append(l.notices, told{time.Now(), e.Notification})
		}
	case *isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone:
		l.whole = l.whole || e.SnapshotDone.GetAll()
	}
}

// end cuts the stream and waits until it has ended.
func (l *line) end() {
	l.cut()
	<-l.done
}

// tells reports whether a notice of the user came.
func (l *line) tells(user string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.whom[user]
}

func (l *line) last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sequence
}

// fault is what broke the rules of the stream's numbers, or nil.
func (l *line) fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bad
}

// all returns the notices so far.
func (l *line) all() []told {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notices[:len(l.notices):len(l.notices)]
}

// endedAt is when it ended; zero: it has not.
func (l *line) endedAt() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// ended returns why the stream ended; ok is false while it has not.
func (l *line) ended() (err error, ok bool) {
	select {
	case <-l.done:
		return l.err, true
	default:
		return nil, false
	}
}
