package topic

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// CallLife is how long a call runs after its last word, if nobody ends it. No
// message is told when it is over.
const CallLife = 12 * time.Hour

// maxCalls is how many running calls of a user are remembered; beyond it the
// one that was silent for longest is taken for ended.
const maxCalls = 32

// CallState says how a call stands.
type CallState uint8

// The states. They are stored: never renumber them.
const (
	Calling CallState = iota
	Ringing
	Answered
	Ended
)

var callStates = [...]string{"Calling", "Ringing", "Answered", "Ended"}

func (s CallState) String() string { return callStates[s&3] }

// ParseCallState reads what String writes.
func ParseCallState(s string) (CallState, error) {
	if i := slices.Index(callStates[:], s); i >= 0 {
		return CallState(i), nil
	}
	return 0, fmt.Errorf("must be Calling, Ringing, Answered or Ended")
}

// value is the state as the attribute has it.
func (s CallState) value() json.RawMessage { return json.RawMessage(`"` + s.String() + `"`) }

// stateOf reads what value wrote.
func stateOf(v json.RawMessage) CallState {
	for s := Calling; s < Ended; s++ {
		if string(v) == string(s.value()) {
			return s
		}
	}
	return Ended
}

// call is a running call of a user.
type call struct {
	id    string
	state CallState
	at    presence.Time // of its last word
}

// running counts the calls that run.
func (r *record) running(now presence.Time) (n int) {
	for _, c := range r.calls {
		if now.Sub(c.at) < CallLife {
			n++
		}
	}
	return n
}

// setCall applies one word of a call: whether it must be stored, and whether it
// is news.
func (r *record) setCall(id string, state CallState, now presence.Time) (write, news bool) {
	r.calls = slices.DeleteFunc(r.calls, func(c call) bool { return now.Sub(c.at) >= CallLife })
	i := slices.IndexFunc(r.calls, func(c call) bool { return c.id == id })
	switch {
	case i < 0 && state == Ended:
		return false, false // of a call that is over, or never was
	case i < 0:
		news = true
	case r.calls[i].state == state && now.Sub(r.calls[i].at) < CallLife/2:
		return false, false
	default: // a repeat after a long time is a sign of life
		news = r.calls[i].state != state
		r.calls = slices.Delete(r.calls, i, i+1)
	}
	if state != Ended {
		if len(r.calls) >= maxCalls {
			r.calls = slices.Delete(r.calls, 0, 1) // they stand in the order of their last words
		}
		r.calls = append(r.calls, call{id, state, now})
	}
	if news {
		r.call = Attribute{Name: Call, Value: state.value(), At: now}
	}
	return true, news
}

// CallParams are one word of a call.
type CallParams struct {
	App          presence.AppID
	ID           string
	Participants []presence.UserID
	State        CallState
}

func (p *CallParams) check() error {
	switch {
	case !validText(p.ID, MaxCallID):
		return fault.Invalid("call", "its id must be 1 to %d bytes of UTF-8 without control characters", MaxCallID)
	case len(p.Participants) == 0 || len(p.Participants) > MaxCallUsers:
		return fault.Invalid("participants", "must be 1 to %d users", MaxCallUsers)
	case p.State > Ended:
		return fault.Invalid("state", "must be Calling, Ringing, Answered or Ended")
	}
	for i, id := range p.Participants {
		if !presence.ValidUserID(string(id)) {
			return fault.Invalid(fmt.Sprintf("participants[%d]", i), "must be 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
		}
	}
	return nil
}

// SetCall says how a call stands: each participant's call attribute becomes the
// state, and is published to his mapped topics and to AllCallStatus. Participants
// are stored one after the other; after an error the rest is as it was, and a
// repeat goes on: who has the state already is not told again. told is how many
// participants' attribute changed.
//
// A user may have several calls at once; CallEnded of his messages is false
// while one runs. The end of a call that is not known changes nothing.
func (t *Topics) SetCall(ctx context.Context, p CallParams) (told int, err error) {
	if err := p.check(); err != nil {
		return 0, err
	}
	for _, id := range p.Participants {
		user := presence.User{App: p.App, ID: id}
		_, n, err := t.change(ctx, user, func(r *record, now presence.Time) (news []Attribute, write bool, err error) {
			if err := t.takes(); err != nil {
				return nil, false, err
			}
			write, told := r.setCall(p.ID, p.State, now)
			if told {
				news = []Attribute{r.call}
			}
			return news, write, nil
		})
		told += n
		if err != nil {
			return told, err
		}
	}
	return told, nil
}
