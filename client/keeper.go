package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// connectTimeout is how long the first frame of a stream may take. The server
// stores an opening within 10 s or refuses.
const connectTimeout = 15 * time.Second

// A stream is told something at least once in each heartbeat interval. After so
// many silent ones it is dead, even if something in between keeps it open.
const silentIntervals = 3

// Why this end cut a stream.
var (
	errSilent   = &Error{Code: CodeUnavailable, Detail: "the server was silent for too long"}
	errDetached = &Error{Code: CodeUnavailable, Detail: "the server has no stream of this session"}
)

// keeper keeps a session's link alive; only its own goroutine touches it.
type keeper struct {
	s        *Session
	opened   chan<- error  // capacity 1; told once, then nil
	sequence uint64        // of the last frame; 0 on a new session
	silence  time.Duration // after which a stream is dead; 0: never
	key      string        // of the session being made, so that a second try makes no second one
	watched  bool          // the server has the watches of the session being made
	fresh    bool          // the session was never connected
	restate  bool          // the server may have lost what is wanted
	failures int           // in a row
	swift    bool          // one attempt without a pause was made since the link last held
	last     error         // of the last attempt
}

// run holds the link until the session is over.
func (k *keeper) run(ctx context.Context) {
	backoff := k.s.client.cfg.Backoff
	for {
		up, err := k.hold(ctx)
		if ctx.Err() == nil {
			k.last = err
		}
		if k.s.leaving.Load() {
			<-ctx.Done() // goodbye is being said, and then closes
		}
		if ctx.Err() != nil {
			k.end(ErrClosed)
			return
		}
		if !up.IsZero() && time.Since(up) >= backoff.Healthy {
			k.failures, k.swift = 0, false
		}
		again, pause := k.judge(err)
		if !again || k.opened != nil && !(k.s.opts.Patient && temporary(err)) {
			k.end(err)
			return
		}
		k.down(err, pause)
		if pause > 0 && !wait(ctx, pause) {
			k.end(ErrClosed)
			return
		}
	}
}

// wait returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// judge says whether trying again makes sense, and after what pause. An
// attempt without a pause is made once for each time the link held: a server
// that refuses at once must not make us run in circles.
func (k *keeper) judge(err error) (again bool, pause time.Duration) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{}
	}
	swift := false
	switch {
	case e.definite(), errors.Is(err, ErrClosed):
		return false, 0
	case sessionLost(e.Reason):
		k.lose()
		swift = true
	case e.Reason == ReasonResumeFromFuture:
		k.sequence, k.restate = 0, true
		swift = true
	case e.Reason == ReasonJWTExpired:
		swift = true
	}
	if swift && !k.swift && e.RetryAfter == 0 {
		k.swift = true
		return true, 0
	}
	k.failures++
	return true, k.s.client.cfg.Backoff.pause(k.failures, e.RetryAfter)
}

// lose forgets the session, so that the next attempt makes a new one.
func (k *keeper) lose() {
	k.sequence, k.watched, k.restate, k.key = 0, false, false, ""
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link.token = ""
}

// down marks the link as lost, and says so once to the reader.
func (k *keeper) down(err error, pause time.Duration) {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.link.up {
		s.client.log.Info("presence link still down", "error", err, "next_attempt_in", pause)
		return
	}
	s.client.log.Warn("presence link lost", "error", err, "next_attempt_in", pause)
	s.link.up = false
	s.pic.lostAt = time.Now()
	s.queue.push(Change{Kind: ChangeLinkDown, At: s.pic.lostAt, Err: err})
}

// end makes the session over.
func (k *keeper) end(err error) {
	s := k.s
	s.stop() // nothing of ours is left under this context, but its parent may live long
	s.mu.Lock()
	if s.link.up && !errors.Is(err, ErrClosed) {
		s.client.log.Warn("presence session over", "error", err)
	}
	s.link.up = false
	s.pic.lostAt = time.Now()
	s.err = err
	s.mu.Unlock()
	s.client.leave(s)
	close(s.done)
	k.tell(err)
}

// tell answers Open, once.
func (k *keeper) tell(err error) {
	if k.opened != nil {
		k.opened <- err
		k.opened = nil
	}
}

// unopened is Open's error when ctx ended before the session was open. The
// keeper must have ended.
func (k *keeper) unopened(ctx context.Context) error {
	err := ended(ctx, "opening a session")
	if k.last == nil {
		return err
	}
	return fmt.Errorf("%w; the last attempt: %w", err, k.last)
}

// hold makes the session if there is none, connects to it, and takes in what
// comes until the stream ends. It returns when the link came up (zero: never)
// and why it ended, which is never nil.
func (k *keeper) hold(ctx context.Context) (up time.Time, err error) {
	s := k.s
	token, err := k.session(ctx)
	if err != nil {
		return up, err
	}
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	guard := time.AfterFunc(connectTimeout, func() { cut(errSilent) })
	defer guard.Stop()
	s.mu.Lock()
	s.link.cut = cut
	status, version := s.wants.status, s.wants.version
	if h := s.link.heartbeat; h > 0 {
		k.silence = silentIntervals * h
	}
	s.mu.Unlock()

	st, first, err := s.client.door.connect(ctx, token, status, k.sequence)
	if err != nil {
		return up, cause(ctx, err)
	}
	if first.closing != nil {
		return up, k.closed(st, first.closing)
	}
	if first.connected == nil {
		return up, &Error{Code: CodeInternal, Detail: "the stream does not begin with connected"}
	}
	up = time.Now()
	k.alive(guard, &first)
	if s.opts.Heartbeat {
		var beats sync.WaitGroup
		beats.Go(func() { s.beat(ctx) })
		defer beats.Wait()
		defer cut(nil)
	}
	if err = k.welcome(ctx, token, first.connected, version); err == nil {
		err = k.receive(st, guard)
	}
	return up, cause(ctx, err)
}

// receive takes in frames until the stream ends.
func (k *keeper) receive(st *stream, guard *time.Timer) error {
	for {
		f, err := st.next()
		if err != nil {
			return err
		}
		k.alive(guard, &f)
		if f.closing != nil {
			return k.closed(st, f.closing)
		}
		k.take(&f)
	}
}

// alive notes that f came.
func (k *keeper) alive(guard *time.Timer, f *frame) {
	if k.silence > 0 {
		guard.Reset(k.silence)
	} else {
		guard.Stop()
	}
	if f.sequence > 0 {
		k.sequence = f.sequence
	}
}

// cause prefers why this end cut the stream to what the cut looked like.
func cause(ctx context.Context, err error) error {
	var e *Error
	if c := context.Cause(ctx); errors.As(c, &e) {
		return c
	}
	return err
}

// session returns the token of the session, which it makes first if need be,
// together with its watches: what is subscribed before Connect misses nothing.
func (k *keeper) session(ctx context.Context) (token string, err error) {
	s := k.s
	if err := s.begin(ctx); err != nil {
		return "", err
	}
	defer s.finish()
	if s.leaving.Load() {
		return "", ErrClosed
	}
	s.mu.Lock()
	token = s.link.token
	s.mu.Unlock()
	if token == "" {
		if k.key == "" {
			k.key = rand.Text()
		}
		m, err := s.client.door.make(ctx, s.client.cfg.Device, k.key)
		if err != nil {
			return "", err
		}
		token = m.token
		k.fresh, k.watched, k.key = true, false, ""
		s.mu.Lock()
		s.link.token, s.link.heartbeat, s.link.batch = m.token, m.heartbeat, m.batch
		s.wants.watchOwed = false
		clear(s.wants.unwatched)
		s.mu.Unlock()
	}
	if k.fresh && !k.watched {
		if err := k.watchAll(ctx, token); err != nil {
			return "", err
		}
		k.watched = true
	}
	return token, nil
}

// watchAll states the whole list of watched users. Whom the server refuses is
// no longer watched, which the reader is told, unless Open can still say so.
func (k *keeper) watchAll(ctx context.Context, token string) error {
	s := k.s
	s.mu.Lock()
	users := s.wants.users()
	s.mu.Unlock()
	refused, err := s.watch(ctx, token, users)
	if err != nil && !refusal(err) {
		return err
	}
	if len(refused) > 0 && k.opened != nil {
		if err == nil {
			err = rejected(refused)
		}
		return err
	}
	if err != nil {
		s.client.log.Warn("the server refused watches", "error", err, "users", len(refused))
	}
	s.disown(refused, true)
	return nil
}

// closed turns the server's last frame into an error for judge.
func (k *keeper) closed(st *stream, c *closing) error {
	e := &Error{Code: CodeUnavailable, Detail: "the server closed the stream", RetryAfter: c.retryAfter}
	switch c.reason {
	case closingReplaced:
		e.Code, e.Reason, e.Detail = CodeAborted, ReasonReplacedStream, "another connection took this session over"
	case closingSlow:
		e.Code, e.Reason = CodeResourceExhausted, ReasonSlowConsumer
	case closingDraining:
		e.Reason = ReasonDraining
	case closingToken:
		e.Code, e.Reason = CodeUnauthenticated, ReasonJWTExpired
		st.refuseToken()
	case closingSession:
		e.Detail = "the server closed the session: " + string(c.session)
		switch c.session {
		case ClosedByUser, ClosedBySupersession, ClosedByAdmin:
			e.Code, e.Reason = CodeAborted, ReasonSessionClosed
		case ClosedByExpiry:
			st.refuseToken()
		}
	}
	return e
}
