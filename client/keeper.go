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
		if !up.IsZero() && time.Since(up) >= backoff.enough(err) {
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
	token := s.link.token
	s.mu.Unlock()
	s.client.door.forget(token)
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
	var work sync.WaitGroup
	defer work.Wait()
	defer cut(nil)
	if s.opts.Heartbeat {
		work.Go(func() { s.beat(ctx) })
	}
	s.mu.Lock()
	s.link.retell = func(err error) { work.Go(func() { s.pay(ctx, token, err) }) }
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.link.retell = nil
		s.mu.Unlock()
	}()
	if err = k.welcome(ctx, token, first.connected, version); err != nil {
		return up, cause(ctx, err)
	}
	return up, k.receive(ctx, st, guard)
}

// receive takes in frames until the stream ends. What its last frame says counts,
// also where this end cuts it at the same time.
func (k *keeper) receive(ctx context.Context, st stream, guard *time.Timer) error {
	for {
		f, err := st.next()
		if err != nil {
			return cause(ctx, err)
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
	first := s.wants.status
	s.mu.Unlock()
	if token == "" {
		if k.key == "" {
			k.key = rand.Text()
		}
		m, err := s.client.door.make(ctx, s.client.cfg.Device, k.key, first)
		if err != nil {
			return "", err
		}
		token = m.token
		k.fresh, k.watched, k.key = true, false, ""
		s.mu.Lock()
		s.link.token, s.link.heartbeat, s.link.batch = m.token, m.heartbeat, m.batch
		s.wants.watchOwed = false
		for u := range s.wants.unwatched {
			s.drop(u)
		}
		clear(s.wants.unwatched)
		s.wants.friends.left = false
		s.mu.Unlock()
	}
	if k.fresh && !k.watched {
		if err := s.watchAll(ctx, token, k.opened != nil); err != nil {
			return "", err
		}
		if err := s.follow(ctx, token); err != nil && (k.opened != nil || temporary(err)) {
			return "", err
		}
		k.watched = true
	}
	return token, nil
}
