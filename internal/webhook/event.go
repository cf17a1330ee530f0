package webhook

import (
	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Event is one fact on its way, as the endpoint's format may see it: with
// [Truth] as it is; with [Shown] availability, last seen and what is first or
// last are those that others may know, and what they may not know does not come.
type Event struct {
	presence.Fact
	// Position orders everything. Repeats and replays keep it.
	Position Position
	// ID names the fact. Repeats and replays keep it. It is not known yet when a
	// format is asked whether it wants the event.
	ID string
	// Replaced, on opened, are the sessions that the policy closed for it, as they
	// were: their closed events come just before this one.
	Replaced []presence.FoldedSession
	// OpeningFollows, on a closed for presence.ReasonReplaced: the opened that
	// replaced the session comes as well, with it in its Replaced. It does not
	// where the new session is invisible to this format.
	OpeningFollows bool
}

// Gap says that the log no longer has what happened after From, up to and with
// To: an endpoint was behind for longer than the log reaches back.
type Gap struct {
	From, To Position
	Time     presence.Time // when that was seen
}

// View says how a format sees the facts (design §4).
type View uint8

// The views.
const (
	// Shown is what other users may know: nothing of a session that is invisible,
	// save hidden and shown themselves, which are its going and coming.
	Shown View = iota
	// Truth is everything, with Session.Hidden as the mark.
	Truth
)

// events makes the facts of one stretch of the log what a format sees, in
// order. A record's facts come in one stretch: see Reader.
func (v View) events(facts []*facts.Event) []Event {
	seen := make([]Event, 0, len(facts))
	for i := 0; i < len(facts); {
		n := i + 1
		for n < len(facts) && sameRecord(facts[n].Position, facts[i].Position) {
			n++
		}
		seen = v.record(seen, facts[i:n])
		i = n
	}
	return seen
}

// record appends what the view sees of one record's facts.
func (v View) record(seen []Event, facts []*facts.Event) []Event {
	first := len(seen)
	for _, e := range facts {
		if e, ok := v.event(Event{Fact: e.Fact, Position: e.Position}); ok {
			seen = append(seen, e)
		}
	}
	mine := seen[first:]
	for i := range mine {
		if mine[i].Kind != presence.RecordOpened {
			continue
		}
		for j := range mine[:i] {
			if was := &mine[j]; was.Kind == presence.RecordClosed && was.Reason == presence.ReasonReplaced {
				was.OpeningFollows = true
				mine[i].Replaced = append(mine[i].Replaced, was.Session)
			}
		}
		mine[i].Replaces = public(mine[i].Replaced)
	}
	return seen
}

func public(sessions []presence.FoldedSession) (ids []presence.PublicID) {
	for i := range sessions {
		ids = append(ids, sessions[i].Public)
	}
	return ids
}

// event makes one fact what the view sees; false: nothing.
func (v View) event(e Event) (Event, bool) {
	switch {
	case e.Kind == presence.RecordMoved:
		return e, false // nobody outside is told
	case v == Truth:
		return e, true
	}
	switch e.Kind {
	case presence.RecordHidden:
		e.First = !e.ShownAfter
	case presence.RecordShown:
		e.First = !e.ShownBefore
	case presence.RecordErased:
	default:
		if e.Session.Hidden {
			return e, false
		}
		e.First = e.Kind == presence.RecordOpened && !e.ShownBefore || e.Kind == presence.RecordClosed && !e.ShownAfter
	}
	e.Before, e.After, e.LastSeen = e.ShownBefore, e.ShownAfter, e.Shown
	return e, true
}
