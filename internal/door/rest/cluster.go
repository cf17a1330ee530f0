package rest

import (
	"context"
	"net/http"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Cluster is how the nodes are doing, as one of them sees it.
type Cluster struct {
	Self    string   `json:"self" doc:"The node that answers." example:"n1"`
	Quorum  bool     `json:"quorum" doc:"A majority of the store acknowledges that this node lives." example:"true"`
	Joined  bool     `json:"joined" doc:"It takes part. False: it is cut off or stood still, and sends its devices elsewhere." example:"true"`
	Loaded  bool     `json:"loaded" doc:"It has the sessions of all members that are heard." example:"true"`
	Members []Member `json:"members" nullable:"false" doc:"All nodes, by name; those that went are in it for a minute."`
}

// Member is one node.
type Member struct {
	Name        string `json:"name" doc:"The node's name, the same at each start." example:"n2"`
	Incarnation uint64 `json:"incarnation" doc:"Grows with each start of any node." example:"17"`
	Version     string `json:"version,omitempty" doc:"Of its program." example:"0.7.0"`
	Self        bool   `json:"self,omitempty" doc:"It is the node that answers."`
	Standing    string `json:"standing" enum:"alive,suspect,lost,gone,left" doc:"Suspect: not heard for 1.5 s, what is known of its sessions is stale. Lost: a majority has not heard it for 3 s. Gone: lost for too long, it comes back as another incarnation." example:"alive"`
	Heard       Stamp  `json:"heard,omitzero" doc:"When its last heartbeat came."`
	// Sessions are missing when the member does not answer.
	Sessions *SessionCounts `json:"sessions,omitempty" doc:"Sessions of the app at that node; missing when it does not answer."`
	Loaded   bool           `json:"loaded,omitempty" doc:"Its sessions were all copied here." example:"true"`
	Position uint64         `json:"position" doc:"Number of its last batch of changes that was applied here; of the node itself the last it sent." example:"48211"`
	Lag      uint64         `json:"lag" doc:"How many of its batches are not applied here yet." example:"0"`
	Digest   string         `json:"digest,omitempty" doc:"Stands for all its sessions as this node knows them: the same at all nodes once they have heard the same." example:"9b1c02d4e5f60718"`
	// Differing is nil when the member does not answer.
	Differing *int `json:"differing,omitempty" doc:"How many of 1,024 shards differ from what it has itself; a few while there are changes on their way." example:"0"`
	// OtherConfiguration is of a reload.
	OtherConfiguration bool `json:"other_configuration,omitempty" doc:"Since a reload it has another configuration than this node."`
	// Unready and NotHeard are what it says of itself.
	Unready  string   `json:"unready,omitempty" doc:"Why it takes no sessions now, as its /readyz says it; missing when it takes them, or does not answer."`
	NotHeard []string `json:"not_heard,omitempty" doc:"Members that it does not hear, though this node may."`
	Repairs  *Repairs `json:"repairs,omitempty" doc:"What was copied again from it; missing when nothing was."`
}

// Repairs are what was copied again.
type Repairs struct {
	Shards   uint64 `json:"shards" doc:"Shards that were copied." example:"3"`
	Sessions uint64 `json:"sessions" doc:"Sessions in them." example:"41"`
	Last     Stamp  `json:"last,omitzero" doc:"When the last was."`
	Reason   string `json:"reason,omitempty" doc:"Why the last was: fresh (the node was met), gap (batches were lost), drift (digests differ), mute (its changes do not come)." example:"gap"`
}

type clusterOut struct{ Body Cluster }

func (d *Door) registerCluster() {
	register(d, operation{
		id: "getCluster", method: http.MethodGet, path: "/cluster", tag: "nodes",
		summary: "Read how the nodes are doing",
		text:    "As the node that answers sees it: its members, how they stand, and how far it is behind each. A node that is alone has one member. Sessions are those of the app.",
		answers: map[string]any{"self": "n1", "quorum": true, "joined": true, "loaded": true, "members": []any{map[string]any{
			"name": "n1", "incarnation": 17, "self": true, "standing": "alive", "sessions": map[string]int{"created": 3, "live": 1388, "lost": 12}, "position": 48211, "lag": 0, "loaded": true,
		}}},
	}, d.getCluster)
}

func (d *Door) getCluster(ctx context.Context, _ *struct{}) (*clusterOut, error) {
	app := requestOf(ctx).key.app
	if d.cfg.Cluster != nil {
		return &clusterOut{d.cfg.Cluster(ctx, app)}, nil
	}
	here := d.countHere(app)
	return &clusterOut{Cluster{Self: alone, Quorum: true, Joined: true, Loaded: true, Members: []Member{{
		Name: alone, Incarnation: d.cfg.Tracker.Incarnation(), Version: d.cfg.Version, Self: true, Standing: "alive", Loaded: true, Sessions: &here,
	}}}}, nil
}

// alone names the one node of a server that has no others.
const alone = "alone"

// countHere counts the sessions of an app at this node.
func (d *Door) countHere(app presence.AppID) SessionCounts {
	c := d.cfg.Tracker.Count(app)
	return SessionCounts{c.Created, c.Live, c.Lost}
}
