package tencentim

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// maxAccounts is the most users of one query.
const maxAccounts = 500

// noJSON is the documented text for a body that cannot be read.
const noJSON = "Fail to Parse json data of body, Please check it"

// query is what both queries ask.
type query struct {
	Accounts []string
	Detail   bool
}

// parseQuery reads the body of a query.
func parseQuery(body []byte) (q query, _ *refusal) {
	var in struct {
		Accounts json.RawMessage `json:"To_Account"`
		Detail   json.RawMessage `json:"IsNeedDetail"`
	}
	if json.Unmarshal(body, &in) != nil {
		return q, refuse(codeQueryBody, noJSON)
	}
	if len(in.Accounts) > 0 && !bytes.Equal(in.Accounts, []byte("null")) {
		// A null among them would be read as an empty text.
		var list []*string
		if json.Unmarshal(in.Accounts, &list) != nil {
			return q, refuse(codeQueryAccounts, "To_Account is not a list of texts")
		}
		if len(list) > maxAccounts {
			return q, refuse(codeQueryMany, "To_Account has %d users; a query has at most %d", len(list), maxAccounts)
		}
		for _, s := range list {
			if s == nil {
				return q, refuse(codeQueryAccounts, "To_Account is not a list of texts")
			}
			q.Accounts = append(q.Accounts, *s)
		}
	}
	if len(q.Accounts) == 0 {
		return q, refuse(codeQueryBody, "To_Account is missing or empty")
	}
	if len(in.Detail) > 0 {
		var n int
		if json.Unmarshal(in.Detail, &n) != nil {
			return q, refuse(codeQueryBody, "IsNeedDetail is not 0 or 1")
		}
		q.Detail = n == 1
	}
	return q, nil
}

// The states of a user, and of a platform.
const (
	online     = "Online"
	pushOnline = "PushOnline"
	offline    = "Offline"
)

// platformState is one entry of Detail.
type platformState struct {
	Platform string
	Status   string
}

// userStatus is one user in the answer to query_online_status, and userState in
// that to querystate: the older one has another name for the state.
type userStatus struct {
	Account string          `json:"To_Account"`
	Status  string          `json:"Status"`
	Detail  []platformState `json:"Detail,omitempty"`
}

type userState struct {
	Account string          `json:"To_Account"`
	State   string          `json:"State"`
	Detail  []platformState `json:"Detail,omitempty"`
}

// failed is a user of whom nothing can be said.
type failed struct {
	Account string `json:"To_Account"`
	Code    int    `json:"ErrorCode"`
}

type onlineStatus struct {
	result
	Users  []userStatus `json:"QueryResult"`
	Failed []failed     `json:"ErrorList,omitempty"`
}

type states struct {
	result
	Users []userState `json:"QueryResult"`
}

// queryOnlineStatus answers v4/openim/query_online_status.
func (d *Door) queryOnlineStatus(_ context.Context, c call) (any, *refusal) {
	q, no := parseQuery(c.body)
	if no != nil {
		return nil, no
	}
	answer := onlineStatus{result: ok, Users: make([]userStatus, 0, len(q.Accounts))}
	for _, id := range q.Accounts {
		state, detail, code := d.stateOf(c.app, id)
		if code != codeOK {
			answer.Failed = append(answer.Failed, failed{id, code})
			continue
		}
		if !q.Detail {
			detail = nil
		}
		answer.Users = append(answer.Users, userStatus{id, state, detail})
	}
	return answer, nil
}

// queryState answers v4/openim/querystate, which has no list of failures: who
// cannot be a user is Offline.
func (d *Door) queryState(_ context.Context, c call) (any, *refusal) {
	q, no := parseQuery(c.body)
	if no != nil {
		return nil, no
	}
	answer := states{result: ok, Users: make([]userState, 0, len(q.Accounts))}
	for _, id := range q.Accounts {
		state, detail, code := d.stateOf(c.app, id)
		switch code {
		case codeOK:
		case codeQueryTimeOut:
			return nil, refuse(code, "a node that may know a user is not heard of; try again")
		default:
			state = offline
		}
		if !q.Detail {
			detail = nil
		}
		for i := range detail {
			if detail[i].Platform == phone.query {
				detail[i].Platform = "IPhone" // as its documents spell it
			}
		}
		answer.Users = append(answer.Users, userState{id, state, detail})
	}
	return answer, nil
}

// stateOf says how a user and his platforms stand, or with which code he fails.
func (d *Door) stateOf(app *served, id string) (state string, detail []platformState, code int) {
	if !presence.ValidUserID(id) {
		return "", nil, codeUnknownUser
	}
	name := presence.User{App: app.App.App, ID: presence.UserID(id)}
	p := d.cfg.Tracker.Presence(name)
	if p.Version == 0 && d.cfg.Unsure != nil && d.cfg.Unsure(name) {
		return "", nil, codeQueryTimeOut
	}
	state, detail = stateOf(p, presence.At(time.Now()), d.cfg.Revocations.Before(name))
	return state, detail, codeOK
}

// order is that of Detail.
var order = []string{phone.query, android.query, web.query, windows.query, pad.query, mac.query}

// standing is how a user stands on a platform, as others see it.
type standing struct {
	open   bool
	left   presence.Time // when he went last, and
	pushed bool          // whether he is still logged in there
}

// stateOf adds up a picture. A platform is Online while a session is open on it;
// a mobile one is PushOnline for seven days from when its connection was lost,
// unless the user logged out or was kicked since.
func stateOf(p *presence.Presence, now, kicked presence.Time) (state string, detail []platformState) {
	var at map[string]*standing
	on := func(platform, door string) (*standing, bool) {
		w := wordsOf(platform, door)
		if at == nil {
			at = make(map[string]*standing)
		}
		if at[w.query] == nil {
			at[w.query] = &standing{}
		}
		return at[w.query], w.mobile
	}
	went := func(platform, door string, when presence.Time, pushed bool) {
		if s, mobile := on(platform, door); when >= s.left {
			s.left, s.pushed = when, pushed && mobile && when > kicked && now.Sub(when) < presence.KeepAbsent
		}
	}
	for _, a := range p.Absent {
		went(a.Platform, "", a.At, true)
	}
	for _, v := range p.Sessions {
		switch f := &v.Shown; {
		case f.Open():
			s, _ := on(v.Device.Platform, v.Device.Door)
			s.open = true
		case f.Closed != 0:
			went(v.Device.Platform, v.Device.Door, f.ClosedAt, f.Reason.KeepsLogin())
		}
	}
	state = offline
	for _, platform := range order {
		s := at[platform]
		switch {
		case s == nil:
		case s.open:
			state = online
			detail = append(detail, platformState{platform, online})
		case s.pushed:
			if state == offline {
				state = pushOnline
			}
			detail = append(detail, platformState{platform, pushOnline})
		}
	}
	return state, detail
}
