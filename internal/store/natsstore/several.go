package natsstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	leaseSubject = "pl.ckpt.lease." // + what it is for

	liveStream  = "PL_LIVE"
	liveSubject = "pl.live." // + name, base64url

	nodeNoteStream  = "PL_NODENOTE"
	nodeNoteSubject = "pl.nodenote." // + incarnation + "." + group

	// liveFor is how long a node's record outlives it: others vote on its silence
	// by it.
	liveFor = 10 * time.Minute

	// deadFor is how long one that outlived its node is seen unchanged before it is
	// deleted: longer than a node must be silent to be lost (3 s).
	deadFor = 5 * time.Second
)

// several is what a store keeps for the sake of other nodes.
type several struct {
	prefix    string // of subjects; in capitals of streams
	clustered bool
	streams   []namedStream             // those opened, in a cluster
	doubted   atomic.Pointer[time.Time] // when who answered was last no leader; a clock that is set does not move it

	planning bool // nothing is opened, but noted in planned
	planned  []jetstream.StreamConfig
	created  map[string]jetstream.Stream // by the engine's names; nil after the start
	watching sync.WaitGroup              // of watchers that Stop ends
	life     context.Context             // ends with Stop

	opening   sync.Mutex // over the streams below, opened at their first use
	live      jetstream.Stream
	nodeNotes jetstream.Stream

	renewing sync.Mutex            // over all below
	renewals map[string]store.Life // the last renewal of each name by this store
	fence    uint64                // highest of them
	born     time.Time             // when the stream of the first was made
	sights   map[string]sight      // by name: the records, when they were read last

	scanning sync.Mutex
	scanned  uint64 // through which the log was looked at for erasures, without a hole
}

type namedStream struct {
	name string // as this package knows it
	*stream
}

// openAtOnce opens all streams that the steps open, at once and then in order: in
// a cluster each takes an election.
func (s *Store) openAtOnce(ctx context.Context, steps ...func(context.Context) error) error {
	s.planning = true
	for _, step := range steps {
		_ = step(ctx) // plans only
	}
	s.planning = false
	var all sync.WaitGroup
	created := make([]jetstream.Stream, len(s.planned))
	for i, cfg := range s.planned {
		all.Go(func() { created[i], _ = s.create(ctx, cfg) }) // what fails, fails again below
	}
	all.Wait()
	s.created = map[string]jetstream.Stream{}
	for i, cfg := range s.planned {
		if created[i] != nil {
			s.created[cfg.Name] = created[i]
		}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s.created, s.planned = nil, nil
	return nil
}

// openSeveral opens what only several nodes need.
func (s *Store) openSeveral(ctx context.Context) error {
	_, err := s.lives(ctx)
	if err == nil {
		_, err = s.notesOfNodes(ctx)
	}
	return err
}

// checkSeveral checks that the streams may all be used.
func (s *Store) checkSeveral(ctx context.Context) error {
	if s.cfg.Bus.Dir() != "" {
		return nil
	}
	return s.rehearse(ctx)
}

// lazily opens a stream at its first use.
func (s *Store) lazily(ctx context.Context, stream *jetstream.Stream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	if err := s.closed(); err != nil {
		return nil, err
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	if *stream != nil {
		return *stream, nil
	}
	var err error
	*stream, err = s.openStream(ctx, cfg)
	return *stream, err
}

// untilStop returns ctx as it ends with the store too.
func (s *Store) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// place names where the streams are, for error texts.
func (s *Store) place() string {
	if dir := s.cfg.Bus.Dir(); dir != "" {
		return dir
	}
	return "the NATS cluster"
}

// Codes of the engine that say that there is no room, or too few servers.
const (
	codeAccountFull  = 10002
	codeNoPeers      = 10005
	codeNoResources  = 10023
	codeStorageFull  = 10047
	codeNotClustered = 10074
)

// noRoom reports a stream that was refused for its size.
func noRoom(err error) bool {
	var answer *jetstream.APIError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.ErrorCode {
	case codeAccountFull, codeNoPeers, codeNoResources, codeStorageFull:
		return true
	}
	return false
}

// awaitsPeers reports an answer that a further node may better: a majority of nodes
// that form a cluster elect a leader, who may not know the others yet, and a
// stream needs three to be made.
func (s *Store) awaitsPeers(err error) bool {
	var answer *jetstream.APIError
	return s.clustered && s.cfg.Bus.Dir() != "" && errors.As(err, &answer) && answer.ErrorCode == codeNoPeers
}

// awaitsLeader reports that no majority of nodes that form a cluster answers: a start
// waits for one, as it does before its engine is there. On machines that are busy an
// election takes longer than a call may.
func (s *Store) awaitsLeader(err error) bool {
	return s.clustered && s.cfg.Bus.Dir() != "" && passing(err)
}

// whyNot says what an operator can do about a stream that cannot be opened.
func (s *Store) whyNot(err error, maxBytes int64) string {
	denied := s.cfg.Bus.Denied()
	var answer *jetstream.APIError
	switch {
	case denied != "":
		return "the account lacks a right: " + denied + "; see docs/cluster.md for the rights that it needs"
	case s.clustered && errors.As(err, &answer) && answer.ErrorCode == codeNotClustered:
		return fmt.Sprintf("%d replicas need a cluster of at least as many servers, and this server is alone", s.cfg.Bus.Replicas())
	case s.clustered && noRoom(err):
		return fmt.Sprintf("the cluster must have %d servers with JetStream and %d MB free for it on each; the account's limits count too", s.cfg.Bus.Replicas(), maxBytes>>20)
	case s.clustered && passing(err):
		return "no majority of the cluster's servers answers"
	case maxBytes > 0:
		return fmt.Sprintf("it reserves %d MB: raise the engine's limit, or lower the log's before the engine's", maxBytes>>20)
	}
	return "its files may be damaged, or the disk is full"
}
