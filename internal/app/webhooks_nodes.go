package app

import (
	"context"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	restdoor "github.com/porchlight-dev/porchlight/internal/door/rest"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/lease"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// methodWebhooks is the call between nodes that asks for endpoints.
const methodWebhooks = "webhooks"

// dutyOf is what the one node has that serves an endpoint.
func dutyOf(app presence.AppID, endpoint string) string {
	return fmt.Sprintf("webhook/%s/%s", app, endpoint)
}

// owner says who serves webhooks.
func (a *App) owner() webhook.Owner {
	if a.nodes.leases == nil {
		return webhook.Alone(a.telling.term)
	}
	return webhookLeases{a.nodes.leases}
}

// webhookLeases gives each endpoint to one node.
type webhookLeases struct{ leases *lease.Leases }

// Owned implements webhook.Owner.
func (w webhookLeases) Owned(app presence.AppID, endpoint string) (uint64, time.Time) {
	return w.leases.Held(dutyOf(app, endpoint))
}

// Outdone implements webhook.Outdone.
func (w webhookLeases) Outdone(app presence.AppID, endpoint string, term uint64) {
	w.leases.Outdone(dutyOf(app, endpoint), term)
}

// hooks is the endpoints as the REST API has them, whichever node serves them.
func (a *App) hooks() restdoor.Webhooks {
	if a.nodes.cluster == nil {
		return a.telling.webhooks
	}
	return a.anywhere()
}

func (a *App) anywhere() *webhook.Anywhere {
	return webhook.NewAnywhere(a.telling.webhooks, webhookNodes{a.nodes.cluster, a.p.Nodes.Name})
}

// serveHooks answers another node.
func (a *App) serveHooks(ctx context.Context, _ uint64, b []byte) ([]byte, error) {
	if !a.ready.Load() {
		return nil, fault.Retry(fault.NodeUnavailable, time.Second, "the node that serves the webhook is starting or stopping")
	}
	return a.anywhere().Serve(ctx, b)
}

// webhookNodes is the cluster as endpoints know it.
type webhookNodes struct {
	cluster *cluster.Cluster
	name    string
}

// Self implements webhook.Nodes.
func (n webhookNodes) Self() string { return n.name }

// Server implements webhook.Nodes.
func (n webhookNodes) Server(app presence.AppID, endpoint string) (node uint64, name string, here bool) {
	node = n.cluster.Owner([]byte(dutyOf(app, endpoint)))
	for _, m := range n.cluster.Members() {
		if m.Incarnation == node {
			name = m.Name
		}
	}
	return node, name, node == n.cluster.Self()
}

// Ask implements webhook.Nodes.
func (n webhookNodes) Ask(ctx context.Context, node uint64, question []byte) ([]byte, error) {
	return n.cluster.Call(ctx, node, methodWebhooks, question)
}

// AskAll implements webhook.Nodes.
func (n webhookNodes) AskAll(ctx context.Context, question []byte) map[uint64][]byte {
	said := map[uint64][]byte{}
	for _, answer := range n.cluster.CallAll(ctx, methodWebhooks, question) {
		if answer.Err == nil {
			said[answer.Incarnation] = answer.B
		}
	}
	return said
}
