package natsstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// replicas are a stream of one message, whose readers live on another replica each.
type replicas struct {
	jetstream.Stream
	lag     int           // so many of them have nothing
	slow    time.Duration // until a reader is made
	quiet   bool          // nothing comes after the message
	former  int           // so many questions are answered by one that led and has nothing
	readers int
	ended   int
	looks   int
	pulls   int
	names   map[string]bool // of those that were asked for
	mu      sync.Mutex      // over all but lag and slow
}

func (s *replicas) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return s.CachedInfo(), nil
}

func (s *replicas) CachedInfo() *jetstream.StreamInfo { return &jetstream.StreamInfo{} }

func (s *replicas) GetMsg(context.Context, uint64, ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	if s.quiet || s.looks <= s.former {
		return nil, jetstream.ErrMsgNotFound
	}
	return &jetstream.RawStreamMsg{Sequence: 1}, nil
}

func (s *replicas) CreateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	s.mu.Lock()
	s.readers++
	if s.names != nil {
		s.names[cfg.Name] = true
	}
	lags := s.readers <= s.lag
	s.mu.Unlock()
	pause(ctx, s.slow)
	return &replica{of: s, lags: lags}, nil
}

func (s *replicas) DeleteConsumer(context.Context, string) error { s.ended++; return nil }

// replica is a reader on one of them.
type replica struct {
	jetstream.Consumer
	of   *replicas
	lags bool
}

func (r *replica) CachedInfo() *jetstream.ConsumerInfo { return &jetstream.ConsumerInfo{} }

func (r *replica) Messages(...jetstream.PullMessagesOpt) (jetstream.MessagesContext, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.of.pulls++
	return pulls{r}, nil
}

// pulls are what a reader gives.
type pulls struct{ *replica }

func (pulls) Stop()  {}
func (pulls) Drain() {}

func (p pulls) Next(...jetstream.NextOpt) (jetstream.Msg, error) {
	p.of.mu.Lock()
	nothing := p.lags || p.of.quiet
	p.of.mu.Unlock()
	if nothing {
		pause(context.Background(), lagPatience)
		return nil, context.DeadlineExceeded
	}
	return theOne{}, nil
}

// theOne is the stream's message.
type theOne struct{ jetstream.Msg }

func (theOne) Subject() string { return "" }

func (theOne) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Consumer: 1, Stream: 1}}, nil
}

// TestReadsFromAnotherReplica: a reader on a replica that lags for long is left for
// one on another, so that a start does not wait as long as the engine does.
func TestReadsFromAnotherReplica(t *testing.T) {
	t.Parallel()
	for lag, within := range []time.Duration{0, 2 * time.Second, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, from := &Store{several: several{clustered: true}}, &replicas{lag: lag}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began, read := time.Now(), 0
			err := s.readLeader(ctx, from, span{from: 1, through: 1}, func(jetstream.Msg, uint64) error { read++; return nil })
			if took := time.Since(began); err != nil || read != 1 || took > within {
				t.Errorf("%d replicas lag: got %v and %d messages after %v, want one within %v", lag, err, read, took, within)
			}
			if from.readers != lag+1 || from.ended != from.readers {
				t.Errorf("%d replicas lag: %d readers were made and %d ended", lag, from.readers, from.ended)
			}
		})
	}
}

// TestAFormerLeadersNothing: one that led, and lacks what came since, ends no reading.
func TestAFormerLeadersNothing(t *testing.T) {
	t.Parallel()
	for former := range 2 * lagLooks {
		synctest.Test(t, func(t *testing.T) {
			s, from := &Store{several: several{clustered: true}}, &replicas{lag: 1, former: former}
			read := 0
			err := s.readLeader(t.Context(), from, span{from: 1, through: 1}, func(jetstream.Msg, uint64) error { read++; return nil })
			if err != nil || read != 1 {
				t.Errorf("%d answers of a former leader: got %v and %d messages, want one", former, err, read)
			}
		})
	}
}

// TestLooks: of one subject there often is nothing, so a second look is for the seconds in
// which a former leader may be about.
func TestLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &Store{}
		one, all := &reader{s: s, subject: "pl.x"}, &reader{s: s}
		if one.looks() != 1 || all.looks() != lagLooks {
			t.Errorf("got %d looks and %d of all subjects", one.looks(), all.looks())
		}
		now := time.Now()
		s.doubted.Store(&now)
		pause(t.Context(), doubtFor)
		if one.looks() != lagLooks {
			t.Errorf("got %d looks, %v after a former leader was found out", one.looks(), doubtFor)
		}
		pause(t.Context(), time.Millisecond)
		if one.looks() != 1 {
			t.Errorf("got %d looks, later", one.looks())
		}
	})
}

// TestLed: who has no leader, or is one that its replicas do not answer, is not believed.
func TestLed(t *testing.T) {
	t.Parallel()
	of := func(leader string, active ...time.Duration) *jetstream.ClusterInfo {
		at := &jetstream.ClusterInfo{Leader: leader}
		for _, a := range active {
			at.Replicas = append(at.Replicas, &jetstream.PeerInfo{Active: a})
		}
		return at
	}
	for what, c := range map[string]struct {
		at   *jetstream.ClusterInfo
		want bool
	}{
		"all answer":                   {of("n1", time.Millisecond, time.Second), true},
		"one is gone":                  {of("n1", time.Hour, time.Second), true},
		"both are gone":                {of("n1", 4*time.Second, 4*time.Second), false},
		"nobody was heard yet":         {of("n1", 0, 0), false},
		"no leader":                    {of("", time.Second, time.Second, time.Second), false},
		"three of five":                {of("n1", time.Second, time.Second, time.Hour, 0), true},
		"two of five":                  {of("n1", time.Second, 0, time.Hour, 0), false},
		"alone":                        {of("n1"), true},
		"nothing is said of a cluster": {nil, false},
	} {
		if got := led(&jetstream.StreamInfo{Cluster: c.at}); got != c.want {
			t.Errorf("%s: got %v, want %v", what, got, c.want)
		}
	}
}

// TestFollowsAtAnotherReplica: who follows a stream leaves a replica that does not come
// to what the leader has, however long it says that it lives, and not one that is quiet.
func TestFollowsAtAnotherReplica(t *testing.T) {
	t.Parallel()
	for lag, within := range []time.Duration{0, 2 * time.Second, 4 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			from := &replicas{lag: lag}
			r := &reader{s: &Store{several: several{clustered: true}}, stream: from, next: 1}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			_, seq, err := r.await(ctx)
			if took := time.Since(began); err != nil || seq != 1 || took > within {
				t.Errorf("%d replicas lag: got %d, %v after %v, want 1 within %v", lag, seq, err, took, within)
			}
			from.mu.Lock()
			from.quiet = true
			from.mu.Unlock()
			idle, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			if _, _, err := r.await(idle); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v when nothing came", err)
			}
			if r.close(ctx); from.readers != lag+1 || from.ended != from.readers || from.looks > 12+2*lag {
				t.Errorf("%d replicas lag: %d readers were made, %d ended and the leader was asked %d times", lag, from.readers, from.ended, from.looks)
			}
			cancel()
			synctest.Wait()
		})
	}
}

// TestAQuietStreamIsLeftInPeace: where nothing ever comes, a reader stays, and its request
// is made again a few times only.
func TestAQuietStreamIsLeftInPeace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := &replicas{quiet: true}
		r := &reader{s: &Store{several: several{clustered: true}}, stream: from, next: 1}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := r.await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v when nothing came", err)
		}
		synctest.Wait()
		if from.readers != 1 || from.pulls > 1+mostRepeats || from.looks > 61 {
			t.Errorf("%d readers asked %d times for messages and the leader %d times in a minute", from.readers, from.pulls, from.looks)
		}
	})
}

// TestASlowLeaderMakesOneReader: the tries that a slow leader answers late are for the
// same reader, which ends when all is read.
func TestASlowLeaderMakesOneReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, from := &Store{several: several{clustered: true}}, &replicas{slow: 1900 * time.Millisecond, names: map[string]bool{}}
		for range 2 {
			if err := s.readLeader(t.Context(), from, span{from: 1, through: 1}, func(jetstream.Msg, uint64) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		from.mu.Lock()
		defer from.mu.Unlock()
		if from.readers < 4 || len(from.names) != 2 || from.names[""] || from.ended != 2 {
			t.Errorf("%d were asked for by the names %v and %d ended, want two, each asked for more than once", from.readers, from.names, from.ended)
		}
	})
}
