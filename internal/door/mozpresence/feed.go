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
	told map[string]string                             // the last status told, of those who are not offline
	seen map[presence.User]map[presence.PublicID]shown // of those who are there
	give func(ctx context.Context, e entry) error
}

// shown is how the log left a session: open and to be seen by others, with a show,
// or not.
type shown struct {
	open bool
	show presence.Show
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
	if e.Kind == presence.RecordErased || presence.At(time.Now()).Sub(e.Time) > publisher.QueueLimit {
		return nil
	}
	g, ok, err := f.door.cfg.Publishers.Granted(ctx, e.User, f.id)
	if err != nil || !ok || e.Time < g.At {
		return err
	}
	status := f.statusAfter(e)
	if e.Kind == presence.RecordClosed && e.Reason == presence.ReasonReplaced {
		return nil // an opening follows, and says how the user is
	}
	last, known := f.told[g.UID]
	if known && last == status || !known && !e.ShownBefore && !e.ShownAfter {
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
// is there, and how the sessions are that it told of; those of before are in the
// table of now. The table alone would not do: a change is in the log a moment
// before it is in the table, and nothing comes after it to correct what was told.
func (f *feed) statusAfter(e *facts.Event) string {
	if !e.ShownAfter {
		delete(f.seen, e.User)
		return statusOffline
	}
	seen := f.seen[e.User]
	if seen == nil {
		if f.seen == nil {
			f.seen = map[presence.User]map[presence.PublicID]shown{}
		}
		seen = map[presence.PublicID]shown{}
		f.seen[e.User] = seen
	}
	now := shown{open: e.Session.Phase == presence.FoldOpen && !e.Session.Hidden, show: showOf(e.Session.Status)}
	seen[e.Session.Public] = now
	a, table := presence.Unavailable, map[presence.PublicID]bool{}
	for _, v := range f.door.cfg.Tracker.Presence(e.User).Sessions {
		if v.Shown.Open() {
			table[v.Public] = true
			if _, told := seen[v.Public]; !told && v.Shown.Since <= e.Time {
				a = a.With(showOf(v.Status))
			}
		}
	}
	for id, s := range seen {
		if s.open {
			a = a.With(s.show)
		} else if !table[id] && id != e.Session.Public {
			delete(seen, id)
		}
	}
	if a == presence.Unavailable { // his other sessions are gone since
		a = a.With(now.show)
	}
	return word(a)
}

func showOf(s *presence.Status) presence.Show {
	if s == nil {
		return presence.Online
	}
	return s.Show
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
