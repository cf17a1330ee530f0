package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

// codePosition: what a position asks for is gone.
const codePosition = "POSITION_GONE"

// afterNow asks for a position to begin at, and no events.
const afterNow = "now"

// Changes is what happened behind a position.
type Changes struct {
	Events []native.Event `json:"events" nullable:"false" doc:"In order, as the native format tells them."`
	Gap    *native.Gap    `json:"gap,omitempty" doc:"What the log no longer has: it was between these positions. Take a snapshot before you go on at next."`
	Next   string         `json:"next" doc:"Ask with this as after." example:"1042.3.0"`
	More   bool           `json:"more" doc:"There is more already: ask again at once."`
}

type changesIn struct {
	After string `query:"after" maxLength:"64" doc:"A position that an event, a snapshot or an earlier answer gave; now for no events and the position to begin at. Without it from the oldest event there is." example:"1042.3.0"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most events of one answer."`
	Wait  int    `query:"wait" minimum:"0" maximum:"30" default:"0" doc:"How many seconds to wait while there is nothing."`
}

type changesOut struct{ Body Changes }

func (d *Door) registerChanges() {
	register(d, operation{
		id: "listChanges", method: http.MethodGet, path: "/changes", tag: "changes",
		summary: "Fetch what happened",
		text: "The events of a native webhook, by pull: openings, closings, going and coming of invisible sessions, in order, for up to 30 days. " +
			"Begin with a snapshot, whose first line has the position, or with after=now; go on with next. With wait an answer waits for the next event. " +
			"Events tell the truth, and beside it what others see (shown_available, shown_last_seen).",
		answers: map[string]any{"events": []any{exampleEvent()}, "next": "1042.3.0", "more": false},
		faults:  []fault.Kind{fault.LogUnavailable},
	}, d.listChanges)
}

func (d *Door) listChanges(ctx context.Context, in *changesIn) (*changesOut, error) {
	out := &changesOut{Changes{Events: []native.Event{}}}
	if in.After == afterNow {
		end, err := d.cfg.Facts.End(ctx)
		if err != nil {
			return nil, d.historyFault(ctx, err, "query.after")
		}
		out.Body.Next = end.String()
		return out, nil
	}
	after, err := readPosition("query.after", in.After)
	if err != nil {
		return nil, err
	}
	patient, cancel := d.patient(ctx, longestCall)
	defer cancel()
	got, err := d.cfg.Facts.Changes(patient, facts.ChangesParams{
		App: requestOf(ctx).key.app, After: after, Limit: in.Limit, Wait: time.Duration(in.Wait) * time.Second,
	})
	var gap *facts.GapError
	switch {
	case errors.As(err, &gap):
		out.Body.Gap = &native.Gap{From: gap.From.String(), To: gap.To.String(), Time: time.Now().UTC().Format(stampLayout)}
		out.Body.Next, out.Body.More = gap.To.String(), true
		return out, nil
	case err != nil && ctx.Err() == nil && patient.Err() != nil: // the node stops: nothing happened so far
		out.Body.Next = after.String()
		return out, nil
	case err != nil:
		return nil, d.historyFault(ctx, err, "query.after")
	}
	for _, e := range got.Events {
		out.Body.Events = append(out.Body.Events, eventOf(e))
	}
	out.Body.Next, out.Body.More = got.Through.String(), got.More
	return out, nil
}

// longestCall bounds a call that waits; the wait itself is 30 s at most.
const longestCall = time.Minute

// patient is a context for a call that may take long: it ends after limit, and
// when the node stops, for which the caller should not hold it up.
func (d *Door) patient(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	go func() {
		select {
		case <-d.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// Drain ends calls that wait, so that they do not hold up the end of the node.
func (d *Door) Drain() { d.drain.Do(func() { close(d.stopping) }) }

// readPosition reads a position at a place in the request; empty is the beginning.
func readPosition(place, text string) (facts.Position, error) {
	if text == "" {
		return facts.Position{}, nil
	}
	p, err := facts.ParsePosition(text)
	if err != nil {
		return p, fault.Invalid(place, "%v", err)
	}
	return p, nil
}

// historyFault says what the caller may know of an error of the log's readers.
func (d *Door) historyFault(ctx context.Context, err error, place string) error {
	var gap *facts.GapError
	var beyond *facts.BeyondError
	switch {
	case errors.As(err, &gap):
		return newProblem(http.StatusGone, codePosition, gap.Error())
	case errors.As(err, &beyond):
		return fault.Invalid(place, "%v", beyond)
	}
	return d.unread(ctx, err)
}

// unreadRetry is when what could not be read is worth another try: a store of
// several servers may be electing a leader.
const unreadRetry = 2 * time.Second

// unread makes LOG_UNAVAILABLE of what is no word to the caller: the store could not
// be read, or not in time.
func (d *Door) unread(ctx context.Context, err error) error {
	var f *fault.Error
	var p *Problem
	if err == nil || errors.As(err, &f) || errors.As(err, &p) || ctx.Err() != nil {
		return err
	}
	req := requestOf(ctx)
	d.log.ErrorContext(ctx, "what happened cannot be read", "method", req.method, "request", req.id, "error", err)
	return fault.Retry(fault.LogUnavailable, unreadRetry, "what happened cannot be read at the moment; try again")
}

// eventOf tells a fact as the native format does.
func eventOf(e *facts.Event) native.Event {
	return native.EventOf(&webhook.Event{Fact: e.Fact, Position: e.Position, ID: e.ID()})
}

// exampleEvent is an event for the description.
func exampleEvent() map[string]any {
	return map[string]any{
		"position": "1042.3.0", "event_id": "019df2a1-2b3c-7d4e-8f50-617283940a1b", "user_seq": 7, "kind": "opened", "reason": "opened",
		"time": "2026-05-04T10:20:30.400Z", "user": "alice",
		"session":   map[string]any{"id": "Q0rYb1cKTo2mFqS4kq1pCA", "opened_at": "2026-05-04T10:20:30.400Z", "device": map[string]any{"platform": "ios"}, "status": map[string]any{"show": "online"}},
		"invisible": false, "available": true, "was_available": false, "shown_available": true, "shown_was_available": false, "first_session": true,
	}
}

// History is a page of what happened to one user.
type History struct {
	Events []native.Event `json:"events" nullable:"false" doc:"The newest first, as the native format tells them."`
	Next   string         `json:"next,omitempty" doc:"Where to go on; missing at the end." example:"980.0.0"`
}

type historyIn struct {
	OfUser
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most entries of one answer."`
	Next  string `query:"next" maxLength:"64" doc:"Where to go on: next of the last answer."`
}

type historyOut struct{ Body History }

func (d *Door) registerHistory() {
	register(d, operation{
		id: "listHistory", method: http.MethodGet, path: "/users/{id}/history", tag: "changes",
		summary: "Read a user's last 30 days",
		text:    "When he came and went, on which devices, and why: events of listChanges, the newest first, in pages. A user never heard of has none. What was before an erasure is void.",
		answers: map[string]any{"events": []any{exampleEvent()}, "next": "980.0.0"},
		faults:  []fault.Kind{fault.LogUnavailable},
	}, d.listHistory)
}

func (d *Door) listHistory(ctx context.Context, in *historyIn) (*historyOut, error) {
	before, err := readPosition("query.next", in.Next)
	if err != nil {
		return nil, err
	}
	h, err := d.cfg.Facts.History(ctx, facts.HistoryParams{User: in.of(ctx), Before: before, Limit: in.Limit})
	if err != nil {
		return nil, d.historyFault(ctx, err, "query.next")
	}
	out := &historyOut{History{Events: make([]native.Event, 0, len(h.Events))}}
	for _, e := range h.Events {
		out.Body.Events = append(out.Body.Events, eventOf(e))
	}
	if h.More {
		out.Body.Next = h.Next.String()
	}
	return out, nil
}
