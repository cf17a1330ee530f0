package webhook

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// How endpoints are doing, wherever they are served.

// Status is that of Deliverer, with what the nodes that serve the endpoints say.
func (a *Anywhere) Status(ctx context.Context, app presence.AppID) ([]Status, error) {
	all, err := a.status(ctx, app)
	if err != nil {
		return nil, err
	}
	said := a.said(ctx, app)
	for i := range all {
		if all[i], err = a.merged(ctx, all[i], said); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// status is what this node says.
func (a *Anywhere) status(ctx context.Context, app presence.AppID) ([]Status, error) {
	all, err := a.d.Status(ctx, app)
	for i := range all {
		all[i].Node = a.nodes.Self()
	}
	return all, err
}

// Endpoint is one of Status.
func (a *Anywhere) Endpoint(ctx context.Context, app presence.AppID, name string) (Status, error) {
	own, err := a.d.Endpoint(ctx, app, name)
	if err != nil {
		return own, err
	}
	own.Node = a.nodes.Self()
	return a.merged(ctx, own, a.said(ctx, app))
}

// said is what the other nodes say of an app's endpoints, by node.
func (a *Anywhere) said(ctx context.Context, app presence.AppID) map[uint64][]Status {
	said := map[uint64][]Status{}
	all, err := a.askAll(ctx, question{Do: askStatus, App: app})
	for node, one := range all {
		if err == nil {
			said[node] = one.Status
		}
	}
	return said
}

// merged is how an endpoint is doing where it is served, with the replays of all.
func (a *Anywhere) merged(ctx context.Context, own Status, said map[uint64][]Status) (Status, error) {
	server, name, here := a.nodes.Server(own.App, own.Name)
	out, others := own, own.Replays
	known := here
	for node, all := range said {
		i := slices.IndexFunc(all, func(s Status) bool { return s.Name == own.Name && s.App == own.App })
		if node == server && i < 0 {
			out.LastError, out.LastErrorAt = fmt.Sprintf("node %q is to serve it and does not have it in its configuration: reload it there, too", name), time.Now()
		}
		known = known || node == server
		if i < 0 {
			continue
		}
		others = append(others, all[i].Replays...)
		if out.Doing == doingStopped && (node == server || all[i].Doing != doingStopped) {
			out = all[i]
		}
	}
	if out.Doing == doingStopped {
		if !known {
			return out, unheard(name, own.Name)
		}
		out.Node, out.Position = name, a.d.stored(ctx, own)
		noted, _, err := a.d.storedReplays(ctx, notesOf(own.App, own.Name))
		if err != nil {
			return out, err
		}
		out.Replays = nil
		for _, r := range noted {
			out.Replays = append(out.Replays, r.Replay)
		}
	}
	// Who serves the endpoint knows best; others know what ran there before.
	for _, r := range others {
		if !slices.ContainsFunc(out.Replays, func(o Replay) bool { return o.ID == r.ID }) {
			out.Replays = append(out.Replays, r)
		}
	}
	slices.SortFunc(out.Replays, func(a, b Replay) int { return cmp.Or(a.Begun.Compare(b.Begun), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// stored is how far an endpoint is that nobody serves just now; zero: it cannot be said.
func (d *Deliverer) stored(ctx context.Context, s Status) (at Position) {
	c, err := d.cfg.Cursors.LoadCursors(ctx, store.Endpoint{App: s.App, Name: s.Name})
	for i := range c.Lanes {
		p, bad := facts.ParsePosition(c.Lanes[i].Position)
		if err != nil || bad != nil {
			return Position{}
		}
		if i == 0 || p.Before(at) {
			at = p
		}
	}
	return at
}
