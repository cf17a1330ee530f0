package cluster

import (
	"sync/atomic"
	"time"
)

// counters is what Counts copies.
type counters struct {
	ownCounters
	originCounters
	memberCounters
}

// ownCounters are about what this node sent.
type ownCounters struct {
	beats, beatBytes, unsent                   atomic.Uint64
	sentBatches, sentBytes                     atomic.Uint64
	servedParts, servedBytes                   atomic.Uint64
	calls, callsFailed                         atomic.Uint64
	served, servedTwice, servedLate, unrenewed atomic.Uint64
}

// originCounters are about what came of others.
type originCounters struct {
	receivedBatches, receivedBytes, applied atomic.Uint64
	told, late, gaps, skipped, mute         atomic.Uint64
	unread, compared, copied, pullsLost     atomic.Uint64
	repaired                                [reasonCount]atomic.Uint64
	repairedAt                              [reasonCount]atomic.Int64 // when last, in milliseconds since 1970
}

// memberCounters are about who takes part.
type memberCounters struct {
	suspected, lost, returned, left, refused atomic.Uint64
	isolated, pauses, reborn                 atomic.Uint64
}

// Counts is what a node has done since its start, for metrics.
type Counts struct {
	Sent     SentCounts
	Received ReceivedCounts
	Repairs  RepairCounts
	Members  MemberCounts
	Calls    CallCounts
}

// SentCounts is about this node's own log.
type SentCounts struct {
	Changes, Tells, Batches, Bytes uint64
	Beats, BeatBytes               uint64
	Dropped                        uint64 // batches that the transport did not take in time
	Failed                         uint64 // messages that the transport refused
}

// ReceivedCounts is about the logs of others.
type ReceivedCounts struct {
	Batches, Bytes, Changes, Tells uint64
	Late                           uint64 // batches that came twice, or after they were given up
	Gaps, Skipped                  uint64 // losses, and the batches in them
	Mute                           uint64 // logs that fell silent though their node is heard
	Unread                         uint64 // frames that no node of this protocol sends
	Compared                       uint64 // digests
}

// RepairCounts is about shards that were copied anew.
type RepairCounts struct {
	Shards   map[string]uint64 // by reason
	Sessions uint64
	Lost     uint64               // questions for shards that had no answer in time
	Parts    uint64               // messages with shards that this node sent
	Bytes    uint64               // in them
	Last     map[string]time.Time // when a shard was last copied, by reason
}

// MemberCounts is about who is heard.
type MemberCounts struct {
	Suspected, Lost, Returned, Left, Refused uint64
	Isolated, Pauses, Reborn                 uint64 // of this node
	Unrenewed                                uint64 // calls of the quorum that failed
}

// CallCounts is about calls between nodes.
type CallCounts struct {
	Made, Failed, Served uint64
	Twice                uint64 // questions that came again and were not served again
	Late                 uint64 // questions that were too old when they came, and were not served
}

// Counts returns what this node has done.
func (c *Cluster) Counts() Counts {
	n := &c.counts
	c.out.mu.Lock()
	changes, tells, dropped := c.out.changes, c.out.tells, c.out.dropped
	c.out.mu.Unlock()
	all := Counts{
		Sent: SentCounts{changes, tells, n.sentBatches.Load(), n.sentBytes.Load(), n.beats.Load(), n.beatBytes.Load(), dropped, n.unsent.Load()},
		Received: ReceivedCounts{
			n.receivedBatches.Load(), n.receivedBytes.Load(), n.applied.Load(), n.told.Load(), n.late.Load(),
			n.gaps.Load(), n.skipped.Load(), n.mute.Load(), n.unread.Load(), n.compared.Load(),
		},
		Repairs: RepairCounts{map[string]uint64{}, n.copied.Load(), n.pullsLost.Load(), n.servedParts.Load(), n.servedBytes.Load(), map[string]time.Time{}},
		Members: MemberCounts{
			n.suspected.Load(), n.lost.Load(), n.returned.Load(), n.left.Load(), n.refused.Load(),
			n.isolated.Load(), n.pauses.Load(), n.reborn.Load(), n.unrenewed.Load(),
		},
		Calls: CallCounts{n.calls.Load(), n.callsFailed.Load(), n.served.Load(), n.servedTwice.Load(), n.servedLate.Load()},
	}
	for r := Fresh; r < reasonCount; r++ {
		all.Repairs.Shards[r.String()] = n.repaired[r].Load()
		if at := n.repairedAt[r].Load(); at != 0 {
			all.Repairs.Last[r.String()] = time.UnixMilli(at)
		}
	}
	return all
}
