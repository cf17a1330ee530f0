package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

// Codes of what is not there.
const (
	codeWebhook = "WEBHOOK_UNKNOWN"
	codeReplay  = "REPLAY_UNKNOWN"
)

// OfWebhook is the endpoint in the path.
type OfWebhook struct {
	Endpoint string `path:"endpoint" maxLength:"32" doc:"The endpoint's name in the configuration, apps.NAME.webhooks." example:"main"`
}

// Webhook is how an endpoint is doing.
type Webhook struct {
	Name        string   `json:"name" doc:"Its name in the configuration." example:"main"`
	Node        string   `json:"node,omitempty" doc:"Of several nodes the one that serves it; whichever is asked answers what that one says." example:"n2"`
	Format      string   `json:"format" doc:"native, rongcloud, tencentim or cloudevents." example:"native"`
	Host        string   `json:"host" doc:"Where it is; the rest of its address may hold a secret." example:"https://backend.example.com"`
	Doing       string   `json:"doing" enum:"live,behind,waiting,paused,gone,stopped" doc:"live: it is told as things happen; behind: what is old comes first; waiting: a failed request waits for its next try; paused: too much failed, nothing is tried for a while; gone: the receiver answered that it wants nothing more; stopped: nobody serves it just now; of several nodes another does within 5 s."`
	Position    string   `json:"position,omitempty" doc:"Up to here everything was delivered, or became a dead letter." example:"1042.3.0"`
	Lanes       int      `json:"lanes" doc:"Queues of users that do not wait for each other." example:"16"`
	Waiting     int      `json:"waiting" doc:"Events that were read and are not delivered." example:"0"`
	Unread      bool     `json:"unread" doc:"There are more that were not read."`
	LagSeconds  float64  `json:"lag_seconds" doc:"How long the oldest event waits that is not delivered." example:"0"`
	InFlight    int      `json:"in_flight" doc:"Requests under way." example:"0"`
	Breaker     string   `json:"breaker" enum:"closed,open,half-open" doc:"open: a pause after many failures; half-open: one request finds out whether it is over."`
	PauseEnds   float64  `json:"pause_seconds,omitempty" doc:"While the breaker is open: how long until the next try." example:"30"`
	Delivered   uint64   `json:"delivered" doc:"Events delivered since the node that serves it started." example:"1280"`
	Attempts    uint64   `json:"attempts" doc:"Requests since the node that serves it started." example:"400"`
	Failures    uint64   `json:"failures" doc:"Requests that failed since the node that serves it started." example:"2"`
	Gaps        uint64   `json:"gaps" doc:"How often the log no longer had what was to be told, since the node that serves it started." example:"0"`
	Dead        int      `json:"dead" doc:"Dead letters: events that were given up." example:"0"`
	LastSuccess Stamp    `json:"last_success,omitzero" doc:"When a request was last answered well; missing when none was since the node that serves it started."`
	LastError   string   `json:"last_error,omitempty" doc:"Why the last failed request failed." example:"status 503"`
	LastErrorAt Stamp    `json:"last_error_at,omitzero" doc:"When that was."`
	Replays     []Replay `json:"replays" nullable:"false" doc:"Replays, the oldest first; the last ten are kept."`
}

// Replay is how a replay is doing.
type Replay struct {
	Replay string `json:"replay" doc:"Its id; requests of the replay carry it." example:"rp_5QZ2WM7CAY4K"`
	Doing  string `json:"doing" enum:"running,done,cancelled,failed" doc:"What it does."`
	From   string `json:"from" doc:"It tells what is behind this position." example:"17"`
	To     string `json:"to" doc:"And up to this one, where the log ended when it began." example:"1042"`
	At     string `json:"at" doc:"Up to here it is through." example:"980.3.0"`
	Events uint64 `json:"events" doc:"Events delivered." example:"512"`
	Failed uint64 `json:"failed" doc:"Events given up: tell them again with another replay." example:"0"`
	// Progress is a guess for people: messages of the log hold any number of events.
	Progress float64 `json:"progress" minimum:"0" maximum:"1" doc:"About how far it is, 0 to 1." example:"0.94"`
	Begun    Stamp   `json:"begun" doc:"When it began."`
	Ended    Stamp   `json:"ended,omitzero" doc:"When it ended; missing while it runs."`
	Error    string  `json:"error,omitempty" doc:"What went wrong last." example:"status 503"`
}

// WebhookList are all endpoints of an app.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks" nullable:"false" doc:"In the order of their names."`
}

// DeadLetter is an event that was given up.
type DeadLetter struct {
	ID       string       `json:"id" doc:"Names the dead letter, for resend." example:"12"`
	Event    native.Event `json:"event" doc:"What was to be told, as the native format tells it."`
	Died     Stamp        `json:"died" doc:"When it was given up."`
	Attempts int          `json:"attempts" doc:"How often it was tried." example:"3"`
	Why      string       `json:"why" doc:"What the last try came to." example:"status 503"`
}

// DeadLetters is a page of them.
type DeadLetters struct {
	Letters []DeadLetter `json:"letters" nullable:"false" doc:"The oldest first."`
	Next    string       `json:"next,omitempty" doc:"Where to go on; missing at the end." example:"12"`
}

type (
	webhookIn     struct{ OfWebhook }
	webhookOut    struct{ Body Webhook }
	webhookListIn struct{}
	webhooksOut   struct{ Body WebhookList }
	deadIn        struct {
		OfWebhook
		Page
	}
	deadOut struct{ Body DeadLetters }
)

// unknownWebhook is what an operation on an endpoint may answer, too.
var unknownWebhook = []refusal{{http.StatusNotFound, codeWebhook}}

func (d *Door) registerWebhooks() {
	register(d, operation{
		id: "listWebhooks", method: http.MethodGet, path: "/webhooks", tag: "webhooks",
		summary: "List the webhooks", text: "The app's endpoints and how they are doing. Of several nodes one serves an endpoint, and any answers for it; while that one is not heard the answer is NODE_UNAVAILABLE, until another has taken over, within 5 s.",
		answers: map[string]any{"webhooks": []any{exampleWebhook()}}, faults: []fault.Kind{fault.LogUnavailable, fault.Draining, fault.NodeUnavailable},
	}, d.listWebhooks)
	register(d, operation{
		id: "getWebhook", method: http.MethodGet, path: "/webhooks/{endpoint}", tag: "webhooks",
		summary: "Read how a webhook is doing", text: "One endpoint of listWebhooks.",
		answers: exampleWebhook(), faults: []fault.Kind{fault.LogUnavailable, fault.Draining, fault.NodeUnavailable}, more: unknownWebhook,
	}, d.getWebhook)
	register(d, operation{
		id: "listDeadLetters", method: http.MethodGet, path: "/webhooks/{endpoint}/dead", tag: "webhooks",
		summary: "List dead letters",
		text:    "Events that the endpoint's format gave up, in pages. They stay for 30 days, up to 100,000 of an endpoint, until resend delivers them.",
		answers: map[string]any{"letters": []any{map[string]any{
			"id": "12", "event": exampleEvent(), "died": "2026-05-04T10:20:47.100Z", "attempts": 3, "why": "status 503",
		}}, "next": "12"},
		faults: []fault.Kind{fault.LogUnavailable, fault.Draining}, more: unknownWebhook,
	}, d.listDeadLetters)
}

func exampleWebhook() map[string]any {
	return map[string]any{
		"name": "main", "format": "native", "host": "https://backend.example.com", "doing": "live", "position": "1042.3.0", "lanes": 16,
		"waiting": 0, "unread": false, "lag_seconds": 0, "in_flight": 0, "breaker": "closed", "delivered": 1280, "attempts": 400, "failures": 2,
		"gaps": 0, "dead": 0, "last_success": "2026-05-04T10:20:30.400Z", "last_error": "status 503", "last_error_at": "2026-05-04T09:00:00.000Z", "replays": []any{},
	}
}

func (d *Door) listWebhooks(ctx context.Context, _ *webhookListIn) (*webhooksOut, error) {
	limited, cancel := d.patient(ctx, statusLimit)
	defer cancel()
	all, err := d.cfg.Webhooks.Status(limited, requestOf(ctx).key.app)
	if err != nil {
		return nil, d.unread(ctx, err)
	}
	out := &webhooksOut{WebhookList{Webhooks: make([]Webhook, 0, len(all))}}
	for i := range all {
		out.Body.Webhooks = append(out.Body.Webhooks, webhookOf(&all[i]))
	}
	return out, nil
}

func (d *Door) getWebhook(ctx context.Context, in *webhookIn) (*webhookOut, error) {
	limited, cancel := d.patient(ctx, statusLimit)
	defer cancel()
	s, err := d.cfg.Webhooks.Endpoint(limited, requestOf(ctx).key.app, in.Endpoint)
	if err != nil {
		return nil, d.notThere(ctx, err)
	}
	return &webhookOut{webhookOf(&s)}, nil
}

func (d *Door) listDeadLetters(ctx context.Context, in *deadIn) (*deadOut, error) {
	letters, next, err := d.cfg.Webhooks.Letters(ctx, requestOf(ctx).key.app, in.Endpoint, in.Next, in.most())
	if err != nil {
		return nil, d.notThere(ctx, renamed(err, "after", "query.next"))
	}
	out := &deadOut{DeadLetters{Letters: make([]DeadLetter, 0, len(letters)), Next: next}}
	for i := range letters {
		l := &letters[i]
		out.Body.Letters = append(out.Body.Letters, DeadLetter{
			ID: l.ID, Event: native.EventOf(&l.Event), Died: stampOf(l.Died), Attempts: l.Attempts, Why: l.Why,
		})
	}
	return out, nil
}

// statusLimit bounds the wait for the store of who only looks.
const statusLimit = 5 * time.Second

// notThere makes 404 of what is unknown.
func (d *Door) notThere(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, webhook.ErrNoEndpoint):
		return newProblem(http.StatusNotFound, codeWebhook, "the app has no webhook of this name; GET "+Prefix+"/webhooks lists those that it has")
	case errors.Is(err, webhook.ErrNoReplay):
		return newProblem(http.StatusNotFound, codeReplay, "the webhook has no replay of this id, or no longer; GET "+Prefix+"/webhooks/NAME lists those that it has")
	}
	return d.unread(ctx, err)
}

// renamed puts a fault's field where it stands in the request.
func renamed(err error, field, place string) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	moved := *f
	moved.Fields = nil
	for _, v := range f.Fields {
		if v.Path == field {
			v.Path = place
		}
		moved.Fields = append(moved.Fields, v)
	}
	return &moved
}

// stampOf is a time of the clock on the wire.
func stampOf(t time.Time) Stamp {
	if t.IsZero() {
		return 0
	}
	return Stamp(presence.At(t))
}

func webhookOf(s *webhook.Status) Webhook {
	w := Webhook{
		Name: s.Name, Node: s.Node, Format: s.Format, Host: s.Host, Doing: s.Doing, Lanes: s.Lanes, Waiting: s.Waiting, Unread: s.Unread,
		LagSeconds: s.Lag.Seconds(), InFlight: s.InFlight, Breaker: s.Breaker, PauseEnds: s.Pause.Seconds(),
		Delivered: s.Delivered, Attempts: s.Attempts, Failures: s.Failures, Gaps: s.Gaps, Dead: s.Dead,
		LastSuccess: stampOf(s.LastSuccess), LastError: s.LastError, LastErrorAt: stampOf(s.LastErrorAt), Replays: []Replay{},
	}
	if s.Position != (webhook.Position{}) {
		w.Position = s.Position.String()
	}
	for i := range s.Replays {
		w.Replays = append(w.Replays, replayOf(&s.Replays[i]))
	}
	return w
}

func replayOf(r *webhook.Replay) Replay {
	out := Replay{
		Replay: r.ID, Doing: r.Doing, From: r.From.String(), To: r.To.String(), At: r.At.String(),
		Events: r.Events, Failed: r.Failed, Begun: stampOf(r.Begun), Ended: stampOf(r.Ended), Error: r.Error, Progress: 1,
	}
	if whole := r.To.Sequence - min(r.To.Sequence, r.From.Sequence); r.Doing != "done" && whole > 0 {
		out.Progress = float64(r.At.Sequence-min(r.At.Sequence, r.From.Sequence)) / float64(whole)
		out.Progress = min(out.Progress, 1)
	}
	return out
}
