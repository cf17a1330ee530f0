package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

const (
	// askLimit is how long a node waits for what the others say of endpoints.
	askLimit = 2 * time.Second
	// passRetry is when to try again what no node served just then.
	passRetry = time.Second
	// answerMargin is how much sooner a node ends a resend for another one than
	// that one gives up, so that what was done is told.
	answerMargin = time.Second
	// mostOlder bounds the ids of dead letters in an answer between nodes.
	mostOlder = 20_000
)

// Nodes are the others of several nodes that have the same endpoints.
type Nodes interface {
	// Self is the name of this node.
	Self() string
	// Server is the node that is to serve an endpoint, and its name; here says that
	// it is this one. 0: it cannot be said.
	Server(app presence.AppID, endpoint string) (node uint64, name string, here bool)
	// Ask asks a node, where Anywhere.Serve answers. It fails with a fault of the
	// kind NodeUnavailable when that is not heard.
	Ask(ctx context.Context, node uint64, question []byte) ([]byte, error)
	// AskAll asks all the others that are heard, and gives what they answer in time.
	AskAll(ctx context.Context, question []byte) map[uint64][]byte
}

// Anywhere is a Deliverer that is one of several: what is asked of it is done by
// the node that serves the endpoint. While an endpoint passes from one to another
// calls fail with fault.NodeUnavailable and when to try again.
type Anywhere struct {
	d     *Deliverer
	nodes Nodes
}

// NewAnywhere returns the deliverer as one of several.
func NewAnywhere(d *Deliverer, nodes Nodes) *Anywhere { return &Anywhere{d, nodes} }

// What one node asks another.
const (
	askStatus = "status"
	askReplay = "replay"
	askCancel = "cancel"
	askResend = "resend"
)

// question is what one node asks another; answer what it says.
type (
	question struct {
		Do       string
		App      presence.AppID
		Endpoint string
		Replay   string
		From     From
		Resend   Resend
	}
	answer struct {
		Status     []Status
		Replay     Replay
		Resent     Resent
		NoEndpoint bool
		NoReplay   bool
		Unfinished bool
	}
)

// passing is the fault of a call that no node serves just now.
func passing(app presence.AppID, endpoint string) error {
	return fault.Retry(fault.NodeUnavailable, passRetry, "webhook %q of app %s passes from one node to another, which takes 5 s at most; try again", endpoint, app)
}

// Serve answers a question of another node.
func (a *Anywhere) Serve(ctx context.Context, b []byte) ([]byte, error) {
	var q question
	if err := json.Unmarshal(b, &q); err != nil {
		return nil, fmt.Errorf("webhook: a question of another node: %w", err)
	}
	var out answer
	var err error
	switch q.Do {
	case askStatus:
		out.Status, err = a.status(ctx, q.App)
	case askReplay:
		out.Replay, err = a.d.Replay(ctx, q.App, q.Endpoint, q.From)
	case askCancel:
		out.Replay, err = a.d.cancelHere(ctx, q.App, q.Endpoint, q.Replay)
	case askResend:
		var cancel context.CancelFunc
		ctx, cancel = a.inTime(ctx, q)
		defer cancel()
		out.Resent, err = a.d.Resend(ctx, q.App, q.Endpoint, q.Resend)
		out.Resent.Older = out.Resent.Older[:min(len(out.Resent.Older), mostOlder)]
	default:
		err = fmt.Errorf("webhook: another node asks for %q, which this version does not know", q.Do)
	}
	switch {
	case errors.Is(err, ErrNoEndpoint):
		out.NoEndpoint = true
	case errors.Is(err, ErrNoReplay):
		out.NoReplay = true
	case errors.Is(err, ErrUnfinished):
		out.Unfinished = true
	case err != nil:
		return nil, err
	}
	return json.Marshal(&out)
}

// inTime ends so much sooner than ctx that a request under way can end, too.
func (a *Anywhere) inTime(ctx context.Context, q question) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	_, e, err := a.d.find(q.App, q.Endpoint)
	if !ok || err != nil {
		return context.WithCancel(ctx)
	}
	left := time.Until(end)
	return context.WithTimeout(ctx, max(left/2, left-answerMargin-e.policy().Timeout))
}

// ask asks the node that serves the endpoint; here says that it is this one.
func (a *Anywhere) ask(ctx context.Context, q question) (out answer, here bool, err error) {
	if _, _, err := a.d.find(q.App, q.Endpoint); err != nil {
		return out, false, err
	}
	node, name, here := a.nodes.Server(q.App, q.Endpoint)
	switch {
	case here:
		return out, true, nil
	case node == 0:
		return out, false, passing(q.App, q.Endpoint)
	}
	b, err := json.Marshal(&q)
	if err != nil {
		return out, false, err
	}
	if b, err = a.nodes.Ask(ctx, node, b); err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err == nil && out.NoEndpoint {
		err = fault.Retry(fault.NodeUnavailable, passRetry, "node %q is to serve webhook %q and does not have it in its configuration; reload it there, too", name, q.Endpoint)
	}
	return out, false, err
}

// askAll asks all the others, and gives what they answer in time.
func (a *Anywhere) askAll(ctx context.Context, q question) (map[uint64]answer, error) {
	b, err := json.Marshal(&q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	said := map[uint64]answer{}
	for node, b := range a.nodes.AskAll(ctx, b) {
		var one answer
		if json.Unmarshal(b, &one) == nil {
			said[node] = one
		}
	}
	return said, nil
}

// unheard is the fault of a call that takes a node that is not heard.
func unheard(node, endpoint string) error {
	return fault.Retry(fault.NodeUnavailable, passRetry, "node %q, which serves webhook %q, is not heard; if it does not come back another node serves it within 5 s; try again", node, endpoint)
}

// Letters is that of Deliverer: dead letters are in the store, which all nodes read.
func (a *Anywhere) Letters(ctx context.Context, app presence.AppID, name, after string, limit int) (letters []Letter, next string, err error) {
	return a.d.Letters(ctx, app, name, after, limit)
}

// Replay is that of Deliverer, begun by the node that serves the endpoint.
func (a *Anywhere) Replay(ctx context.Context, app presence.AppID, name string, from From) (Replay, error) {
	out, here, err := a.ask(ctx, question{Do: askReplay, App: app, Endpoint: name, From: from})
	if here {
		return a.d.Replay(ctx, app, name, from)
	}
	return out.Replay, err
}

// CancelReplay is that of Deliverer, wherever the replay runs, or waits for somebody
// to go on with it.
func (a *Anywhere) CancelReplay(ctx context.Context, app presence.AppID, name, id string) (Replay, error) {
	r, err := a.d.cancelHere(ctx, app, name, id)
	if !errors.Is(err, ErrNoReplay) {
		return r, err
	}
	q := question{Do: askCancel, App: app, Endpoint: name, Replay: id}
	said, err := a.askAll(ctx, q)
	if err != nil {
		return Replay{}, err
	}
	for _, one := range said {
		if !one.NoReplay && !one.NoEndpoint {
			return one.Replay, nil
		}
	}
	r, err = a.d.cancelNoted(ctx, app, name, id)
	if err == nil {
		_, err = a.askAll(ctx, q) // who took it over meanwhile need not wait for his next write
		return r, err
	}
	server, of, here := a.nodes.Server(app, name)
	if _, heard := said[server]; errors.Is(err, ErrNoReplay) && !here && !heard {
		err = unheard(of, name)
	}
	return r, err
}

// Resend is that of Deliverer, by the node that serves the endpoint.
func (a *Anywhere) Resend(ctx context.Context, app presence.AppID, name string, what Resend) (Resent, error) {
	out, here, err := a.ask(ctx, question{Do: askResend, App: app, Endpoint: name, Resend: what})
	switch {
	case here:
		return a.d.Resend(ctx, app, name, what)
	case err == nil && out.Unfinished:
		err = ErrUnfinished
	}
	return out.Resent, err
}
