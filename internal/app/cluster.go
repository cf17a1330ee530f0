package app

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	restdoor "github.com/porchlight-dev/porchlight/internal/door/rest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/telemetry"
)

// methodStanding is the call between nodes that asks a node how it is doing.
const methodStanding = "standing"

// standingLimit bounds the wait for what others say of themselves.
const standingLimit = 2 * time.Second

// ownStanding is what a node says of itself.
type ownStanding struct {
	Sessions restdoor.SessionCounts
	Digests  string   // of its own sessions, all shards
	Unready  string   // why it takes no sessions; "" where it does
	Unheard  []string // members that it does not hear
}

// standing says how this node is doing, for an app.
func (a *App) standing(app presence.AppID) ownStanding {
	c := a.tracker.Count(app)
	var d cluster.Digests
	a.tracker.Digests(a.tracker.Incarnation(), &d)
	own := ownStanding{
		Sessions: restdoor.SessionCounts{Created: c.Created, Live: c.Live, Lost: c.Lost},
		Digests:  base64.StdEncoding.EncodeToString(digestBytes(&d)), Unready: a.unready(),
	}
	for _, m := range a.nodes.cluster.Members() {
		if !m.Self && (m.Standing == cluster.Suspect || m.Standing == cluster.Lost) {
			own.Unheard = append(own.Unheard, m.Name)
		}
	}
	return own
}

// serveStanding answers another node.
func (a *App) serveStanding(_ context.Context, _ uint64, b []byte) ([]byte, error) {
	return json.Marshal(a.standing(presence.AppID(b)))
}

func digestBytes(d *cluster.Digests) []byte {
	b := make([]byte, 0, 8*len(d))
	for _, n := range d {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// digestText is one number for all shards.
func digestText(b []byte) string {
	h := fnv.New64a()
	h.Write(b)
	return fmt.Sprintf("%016x", h.Sum64())
}

// differing counts the shards in which two nodes know different sessions.
func differing(here, there []byte) *int {
	if len(here) != len(there) {
		return nil
	}
	n := 0
	for i := 0; i < len(here); i += 8 {
		if string(here[i:i+8]) != string(there[i:i+8]) {
			n++
		}
	}
	return &n
}

// clusterSeen is how the REST API learns of the nodes; nil: this one is alone.
func (a *App) clusterSeen() func(ctx context.Context, app presence.AppID) restdoor.Cluster {
	if a.nodes.cluster == nil {
		return nil
	}
	return func(ctx context.Context, app presence.AppID) restdoor.Cluster {
		c := a.nodes.cluster
		ctx, cancel := context.WithTimeout(ctx, standingLimit)
		defer cancel()
		said := map[uint64]ownStanding{c.Self(): a.standing(app)}
		for _, answer := range c.CallAll(ctx, methodStanding, []byte(app)) {
			var s ownStanding
			if answer.Err == nil && json.Unmarshal(answer.B, &s) == nil {
				said[answer.Incarnation] = s
			}
		}
		out := restdoor.Cluster{Self: a.p.Nodes.Name, Quorum: c.Quorum(), Joined: c.Joined(), Loaded: c.Loaded(), Members: []restdoor.Member{}}
		for _, m := range c.Members() {
			s, ok := said[m.Incarnation]
			out.Members = append(out.Members, a.memberSeen(&m, s, ok))
		}
		return out
	}
}

// memberSeen is one node; s is what it said of itself, if it did.
func (a *App) memberSeen(m *cluster.Member, s ownStanding, said bool) restdoor.Member {
	out := restdoor.Member{
		Name: m.Name, Incarnation: m.Incarnation, Version: m.Version, Self: m.Self, Standing: m.Standing.String(),
		Loaded: m.Loaded || m.Self, Position: m.Position, Lag: m.Lag, OtherConfiguration: m.Differs,
	}
	if !m.Heard.IsZero() {
		out.Heard = restdoor.Stamp(presence.At(m.Heard))
	}
	if r := m.Repairs; r.Shards > 0 {
		out.Repairs = &restdoor.Repairs{Shards: r.Shards, Sessions: r.Sessions, Last: restdoor.Stamp(presence.At(r.Last)), Reason: r.Reason.String()}
	}
	var d cluster.Digests
	a.tracker.Digests(m.Incarnation, &d)
	here := digestBytes(&d)
	if m.Standing <= cluster.Suspect {
		out.Digest = digestText(here)
	}
	if said {
		out.Sessions, out.Unready, out.NotHeard = &s.Sessions, s.Unready, s.Unheard
		if there, err := base64.StdEncoding.DecodeString(s.Digests); err == nil {
			out.Differing = differing(here, there)
		}
	}
	return out
}

var clusterSources = []telemetry.Source{
	{Name: "cluster_members", Help: "Nodes as this one sees them, by standing: alive, suspect, lost, gone, left.", Labels: []string{"standing"}},
	{Name: "cluster_quorum", Help: "1 while a majority of the store acknowledges that this node lives."},
	{Name: "cluster_joined", Help: "1 while this node takes part; 0: it is cut off or stood still."},
	{Name: "cluster_loaded", Help: "1 when this node has the sessions of all members that are heard."},
	{Name: "cluster_lag_batches", Help: "Batches of changes that are not applied here yet, of the member that is furthest behind."},
	{Name: "cluster_silence_seconds", Help: "How long ago the last heartbeat came, of the member that was not heard for longest and is not given up."},
	{Name: "cluster_sent_changes_total", Help: "Changes of sessions sent to the other nodes.", Counter: true},
	{Name: "cluster_sent_batches_total", Help: "Batches that they and all else were sent in.", Counter: true},
	{Name: "cluster_sent_bytes_total", Help: "Bytes of them.", Counter: true},
	{Name: "cluster_sent_failed_total", Help: "Batches and messages that the transport did not take.", Counter: true},
	{Name: "cluster_received_changes_total", Help: "Changes of sessions that came from other nodes.", Counter: true},
	{Name: "cluster_received_bytes_total", Help: "Bytes of the batches of other nodes.", Counter: true},
	{Name: "cluster_gaps_total", Help: "Losses in the batches of other nodes.", Counter: true},
	{Name: "cluster_repaired_shards_total", Help: "Shards copied again, by reason: fresh, gap, drift, mute.", Labels: []string{"reason"}, Counter: true},
	{Name: "cluster_last_repair_seconds", Help: "When something was last copied again from another node, in seconds since 1970, by reason; 0: never.", Labels: []string{"reason"}},
	{Name: "cluster_calls_total", Help: "Calls of other nodes, by result: ok, failed.", Labels: []string{"result"}, Counter: true},
	{Name: "cluster_served_total", Help: "Calls served for other nodes.", Counter: true},
	{Name: "cluster_suspected_total", Help: "How often a node was not heard for 1.5 s.", Counter: true},
	{Name: "cluster_lost_total", Help: "How often a node was given up.", Counter: true},
	{Name: "cluster_isolated_total", Help: "How often this node was cut off.", Counter: true},
	{Name: "cluster_pauses_total", Help: "How often this node stood still for more than a second.", Counter: true},
}

// readCluster gives what a node that is alone is: one member, with nobody to tell.
func (a *App) readCluster(give give) {
	standings := map[cluster.Standing]int{cluster.Alive: 1}
	n := cluster.Counts{}
	quorum, joined, loaded := true, true, true
	var lag uint64
	var silence time.Duration
	if c := a.nodes.cluster; c != nil {
		n, quorum, joined, loaded = c.Counts(), c.Quorum(), c.Joined(), c.Loaded()
		clear(standings)
		for _, m := range c.Members() {
			standings[m.Standing]++
			lag = max(lag, m.Lag)
			if !m.Self && m.Standing <= cluster.Lost && !m.Heard.IsZero() {
				silence = max(silence, time.Since(m.Heard))
			}
		}
	}
	for s := cluster.Alive; s <= cluster.Left; s++ {
		give(0, float64(standings[s]), s.String())
	}
	for i, v := range []float64{
		flag(quorum), flag(joined), flag(loaded), float64(lag), silence.Seconds(),
		float64(n.Sent.Changes), float64(n.Sent.Batches), float64(n.Sent.Bytes), float64(n.Sent.Dropped + n.Sent.Failed),
		float64(n.Received.Changes), float64(n.Received.Bytes), float64(n.Received.Gaps),
	} {
		give(1+i, v)
	}
	for _, r := range []cluster.Reason{cluster.Fresh, cluster.Gap, cluster.Drift, cluster.Mute} {
		give(13, float64(n.Repairs.Shards[r.String()]), r.String())
	}
	for _, r := range []cluster.Reason{cluster.Fresh, cluster.Gap, cluster.Drift, cluster.Mute} {
		at := 0.0
		if last := n.Repairs.Last[r.String()]; !last.IsZero() {
			at = float64(last.UnixMilli()) / 1000
		}
		give(14, at, r.String())
	}
	give(15, float64(n.Calls.Made-min(n.Calls.Made, n.Calls.Failed)), "ok")
	give(15, float64(n.Calls.Failed), "failed")
	for i, v := range []uint64{n.Calls.Served, n.Members.Suspected, n.Members.Lost, n.Members.Isolated, n.Members.Pauses} {
		give(16+i, float64(v))
	}
}
