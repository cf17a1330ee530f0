package rest

import (
	"context"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A node that is alone is one member; of several, what the node knows is told, with
// the sessions of the key's app.
func TestGetCluster(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.open("alice", presence.Device{}, nil)
	n.wants("GET", "/cluster", "", `{"self":"alone","quorum":true,"joined":true,"loaded":true,"members":[{"name":"alone","incarnation":1,"version":"test","self":true,"standing":"alive","sessions":{"created":0,"live":1,"lost":0},"loaded":true,"position":0,"lag":0}]}`)

	none := 0
	n.door.cfg.Cluster = func(_ context.Context, app presence.AppID) Cluster {
		if app != "demo" {
			t.Errorf("asked for app %s", app)
		}
		return Cluster{Self: "n1", Members: []Member{{Name: "n2", Standing: "suspect", Differing: &none, Repairs: &Repairs{Shards: 2, Reason: "gap"}}}}
	}
	n.wants("GET", "/cluster", "", `{"self":"n1","quorum":false,"joined":false,"loaded":false,"members":[{"name":"n2","incarnation":0,"standing":"suspect","position":0,"lag":0,"differing":0,"repairs":{"shards":2,"sessions":0,"reason":"gap"}}]}`)
}
