package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// buryAgain is the pause after dead letters could not be stored; it doubles
	// up to buryMost. The lane waits meanwhile: nothing is given up silently.
	buryAgain = time.Second
	buryMost  = time.Minute
)

// bury makes dead letters of a delivery that was given up, but for events of users
// who were erased meanwhile. It reports false when ctx ended before they were
// stored.
func (r *run) bury(ctx context.Context, lane int, d *Delivery, t try) bool {
	name := store.Endpoint{App: r.endpoint.App, Name: r.endpoint.Name}
	for pause := buryAgain; ; pause = min(2*pause, buryMost) {
		if t, nothing := r.forget(ctx, d); t.ended || nothing {
			return nothing
		}
		err := r.d.cfg.Letters.AddLetters(ctx, name, lettersOf(lane, d.Events, t))
		if err == nil {
			break
		}
		r.tally.fail(fmt.Errorf("store dead letters: %w", err))
		r.d.cfg.Logger.Error("dead letters of a webhook were not stored; its lane waits", "app", name.App, "endpoint", name.Name, "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
	r.d.cfg.Logger.Warn("a webhook's delivery was given up; its events are dead letters now, which can be sent again",
		"app", name.App, "endpoint", name.Name, "events", len(d.Events), "attempts", t.number, "error", t.Detail)
	r.d.cfg.Meter.Died(name.App, name.Name, len(d.Events))
	return true
}

// lettersOf are the letters of events that were given up now.
func lettersOf(lane int, events []Event, t try) []store.Letter {
	letters := make([]store.Letter, 0, len(events))
	now := presence.At(time.Now())
	for i := range events {
		e := &events[i]
		letters = append(letters, store.Letter{
			User: e.User, At: now, Lane: lane, Position: e.Position.String(), UserSeq: e.Seq, Attempts: t.number, Reason: t.Detail, Body: letterBody(*e),
		})
	}
	return letters
}

// letterBody is what is kept of an event: all of it, or, when that is more than a
// letter holds, all but what is told of other sessions, and at last of its own.
// Otherwise its lane would wait for ever. It is empty for what JSON cannot write,
// such as some numbers: the letter stands without it.
func letterBody(e Event) []byte {
	for _, leave := range []func(){
		func() {},
		func() {
			e.Replaced = slices.Clone(e.Replaced)
			for i := range e.Replaced {
				e.Replaced[i].Status = nil
			}
		},
		func() { e.Replaced = nil },
		func() { e.Replaces, e.Session.Status = nil, nil },
	} {
		leave()
		if body, err := json.Marshal(&e); err == nil && len(body) <= store.MaxLetterBody {
			return body
		}
	}
	return nil
}

// letterOf reads a stored letter.
func letterOf(l store.Letter) (Letter, error) {
	out := Letter{ID: strconv.FormatUint(l.Number, 10), Died: l.At.Time(), Attempts: l.Attempts, Why: l.Reason}
	if err := json.Unmarshal(l.Body, &out.Event); err != nil {
		return out, fmt.Errorf("dead letter %s cannot be read: %w", out.ID, err)
	}
	return out, nil
}
