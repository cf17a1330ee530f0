package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// ReplayFrom says where a replay begins.
type ReplayFrom struct {
	Position string `json:"position,omitempty" maxLength:"64" doc:"Tell again what is behind this position, which an event, a snapshot or an earlier answer gave." example:"17.0.0"`
	Time     Stamp  `json:"time,omitzero" doc:"Or: what happened at this time or later."`
}

// Resolve refuses both and none.
func (f *ReplayFrom) Resolve(huma.Context) []error {
	switch given := f.Time != 0; {
	case given && f.Position != "":
		return []error{&huma.ErrorDetail{Location: "body", Message: "position and time both say where to begin; give one"}}
	case !given && f.Position == "":
		return []error{&huma.ErrorDetail{Location: "body", Message: "say where to begin: position or time"}}
	}
	return nil
}

// ResendWhat says which dead letters to send again.
type ResendWhat struct {
	IDs   []string `json:"ids,omitempty" nullable:"false" maxItems:"1000" doc:"Ids of dead letters." example:"[\"12\",\"13\"]"`
	All   bool     `json:"all,omitempty" doc:"Or: all of them."`
	Force bool     `json:"force,omitempty" doc:"Those too that are older than their user's newest event: a receiver that goes by what comes last would take them for the present."`
}

// Resolve refuses both and none.
func (w *ResendWhat) Resolve(huma.Context) []error {
	switch {
	case w.All && len(w.IDs) > 0:
		return []error{&huma.ErrorDetail{Location: "body", Message: "ids and all both say which; give one"}}
	case !w.All && len(w.IDs) == 0:
		return []error{&huma.ErrorDetail{Location: "body", Message: "say which dead letters: ids, or all: true"}}
	}
	return nil
}

// Resent says what a resend did.
type Resent struct {
	Sent   int            `json:"sent" doc:"Delivered, and dead letters no more." example:"2"`
	Failed int            `json:"failed" doc:"Not delivered; dead letters as before." example:"0"`
	Older  []string       `json:"older" nullable:"false" doc:"Not tried: ids of those that are older than their user's newest event, which takes force." example:"[]"`
	Errors map[string]int `json:"errors" doc:"What went wrong, and with how many requests." example:"{}"`
	// Unfinished is told with all: the rest takes another call.
	Unfinished bool `json:"unfinished,omitempty" doc:"With all: there was no time for the rest; call again."`
}

type (
	replayIn struct {
		OfWebhook
		Body ReplayFrom
	}
	replayOut      struct{ Body Replay }
	cancelReplayIn struct {
		OfWebhook
		Replay string `path:"replay" maxLength:"64" doc:"The replay's id." example:"rp_5QZ2WM7CAY4K"`
	}
	resendIn struct {
		OfWebhook
		Body ResendWhat
	}
	resentOut struct{ Body Resent }
)

// resendLimit is how long one call of resend goes on: what is between the caller
// and this node rarely waits longer for an answer.
const resendLimit = 25 * time.Second

func (d *Door) registerAgain() {
	faults := []fault.Kind{fault.LogUnavailable, fault.Draining, fault.NodeUnavailable}
	example := map[string]any{
		"replay": "rp_5QZ2WM7CAY4K", "doing": "running", "from": "17", "to": "1042", "at": "17", "events": 0, "failed": 0, "progress": 0, "begun": "2026-05-04T10:20:30.400Z",
	}
	register(d, operation{
		id: "replayWebhook", method: http.MethodPost, path: "/webhooks/{endpoint}/replay", tag: "webhooks",
		summary: "Tell a webhook again what happened",
		text: "From a position or a time up to now, beside what is live. Requests carry the replay's id, and events the positions, numbers and ids that they had. " +
			"The answer comes at once; getWebhook says how far it is. One replay of an endpoint runs at a time, at the node that serves it, whichever node is asked; whoever serves it next, after a restart too, goes on with it. " +
			"Events up to 30 days old can be told; where older ones are asked for the receiver is told of a gap.",
		asks: map[string]any{"time": "2026-05-04T09:00:00Z"}, answers: example, faults: faults, more: unknownWebhook,
	}, d.replayWebhook)
	register(d, operation{
		id: "cancelReplay", method: http.MethodDelete, path: "/webhooks/{endpoint}/replays/{replay}", tag: "webhooks",
		summary: "End a replay", text: "Answers how far it came. One that is over stays as it is.",
		answers: example, faults: faults, more: append([]refusal{{http.StatusNotFound, codeReplay}}, unknownWebhook...),
	}, d.cancelReplay)
	register(d, operation{
		id: "resendDeadLetters", method: http.MethodPost, path: "/webhooks/{endpoint}/resend", tag: "webhooks",
		summary: "Send dead letters again",
		text:    "Each is tried once, the oldest first; what is delivered is a dead letter no more. With all the call ends after 25 s at the latest and says if there is more.",
		asks:    map[string]any{"all": true}, answers: map[string]any{"sent": 2, "failed": 0, "older": []string{}, "errors": map[string]int{}},
		faults: faults, more: unknownWebhook,
	}, d.resend)
}

func (d *Door) replayWebhook(ctx context.Context, in *replayIn) (*replayOut, error) {
	from := webhook.From{Time: presence.Time(in.Body.Time)}
	at := "body.time"
	if in.Body.Position != "" {
		at = "body.position"
		p, err := readPosition(at, in.Body.Position)
		if err != nil {
			return nil, err
		}
		from.Position = &p
	}
	r, err := d.cfg.Webhooks.Replay(ctx, requestOf(ctx).key.app, in.Endpoint, from)
	if err != nil {
		return nil, d.notThere(ctx, renamed(err, "from", at))
	}
	d.note(ctx, "a replay began", "endpoint", in.Endpoint, "replay", r.ID)
	return &replayOut{replayOf(&r)}, nil
}

func (d *Door) cancelReplay(ctx context.Context, in *cancelReplayIn) (*replayOut, error) {
	r, err := d.cfg.Webhooks.CancelReplay(ctx, requestOf(ctx).key.app, in.Endpoint, in.Replay)
	if err != nil {
		return nil, d.notThere(ctx, err)
	}
	return &replayOut{replayOf(&r)}, nil
}

func (d *Door) resend(ctx context.Context, in *resendIn) (*resentOut, error) {
	limited, cancel := d.patient(ctx, resendLimit)
	defer cancel()
	r, err := d.cfg.Webhooks.Resend(limited, requestOf(ctx).key.app, in.Endpoint, webhook.Resend{IDs: in.Body.IDs, All: in.Body.All, Force: in.Body.Force})
	unfinished := errors.Is(err, webhook.ErrUnfinished) && ctx.Err() == nil
	if err != nil && !unfinished {
		return nil, d.notThere(ctx, at(err, "body"))
	}
	d.note(ctx, "dead letters sent again", "endpoint", in.Endpoint, "sent", r.Sent, "failed", r.Failed)
	out := &resentOut{Resent{Sent: r.Sent, Failed: r.Failed, Older: append([]string{}, r.Older...), Errors: r.Errors, Unfinished: unfinished}}
	if out.Body.Errors == nil {
		out.Body.Errors = map[string]int{}
	}
	return out, nil
}
