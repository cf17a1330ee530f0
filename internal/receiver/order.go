package receiver

import "fmt"

// mostKnown bounds what is remembered of users and of events.
const mostKnown = 100_000

// kindErased is of the event that a user was erased.
const kindErased = "erased"

// order is what has come so far: by it a repeat is told from what is new.
type order struct {
	seen map[string]bool   // ids of events
	last map[string]uint64 // users' numbers
}

func newOrder() order { return order{map[string]bool{}, map[string]uint64{}} }

// note writes into got what its events are beside those that came before. What
// is answered well counts as come: the server does not send it again.
func (o *order) note(got *Request) {
	if len(o.seen) > mostKnown || len(o.last) > mostKnown {
		*o = newOrder() // a development receiver that forgets says less, and nothing wrong
	}
	for i := range got.Events {
		e := &got.Events[i]
		switch last := o.last[e.User]; {
		case e.ID != "" && o.seen[e.ID]:
			e.Note = "repeat"
		case got.Replay != "" || got.Resent || e.Seq == 0: // they come beside what is live
		case last > 0 && e.Seq <= last:
			e.Note = fmt.Sprintf("WRONG ORDER: number %d came after %d", e.Seq, last)
		case last > 0 && e.Seq > last+1:
			e.Note = fmt.Sprintf("%d of this user did not come here", e.Seq-last-1)
		}
		if got.Answer/100 != 2 {
			continue
		}
		if e.ID != "" {
			o.seen[e.ID] = true
		}
		switch {
		case got.Replay != "" || got.Resent:
		case e.Kind == kindErased: // his numbers begin anew
			delete(o.last, e.User)
		default:
			o.last[e.User] = max(o.last[e.User], e.Seq)
		}
	}
}
