package webhook

import (
	"context"
	"encoding/json"
	"fmt"
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

// bury makes dead letters of a batch that was given up. It reports false when
// ctx ended before they were stored.
func (r *run) bury(ctx context.Context, lane int, batch []Event, t try) bool {
	letters := make([]store.Letter, 0, len(batch))
	now := presence.At(time.Now())
	for i := range batch {
		e := &batch[i]
		body, err := json.Marshal(e)
		if err != nil { // a number that JSON cannot write: the letter stands without it
			body = nil
		}
		letters = append(letters, store.Letter{
			User: e.User, At: now, Lane: lane, Position: e.Position.String(), UserSeq: e.Seq, Attempts: t.number, Reason: t.Detail, Body: body,
		})
	}
	name := store.Endpoint{App: r.endpoint.App, Name: r.endpoint.Name}
	for pause := buryAgain; ; pause = min(2*pause, buryMost) {
		err := r.d.cfg.Letters.AddLetters(ctx, name, letters)
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
		"app", name.App, "endpoint", name.Name, "events", len(batch), "attempts", t.number, "error", t.Detail)
	r.d.cfg.Meter.Died(name.App, name.Name, len(batch))
	return true
}

// letterOf reads a stored letter.
func letterOf(l store.Letter) (Letter, error) {
	out := Letter{ID: strconv.FormatUint(l.Number, 10), Died: l.At.Time(), Attempts: l.Attempts, Why: l.Reason}
	if err := json.Unmarshal(l.Body, &out.Event); err != nil {
		return out, fmt.Errorf("dead letter %s cannot be read: %w", out.ID, err)
	}
	return out, nil
}
