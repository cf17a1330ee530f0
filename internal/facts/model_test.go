package facts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// all is what one reader from the beginning would have been told by now, if
// it had known of the erasures.
func (w *world) all() (events []*Event) {
	folds := map[presence.User]*presence.Folded{}
	for i := range w.log {
		u := folds[w.log[i].User]
		if u == nil {
			u = &presence.Folded{}
			folds[w.log[i].User] = u
		}
		for j, f := range u.Apply(&w.log[i], nil) {
			e := &Event{w.places[i], f}
			e.Position.Ordinal = uint32(j)
			if f.Kind != presence.RecordMoved {
				events = append(events, e)
			}
		}
	}
	events = slices.DeleteFunc(events, func(e *Event) bool { return w.voided(e) })
	for _, e := range events {
		if e.Kind == presence.RecordClosed && e.Time <= w.lastErasure(e.User) && e.Position.Sequence <= w.erasedAt(e.User) {
			e.LastSeen, e.Shown = 0, 0
		}
	}
	return events
}

// erasedAt is the message with the last erasure of a user.
func (w *world) erasedAt(u presence.User) (sequence uint64) {
	for i := range w.log {
		if r := &w.log[i]; r.Kind == presence.RecordErased && r.User == u {
			sequence = w.places[i].Sequence
		}
	}
	return sequence
}

// voided is the rule of erasures, written down once more.
func (w *world) voided(e *Event) bool {
	for i := range w.log {
		r := &w.log[i]
		if r.Kind != presence.RecordErased || r.User != e.User || e.Kind == presence.RecordErased {
			continue
		}
		own := e.Kind == presence.RecordClosed && e.Reason == presence.ReasonDropped && w.lastErasure(e.User)-e.Time <= 60_000
		if e.Time > r.Time || e.Position.Sequence > w.places[i].Sequence {
			continue
		}
		if !own {
			return true
		}
		d := &e.Session.Device
		e.Session.Device = presence.Device{Platform: d.Platform, Door: d.Door} // nothing of whoever had it
	}
	return false
}

func (w *world) lastErasure(u presence.User) (at presence.Time) {
	for i := range w.log {
		if r := &w.log[i]; r.Kind == presence.RecordErased && r.User == u {
			at = max(at, r.Time)
		}
	}
	return at
}

func behind(all []*Event, app presence.AppID, p Position) (events []*Event) {
	for _, e := range all {
		if p.Before(e.Position) && e.User.App == app {
			events = append(events, e)
		}
	}
	return events
}

// from draws a position to begin at: of an event, the end of a message, or the
// beginning.
func (w *world) from(all []*Event) Position {
	switch rapid.IntRange(0, 3).Draw(w.t, "from") {
	case 0:
		return Position{}
	case 1:
		return End(uint64(rapid.IntRange(0, int(w.last())).Draw(w.t, "message")))
	}
	if len(all) == 0 {
		return Position{}
	}
	return rapid.SampledFrom(all).Draw(w.t, "event").Position
}

// reachable follows a gap to where one can go on, and checks that there was
// reason for it.
func (w *world) reachable(p Position) Position {
	_, err := w.r.baseAt(context.Background(), p)
	var gap *GapError
	if err == nil {
		return p
	}
	if !errors.As(err, &gap) {
		w.t.Fatalf("from %v: got %v, want none or a gap", p, err)
	}
	first, _, _ := w.Ends(context.Background())
	bases, _ := w.Bases(context.Background())
	if first == 1 || len(bases) > 0 && bases[0].Position < p.need() {
		w.t.Fatalf("from %v: got %v, but the log begins at %d and there are bases %+v", p, gap, first, bases)
	}
	if gap.From != p || !p.Before(gap.To) {
		w.t.Fatalf("from %v: got a gap from %v to %v", p, gap.From, gap.To)
	}
	if _, err := w.r.baseAt(context.Background(), gap.To); err != nil {
		w.t.Fatalf("behind the gap: got %v, want that one can go on", err)
	}
	return gap.To
}

// Whoever reads from wherever is told the same facts with the same numbers and
// ids as one reader from the beginning: by Follow, by Changes of any page size,
// by History, and what a snapshot has is what the rest goes on from.
func TestEveryReaderIsToldTheSame(t *testing.T) {
	t.Parallel()
	rapidtest.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		defer func() { w.close() }()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step()
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				w.close()
				w.open(Config{Ring: 3})
			}
		}
		all := w.all()
		for range 3 {
			w.checkFollow(all)
			w.checkChanges(all)
		}
		w.checkHistory(all)
		w.checkSnapshot()
	})
}

func (w *world) checkFollow(all []*Event) {
	p := w.reachable(w.from(all))
	want := saidAll(behind(all, "demo", p))
	got, through := w.collect(w.t, Params{App: "demo", After: p}, len(want))
	if diff := cmp.Diff(want, saidAll(got)); diff != "" {
		w.t.Fatalf("Follow behind %v (-want +got):\n%s\n%s", p, diff, w.describe())
	}
	if len(got) > 0 && through.Before(got[len(got)-1].Position) {
		w.t.Fatalf("Follow: through %v, but it gave %v", through, got[len(got)-1].Position)
	}
	only := func(id presence.UserID) bool { return id == "user-1" }
	want = want[:0]
	for _, e := range behind(all, "demo", p) {
		if only(e.User.ID) {
			want = append(want, said(e))
		}
	}
	got, _ = w.collect(w.t, Params{App: "demo", After: p, Only: only}, len(want))
	if diff := cmp.Diff(want, saidAll(got), equateEmpty()); diff != "" {
		w.t.Fatalf("Follow of one user behind %v (-want +got):\n%s", p, diff)
	}
}

func equateEmpty() cmp.Option {
	return cmp.Transformer("nil", func(s []string) string { return fmt.Sprint(len(s), s) })
}

func (w *world) checkChanges(all []*Event) {
	p := w.reachable(w.from(all))
	want := saidAll(behind(all, "demo", p))
	limit := rapid.IntRange(1, 5).Draw(w.t, "limit")
	got, at := []string{}, p
	for {
		c, err := w.r.Changes(context.Background(), ChangesParams{App: "demo", After: at, Limit: limit})
		if err != nil {
			w.t.Fatalf("Changes behind %v: %v", at, err)
		}
		if len(c.Events) > limit {
			w.t.Fatalf("Changes: got %d events, want at most %d", len(c.Events), limit)
		}
		got = append(got, saidAll(c.Events)...)
		if at = c.Through; len(c.Events) == 0 {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("Changes behind %v by %d (-want +got):\n%s", p, limit, diff)
	}
	if at.need() != w.last()+1 {
		w.t.Fatalf("Changes ended at %v, want the end at %d", at, w.last())
	}
}

func (w *world) checkHistory(all []*Event) {
	oldest, err := w.r.Oldest(context.Background())
	if err != nil {
		w.t.Fatalf("Oldest: %v", err)
	}
	u := rapid.SampledFrom(w.users).Draw(w.t, "whose")
	want := []string{}
	for _, e := range slices.Backward(behind(all, u.App, oldest)) {
		if e.User == u {
			want = append(want, said(e))
		}
	}
	got, before := []string{}, Position{}
	for {
		h, err := w.r.History(context.Background(), HistoryParams{User: u, Before: before, Limit: 2})
		if err != nil {
			w.t.Fatalf("History before %v: %v", before, err)
		}
		got = append(got, saidAll(h.Events)...)
		if before = h.Next; !h.More {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("History of %v (-want +got):\n%s", u, diff)
	}
}

// checkSnapshot compares snapshots, with whatever memory, with a fold of the
// whole log up to there.
func (w *world) checkSnapshot() {
	p := w.reachable(w.from(nil))
	for _, most := range []int{1, 400, 1 << 20} {
		s, err := w.r.Snapshot(context.Background(), "demo", &p)
		if err != nil {
			w.t.Fatalf("Snapshot at %v: %v", p, err)
		}
		s.most = most
		got := map[presence.UserID]string{}
		if err := s.Each(context.Background(), func(u SnapshotUser) error {
			if _, twice := got[u.User.ID]; twice || u.User.App != "demo" {
				w.t.Fatalf("the snapshot gave %v twice, or of another app", u.User)
			}
			got[u.User.ID] = pictured(u.Folded)
			return nil
		}); err != nil {
			w.t.Fatalf("Each: %v", err)
		}
		if diff := cmp.Diff(w.pictures(s.Position), got); diff != "" {
			w.t.Fatalf("Snapshot at %v with %d bytes (-want +got):\n%s", p, most, diff)
		}
	}
}

func (w *world) pictures(p Position) map[presence.UserID]string {
	folds := map[presence.User]*presence.Folded{}
	hidden := map[presence.User]bool{}
	for i := range w.log {
		at, r := w.places[i], &w.log[i]
		if at.Sequence > p.Sequence && r.Kind == presence.RecordErased {
			hidden[r.User] = true
		}
		if at.Sequence > p.Sequence || at.Sequence == p.Sequence && at.Index > p.Index {
			continue
		}
		if folds[r.User] == nil {
			folds[r.User] = &presence.Folded{}
		}
		folds[r.User].Apply(r, nil)
	}
	all := map[presence.UserID]string{}
	for u, f := range folds {
		if s := pictured(f); u.App == "demo" && !hidden[u] && (f.LastSeen != 0 || s[0] != '0') {
			all[u.ID] = s
		}
	}
	return all
}

// pictured is what a snapshot tells of a user, as text.
func pictured(f *presence.Folded) string {
	var open []string
	for i := range f.Sessions {
		if s := &f.Sessions[i]; s.Phase == presence.FoldOpen {
			open = append(open, fmt.Sprint(s.Public[0], s.Hidden, s.OpenedAt, s.Device))
		}
	}
	slices.Sort(open)
	return fmt.Sprint(len(open), open, "seq ", f.Seq, "seen ", f.LastSeen, f.LastSeenShown)
}

// describe lists the log and the bases, for a failure.
func (w *world) describe() string {
	var b strings.Builder
	for i := range w.log {
		r := &w.log[i]
		fmt.Fprintf(&b, "%v %v %s/%d %v rev %d inv %v policy %d at %d\n", w.places[i], r.Kind, r.User.ID, r.Session[0], r.Epoch, r.Revision, r.Invisible, r.Policy, r.Time)
	}
	bases, _ := w.Bases(context.Background())
	fmt.Fprintf(&b, "bases %+v", bases)
	return b.String()
}
