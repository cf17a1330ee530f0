package natsstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
)

const (
	silentReplica = 3 * time.Second // of silence are told of: each replica is heard once a second
	lateReplica   = 100             // operations behind are told of: some are always on their way
)

// StreamStatus is how one stream is doing.
type StreamStatus struct {
	Stream      string    `json:"stream"`                // by the engine's name, prefix included
	Messages    uint64    `json:"messages"`              // that are kept
	Bytes       uint64    `json:"bytes"`                 // of one copy of them
	First       uint64    `json:"first"`                 // sequence of the oldest
	Last        uint64    `json:"last"`                  // and of the newest that there was
	LastAt      time.Time `json:"last_at,omitzero"`      // when that was stored
	Replicas    int       `json:"replicas"`              // how many there are to be
	Leader      string    `json:"leader,omitempty"`      // name of its server; empty: none
	Servers     []string  `json:"servers,omitempty"`     // that have a copy, the leader's first
	Behind      []string  `json:"behind,omitempty"`      // replicas that lag or are gone, with by how much
	Unavailable string    `json:"unavailable,omitempty"` // why it could not be asked
	Whole       bool      `json:"-"`                     // all replicas had everything at that moment, which those of a busy stream seldom have
}

// Status tells how the streams of the bus's prefix are doing; those that are not
// there are left out.
func Status(ctx context.Context, bus *natsbus.Bus) (all []StreamStatus, err error) {
	e := &transfer{bus: bus}
	for _, name := range allStreams() {
		ask, cancel := context.WithTimeout(ctx, tryTimeout)
		stream, err := bus.JetStream().Stream(ask, e.named(name))
		cancel()
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		st := StreamStatus{Stream: e.named(name)}
		if err != nil {
			st.Unavailable = unavailable(err)
			all = append(all, st)
			continue
		}
		info := stream.CachedInfo()
		st.Messages, st.Bytes, st.First, st.Last, st.LastAt = info.State.Msgs, info.State.Bytes, info.State.FirstSeq, info.State.LastSeq, info.State.LastTime
		st.Replicas = info.Config.Replicas
		if info.Cluster != nil {
			st.Leader = info.Cluster.Leader
			st.Servers, st.Whole = append(st.Servers, st.Leader), true
			for _, r := range info.Cluster.Replicas {
				st.Servers = append(st.Servers, r.Name)
				st.Whole = st.Whole && r.Current && !r.Offline && r.Active > 0
				if why := behind(r, info.Cluster, info.TimeStamp); why != "" {
					st.Behind = append(st.Behind, why)
				}
			}
		}
		all = append(all, st)
	}
	return all, nil
}

// unavailable says why a stream does not tell how it is doing.
func unavailable(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) {
		return "no leader answers: too few of its replicas run, or they elect one"
	}
	return err.Error()
}

// behind says what a replica lacks at that time; "": nothing but what is on its way.
// A leader that was elected since has never heard one that is gone, and cannot
// say how much it lacks.
func behind(r *jetstream.PeerInfo, in *jetstream.ClusterInfo, at time.Time) string {
	leads := in.LeaderSince
	switch {
	case r.Offline:
		return r.Name + ": offline"
	case r.Active == 0 && leads != nil && at.Sub(*leads) > silentReplica:
		return fmt.Sprintf("%s: not heard since %s leads, for %s", r.Name, in.Leader, at.Sub(*leads).Round(time.Second))
	case r.Current:
		return ""
	case r.Active > silentReplica:
		return fmt.Sprintf("%s: not heard for %s", r.Name, r.Active.Round(time.Second))
	case r.Lag > lateReplica:
		return fmt.Sprintf("%s: %d behind", r.Name, r.Lag)
	}
	return ""
}
