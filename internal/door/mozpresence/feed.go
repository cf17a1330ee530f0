package mozpresence

import (
	"context"
	"errors"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// entry is what a publisher is to be told: a status, or how far the log is where
// there was none for him.
type entry struct {
	uid, status string
	at          presence.Time
	through     facts.Position // zero: of no position in the log
	dead        bool           // the uid was revoked
}

// feed follows the log for one reader of one publisher, and gives what he may be
// told.
type feed struct {
	door *Door
	id   string
	app  presence.AppID
	told map[string]string // the last status told, of those who are not offline
	give func(ctx context.Context, e entry) error
}

// follow gives everything behind a position, until ctx ends or give fails.
func (f *feed) follow(ctx context.Context, after facts.Position) error {
	for {
		err := f.door.cfg.Facts.Follow(ctx, facts.Params{App: f.app, After: after}, func(events []*facts.Event, through facts.Position) error {
			for _, e := range events {
				if err := f.event(ctx, e); err != nil {
					return err
				}
			}
			return f.give(ctx, entry{through: through})
		})
		var gap *facts.GapError
		var beyond *facts.BeyondError
		switch {
		case errors.As(err, &gap):
			after = gap.To
		case errors.As(err, &beyond):
			f.door.log.Warn("a publisher's queue is of another log; it goes on with what happens now", "publisher", f.id)
			after = beyond.End
		default:
			return err
		}
	}
}

// event gives what an event means for the publisher.
func (f *feed) event(ctx context.Context, e *facts.Event) error {
	if !e.ShownBefore && !e.ShownAfter || e.Kind == presence.RecordErased || presence.At(time.Now()).Sub(e.Time) > publisher.QueueLimit {
		return nil
	}
	if e.Kind == presence.RecordClosed && e.Reason == presence.ReasonReplaced {
		return nil // an opening follows, and says how the user is
	}
	g, ok, err := f.door.cfg.Publishers.Granted(ctx, e.User, f.id)
	if err != nil || !ok || e.Time < g.At {
		return err
	}
	status := f.door.statusAfter(e)
	last, known := f.told[g.UID]
	if known && last == status {
		return nil
	}
	if status == statusOffline {
		delete(f.told, g.UID)
	} else {
		f.told[g.UID] = status
	}
	return f.give(ctx, entry{uid: g.UID, status: status, at: e.Time})
}

// statusAfter is a user's status after an event. The log says exactly whether he
// is there; how he is with several devices the table of now says, or, where he
// is gone since, the session that the event is of.
func (d *Door) statusAfter(e *facts.Event) string {
	if !e.ShownAfter {
		return statusOffline
	}
	if now := d.statusNow(e.User); now != statusOffline {
		return now
	}
	if s := e.Session.Status; s != nil && s.Show != presence.Online {
		return statusUnavailable
	}
	return statusOnline
}

// start is where a publisher's queue begins: where it was told to, but no longer
// ago than an hour.
func (d *Door) start(ctx context.Context, q publisher.Queue) (facts.Position, error) {
	if q.Position == "" {
		return d.cfg.Facts.End(ctx)
	}
	at, err := facts.ParsePosition(q.Position)
	if err != nil {
		return at, err
	}
	oldest, err := d.cfg.Facts.At(ctx, time.Now().Add(-publisher.QueueLimit))
	if err == nil && at.Before(oldest) {
		at = oldest
	}
	return at, err
}

func (e *entry) append(b []byte) []byte {
	b = append(b, `{"status":"`...)
	b = append(b, e.status...)
	b = append(b, `","uid":`...)
	return append(appendText(b, e.uid), '}')
}
