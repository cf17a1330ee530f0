// Package cluster makes several nodes one: who is a member, which changes of
// others' sessions arrived, what was lost on the way and how it is got back, and
// who is lost, so that a majority can bury him.
//
// It knows no NATS, no session and no door: a [Transport] carries messages, a
// [Table] keeps sessions whose changes are bytes to it, a [Liveness] is the
// quorum, and a [Listener] hears of nodes. docs/design/006-cluster.md says why it
// decides as it does, and proves that no minority loses anybody.
//
// On the wire, below the prefix that the transport puts before all subjects:
//
//	pl.hb          all → all     each 500 ms: counter, position, whom I hear and which
//	                             counter of theirs I heard last, standing of each
//	pl.ch.17       17  → all     batches of node 17, numbered 1, 2, 3, …: changes of
//	                             sessions, what topics are told, digests each 500 ms
//	pl.call.17     any → 17      a call, answered; one of them asks for shards
//	pl.sh.21       17  → 21      the shards that node 21 asked for, in parts
//
// A batch whose number is not the next one is held for a moment; then what lies
// between counts as lost. Digests stand in the same numbered log, so they are
// compared when all before them is applied. A shard that differs after a loss,
// or twice in the same way, is copied anew from its owner.
package cluster
