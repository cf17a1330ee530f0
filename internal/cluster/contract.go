package cluster

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Shards is how many shards a node's sessions are compared and repaired by; they
// are those of the checkpoint (store.Shard).
const Shards = store.Shards

// Incarnation is the number that a node got at its start; it names the node for
// as long as it runs. Zero is no node.
type Incarnation = uint64

// Digests is one number per shard: the exclusive or of a hash of each session in
// it, with its epoch, revision and phase. Equal digests mean equal shards, but
// for a chance of one in 2^64.
type Digests = [Shards]uint64

// Transport carries plain messages between nodes, below a prefix of its own that
// sets one cluster apart from another. It may lose messages, deliver
// them late, twice, in another order, or in one direction only: the cluster lives
// with all of it.
type Transport interface {
	// Publish sends b to everybody who subscribed to subject, the sender too. It
	// waits for nobody to read it. b is the caller's again after the return.
	Publish(subject string, b []byte) error
	// Subscribe calls f with each message to subject until stop is called, one at
	// a time, in the order they came in. b is f's to keep. reply answers a
	// Request; it is never nil and does nothing for a message that asked for no
	// answer. A reader that falls too far behind loses messages.
	Subscribe(subject string, f func(subject string, b []byte, reply func([]byte))) (stop func(), err error)
	// Request sends b and returns the first answer. It fails when ctx ends, and may
	// fail earlier when nobody is subscribed.
	Request(ctx context.Context, subject string, b []byte) ([]byte, error)
}

// Liveness is the part of the store by which a majority of its replicas
// acknowledges that a node lives.
type Liveness interface {
	store.Liveness
}

// Table is what the cluster replicates: the sessions of this node and the
// replicas of the others'. What a change says is the table's affair; it must
// carry enough (epoch, revision, phase) that applying it twice, or after a newer
// one, changes nothing. Calls for one origin are never made at the same time.
// None may wait for the network, and the cluster must not be called from them.
type Table interface {
	// Apply takes changes of sessions of one shard that origin owns, in the order
	// in which origin made them. The slices are valid during the call only.
	Apply(origin Incarnation, shard int, changes [][]byte)
	// Dump calls f for each session of this node's own in the shard, with what
	// Change would carry. A change that was given to Change before the call must be
	// in it. b is the caller's again when f returns.
	Dump(shard int, f func(b []byte))
	// Digests fills d with the digests of the sessions of origin; this node's own
	// incarnation means those it owns.
	Digests(origin Incarnation, d *Digests)
	// Replace says that origin's shard holds exactly these sessions: what is not
	// among them is gone without a word. A later one of the same session counts, also
	// if it tells of its end. The slices are valid during the call only.
	Replace(origin Incarnation, shard int, changes [][]byte)
}

// Listener hears of nodes, this one too. Calls come one at a time, in order, and
// not while a call of the table for the same origin runs. None may wait for the
// network; the cluster may be asked (Members, Owner), not stopped, from them.
type Listener interface {
	// Silent says that origin was not heard since a time, by this node's clock: what
	// is known of its sessions is stale from then on.
	Silent(origin Incarnation, since presence.Time)
	// Returned says that origin is heard again, after Silent or Lost, as the same
	// incarnation: its sessions are live again. What it told meanwhile may be missing
	// still, until Caught.
	Returned(origin Incarnation)
	// Caught says, after Returned, that nothing is missing any more of what origin
	// told while it was not heard: what is known of its sessions is stale no more.
	Caught(origin Incarnation)
	// Lost says that origin is gone, as a majority sees it; alive is when it last
	// said by its own clock that it lives. since is when the majority first saw it,
	// by this node's clock: some seconds ago, when the quorum had to elect a leader
	// before it stood behind the verdict. Returned may follow within the time of
	// return (Config.Return) after since, and never later.
	Lost(origin Incarnation, alive, since presence.Time)
	// Left says that origin said goodbye, when by its own clock; everything it said
	// before was applied. Nothing follows of it. Who heard of the goodbye from others
	// only knows by its last heartbeat when it lived.
	Left(origin Incarnation, alive presence.Time)

	// Isolated says that this node can reach neither the quorum nor a majority of
	// the others, or that they do not hear it: it must send its devices away and
	// claim nothing until Joined.
	Isolated()
	// Frozen says that this node stood still: no claims until Joined.
	Frozen()
	// Joined says that this node takes part, at its start and after Isolated or
	// Frozen. When the incarnation is another than before, the others count the
	// former as gone: what is still connected here must be opened anew, and every
	// session that is, be given to Change.
	Joined(self Incarnation)
}

// Topic takes what other nodes tell on one topic. Calls for one origin come in
// order and one at a time, those of different origins at once. None may wait for the
// network: the log of origin stands still for as long.
type Topic interface {
	// Told takes one message; b is the topic's to keep.
	Told(origin Incarnation, b []byte)
	// Missed says that messages of origin may have been lost: whatever rests on them
	// must be read anew. It is said after each loss, when a node is met for the first
	// time, and when it is lost.
	Missed(origin Incarnation)
}

// Call serves one method for other nodes. A fault it returns reaches the caller
// as it is; any other error reaches it as text. ctx ends with the caller's
// deadline, and with Stop. b is its to keep.
type Call func(ctx context.Context, from Incarnation, b []byte) ([]byte, error)

// Standing is how a node counts.
type Standing uint8

// The standings of a member.
const (
	Alive   Standing = iota // heard
	Suspect                 // not heard for SuspectAfter: its sessions are stale
	Lost                    // gone as a majority sees it; it may return
	Gone                    // lost for too long: it must take another incarnation
	Left                    // it said goodbye
)

var standings = [...]string{Alive: "alive", Suspect: "suspect", Lost: "lost", Gone: "gone", Left: "left"}

func (s Standing) String() string {
	if int(s) < len(standings) {
		return standings[s]
	}
	return "unknown"
}

// Member is what this node knows of a node.
type Member struct {
	Name        string
	Incarnation Incarnation
	Version     string // of its program
	Standing    Standing
	Self        bool          // it is this node
	Heard       time.Time     // when its last heartbeat came; zero: never
	Alive       presence.Time // when that was sent, by its own clock
	Witnessed   time.Time     // of one that is lost: no member who called it so, nor the quorum, heard it later
	Loaded      bool          // its sessions were all copied once
	Position    uint64        // the last of its batches that was applied here; of Self the last sent
	Lag         uint64        // how many of its batches are not applied yet
	Differs     bool          // it has another configuration since a reload
	Repairs     Repairs       // of its sessions here
}

// Repairs counts what was copied again from one member.
type Repairs struct {
	Shards   uint64    // copied in all
	Sessions uint64    // in them
	Last     time.Time // zero: never
	Reason   Reason    // of the last
}

// Reason says why shards were copied.
type Reason uint8

// The reasons of a repair.
const (
	NoRepair Reason = iota
	Fresh           // the node was met for the first time
	Gap             // batches were lost
	Drift           // digests differ although no batch was lost
	Mute            // it is heard, but none of its batches came
	reasonCount
)

var reasons = [reasonCount]string{NoRepair: "", Fresh: "fresh", Gap: "gap", Drift: "drift", Mute: "mute"}

func (r Reason) String() string {
	if r < reasonCount {
		return reasons[r]
	}
	return "unknown"
}
