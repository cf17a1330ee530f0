package natsstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// electionPatience is how long a call goes on trying while a stream has no
	// leader. The engine takes 4 to 9 s to elect one after a crash (engine.md,
	// trap 10).
	electionPatience = 12 * time.Second

	// tryTimeout bounds one try at a leader that may be gone, or stand still.
	tryTimeout = 2 * time.Second

	// tryPause is the wait between two tries.
	tryPause = 100 * time.Millisecond

	// besideFirst is how long a question waits for its answer before it is asked once
	// more beside, since a leader that was killed answers nothing; the next waits are
	// twice as long each, besideMost at most.
	besideFirst = 250 * time.Millisecond
	besideMost  = time.Second
)

// The names of streams and subjects stand in this package as they are with the
// prefix "pl"; these two make of them what the engine knows them by.

func (s *Store) subject(name string) string {
	if s.prefix == "pl" {
		return name
	}
	return s.prefix + strings.TrimPrefix(name, "pl")
}

func (s *Store) streamName(name string) string {
	if s.prefix == "pl" {
		return name
	}
	return strings.ToUpper(s.prefix) + strings.TrimPrefix(name, "PL")
}

// plain undoes subject.
func (s *Store) plain(subject string) string {
	if s.prefix == "pl" {
		return subject
	}
	return "pl" + strings.TrimPrefix(subject, s.prefix)
}

// stream is a stream whose leader may change, and whose names have a prefix of
// their own. What it reads comes from the leader: the others lag (engine.md, trap
// 6). A node alone with the usual prefix does without it.
type stream struct {
	jetstream.Stream
	s *Store
}

// again calls f until it has an answer of the leader, at most for
// electionPatience. f must be harmless to repeat.
func again[T any](ctx context.Context, s *Store, f func(ctx context.Context, repeated bool) (T, error)) (T, error) {
	if !s.clustered {
		return f(ctx, false)
	}
	ctx, cancel := context.WithTimeout(ctx, electionPatience)
	defer cancel()
	for repeated := false; ; repeated = true {
		try, cancel := context.WithTimeout(ctx, tryTimeout)
		v, err := f(try, repeated)
		cancel()
		if err == nil || !passing(err) || ctx.Err() != nil || s.closed() != nil {
			return v, err
		}
		pause(ctx, tryPause)
	}
}

// asked is again for what only reads. It is asked once more while earlier tries may
// still be answered, so that a new leader is found soon and a slow one not asked in
// vain.
func asked[T any](ctx context.Context, s *Store, f func(ctx context.Context) (T, error)) (T, error) {
	if !s.clustered {
		return f(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, electionPatience)
	defer cancel()
	type answer struct {
		v   T
		err error
	}
	answers := make(chan answer)
	ask := func() {
		try, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		v, err := f(try)
		select {
		case answers <- answer{v, err}:
		case <-ctx.Done():
		}
	}
	go ask()
	var last error // what was said, in place of an answer
	wait := besideFirst
	next := time.NewTimer(wait)
	defer next.Stop()
	for {
		select {
		case a := <-answers:
			if a.err == nil || !passing(a.err) || ctx.Err() != nil || s.closed() != nil {
				return a.v, a.err
			}
			if !errors.Is(a.err, context.DeadlineExceeded) { // that was said, not waited for
				last = a.err
				next.Reset(tryPause)
			}
		case <-next.C:
			go ask()
			wait = min(2*wait, besideMost)
			next.Reset(wait)
		case <-ctx.Done():
			var none T
			if last != nil {
				return none, fmt.Errorf("%w: %w", last, ctx.Err())
			}
			return none, ctx.Err()
		}
	}
}

// passing reports whether an error may go away by itself when a leader is
// elected or a server is reached again.
func passing(err error) bool {
	var answer *jetstream.APIError
	switch {
	case errors.As(err, &answer):
		return leaderless(answer)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrMaxPayload), errors.Is(err, jetstream.ErrMsgNotFound):
		return false
	}
	return errors.Is(err, errNotLed) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, nats.ErrConnectionReconnecting)
}

// Codes of the engine that say "not now": nothing was stored.
const (
	codeNotActive    = 10006 // cluster: not there yet
	codeNotAvailable = 10008 // cluster: no leader
	codeNotLeader    = 10009
	codeTimeout      = 10041 // of the replicas' log
	codeInProcess    = 10158 // a message of that id is on its way
)

// leaderless reports an answer of the engine that a later try may better.
func leaderless(answer *jetstream.APIError) bool {
	switch answer.ErrorCode {
	case codeNotActive, codeNotAvailable, codeNotLeader, codeTimeout, codeInProcess:
		return true
	}
	return false
}

// pause waits for d, or for ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Info is the leader's.
func (st *stream) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := asked(ctx, st.s, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		info, err := st.Stream.Info(ctx, opts...)
		if err == nil && st.s.clustered && !led(info) {
			now := time.Now()
			st.s.doubted.Store(&now)
			return nil, errNotLed
		}
		return info, err
	})
	if err != nil || st.s.prefix == "pl" || len(info.State.Subjects) == 0 {
		return info, err
	}
	subjects := make(map[string]uint64, len(info.State.Subjects))
	for name, n := range info.State.Subjects {
		subjects[st.s.plain(name)] = n
	}
	info.State.Subjects = subjects
	return info, nil
}

func (st *stream) GetMsg(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return st.named(asked(ctx, st.s, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return st.Stream.GetMsg(ctx, seq, opts...)
	}))
}

func (st *stream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	subject = st.s.subject(subject)
	return st.named(asked(ctx, st.s, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return st.Stream.GetLastMsgForSubject(ctx, subject)
	}))
}

func (st *stream) named(m *jetstream.RawStreamMsg, err error) (*jetstream.RawStreamMsg, error) {
	if err == nil {
		m.Subject = st.s.plain(m.Subject)
	}
	return m, err
}

func (st *stream) Purge(ctx context.Context, opts ...jetstream.StreamPurgeOpt) error {
	opts = append(opts[:len(opts):len(opts)], func(r *jetstream.StreamPurgeRequest) error {
		if r.Subject != "" {
			r.Subject = st.s.subject(r.Subject)
		}
		return nil
	})
	return st.do(ctx, func(ctx context.Context) error { return st.Stream.Purge(ctx, opts...) })
}

func (st *stream) DeleteMsg(ctx context.Context, seq uint64) error {
	return st.do(ctx, func(ctx context.Context) error { return st.Stream.DeleteMsg(ctx, seq) })
}

func (st *stream) SecureDeleteMsg(ctx context.Context, seq uint64) error {
	return st.do(ctx, func(ctx context.Context) error { return st.Stream.SecureDeleteMsg(ctx, seq) })
}

// do takes something away; what is gone at a second try went at the first.
func (st *stream) do(ctx context.Context, f func(context.Context) error) error {
	_, err := again(ctx, st.s, func(ctx context.Context, repeated bool) (struct{}, error) {
		err := f(ctx)
		if repeated && (errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful)) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// renamed is a message under the name that this package knows.
type renamed struct {
	jetstream.Msg
	subject string
}

// Subject is the plain one.
func (m renamed) Subject() string { return m.subject }

// publishLeader is publish for several nodes. A message that nobody took is given
// again until somebody leads; one without an answer only when it has an id, by
// which the engine knows it again.
func (s *Store) publishLeader(ctx context.Context, m *nats.Msg, opts []jetstream.PublishOpt, named bool) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, electionPatience)
	defer cancel()
	wait := answerTimeout
	if named {
		wait = tryTimeout
	}
	for {
		try, cancel := context.WithTimeout(ctx, wait)
		ack, err := s.js.PublishMsg(try, m, opts...)
		cancel()
		untaken := errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrReconnectBufExceeded)
		var answer *jetstream.APIError
		if errors.As(err, &answer) {
			untaken = leaderless(answer)
		}
		switch {
		case err == nil:
			return ack, nil
		case s.closed() != nil:
			return nil, fmt.Errorf("%w, %w: %w", store.ErrClosed, store.ErrUnknown, err)
		case ctx.Err() != nil && untaken:
			return nil, fmt.Errorf("%w: the stream has no leader: %w", store.ErrUnknown, err)
		case ctx.Err() != nil || !untaken && !(named && passing(err)):
			return nil, refine(err)
		}
		pause(ctx, tryPause)
	}
}
