package client

import (
	"context"
	"net/http"
	"time"
)

// Cluster is how the server's nodes are doing, as one of them sees it.
type Cluster struct {
	Self    string       `json:"self"`   // the node that answered
	Quorum  bool         `json:"quorum"` // a majority of the store acknowledges that it lives
	Joined  bool         `json:"joined"` // it takes part; else it is cut off or stood still
	Loaded  bool         `json:"loaded"` // it has the sessions of all members
	Members []NodeStatus `json:"members"`
}

// NodeStatus is how one node is doing.
type NodeStatus struct {
	Name        string `json:"name"`
	Incarnation uint64 `json:"incarnation"` // grows with each start
	Version     string `json:"version,omitempty"`
	Self        bool   `json:"self,omitempty"`
	// Standing is one word: "alive", "suspect" (not heard for 1.5 s), "lost" (a majority
	// has not heard it for 3 s), "gone" or "left".
	Standing string    `json:"standing"`
	Heard    time.Time `json:"heard,omitzero"` // when its last heartbeat came
	// Sessions are the app's there; nil when it does not answer.
	Sessions *NodeSessions `json:"sessions,omitempty"`
	Loaded   bool          `json:"loaded,omitempty"` // its sessions were all copied
	Position uint64        `json:"position"`         // its last batch of changes that arrived
	Lag      uint64        `json:"lag"`              // how many have not yet
	Digest   string        `json:"digest,omitempty"` // of its sessions as they are known
	// Differing is how many of 1,024 shards are known otherwise than it has them; nil
	// when it does not answer.
	Differing          *int     `json:"differing,omitempty"`
	OtherConfiguration bool     `json:"other_configuration,omitempty"`
	Unready            string   `json:"unready,omitempty"`   // why it takes no sessions, in its words
	NotHeard           []string `json:"not_heard,omitempty"` // members that it does not hear
	Repairs            *Repairs `json:"repairs,omitempty"`   // nil: nothing was copied again
}

// NodeSessions counts sessions of a node.
type NodeSessions struct {
	Created int `json:"created"`
	Live    int `json:"live"`
	Lost    int `json:"lost"`
}

// Repairs are what was copied again from a node.
type Repairs struct {
	Shards   uint64    `json:"shards"`
	Sessions uint64    `json:"sessions"`
	Last     time.Time `json:"last,omitzero"`
	Reason   string    `json:"reason,omitempty"` // "fresh", "gap", "drift" or "mute"
}

// Cluster returns how the server's nodes are doing. A node that is alone has one
// member.
func (b *Backend) Cluster(ctx context.Context) (Cluster, error) {
	var c Cluster
	err := b.call(ctx, http.MethodGet, b.path("cluster"), nil, &c)
	return c, err
}
