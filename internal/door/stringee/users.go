package stringee

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// attribute is one of a user. Without a value it has no such key.
type attribute struct {
	Attribute string          `json:"attribute"`
	Value     json.RawMessage `json:"value,omitempty"`
}

// person is a user as calls answer him, in the order of the document's sample.
type person struct {
	LoginTime    int64       `json:"loginTime"`
	Attributes   []attribute `json:"attributes"`
	ChatCustomer *bool       `json:"chatCustomer,omitempty"` // not in lists
	User         string      `json:"userId"`
}

// personOf puts a user together as others may see him: the two that set themselves
// first, then what was set, then what is published and was never set.
func personOf(p *presence.Presence, r *topic.Record) person {
	list := []attribute{{topic.OnlineStatus, topic.OnlineValue(p)}, {topic.Call, r.Call.Value}}
	for _, a := range r.Attributes {
		list = append(list, attribute{a.Name, a.Value})
	}
	for _, m := range r.Map {
		if !slices.ContainsFunc(list, func(a attribute) bool { return a.Attribute == m.Attribute }) {
			list = append(list, attribute{Attribute: m.Attribute})
		}
	}
	return person{LoginTime: int64(loginTime(p)), Attributes: list, User: string(p.User.ID)}
}

// loginTime is when the newest connection began that others could see; of who is
// gone that of the last, as long as it is remembered, and then when he was last
// seen.
func loginTime(p *presence.Presence) presence.Time {
	var newest, last presence.Time
	for _, v := range p.Sessions {
		if v.Shown.Open() {
			newest = max(newest, v.Shown.Since)
		} else if v.Shown.Opened != 0 {
			last = max(last, v.Shown.Since)
		}
	}
	switch {
	case newest != 0:
		return newest
	case last != 0:
		return last
	}
	return p.LastSeenShown
}

// named is the user that a path names.
func (c *call) named() (presence.User, *refusal) {
	id := c.path[1]
	if !presence.ValidUserID(id) {
		return presence.User{}, refuse(codeBad, "a user id is 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
	}
	return presence.User{App: c.b.access.App, ID: presence.UserID(id)}, nil
}

// find reads a user; one of whom others never heard is not found.
func (c *call) find(user presence.User) (topic.Record, *presence.Presence, *refusal) {
	r, err := c.d.cfg.Topics.Get(c.r.Context(), user)
	if err != nil {
		return r, nil, c.d.refusalOf("user", err, nil)
	}
	p := c.d.cfg.Tracker.Presence(user)
	if r.Revision == 0 && p.LastSeenShown == 0 && !slices.ContainsFunc(p.Sessions, func(v *presence.View) bool { return v.Shown.Opened != 0 }) {
		if _, unknown := p.Staleness(); unknown {
			return r, p, refuse(codeUnavailable, "nothing is known of the user here, and a node that may know him is not heard; try again")
		}
		return r, p, refuse(codeNotFound, "no user has this id")
	}
	return r, p, nil
}

func (c *call) whole(p *presence.Presence, r *topic.Record) any {
	one, chat := personOf(p, r), false
	one.ChatCustomer = &chat
	return one
}

// user answers GET /v1/users/USER_ID.
func (c *call) user() (any, *refusal) {
	name, no := c.named()
	if no != nil {
		return nil, no
	}
	r, p, no := c.find(name)
	if no != nil {
		return nil, no
	}
	return c.whole(p, &r), nil
}

// attributes answers PUT /v1/users/USER_ID/attributes.
func (c *call) attributes() (any, *refusal) {
	name, no := c.named()
	if no != nil {
		return nil, no
	}
	b, no := c.body()
	if no != nil {
		return nil, no
	}
	list, no := parseAttributes(b)
	if no != nil {
		return nil, no
	}
	if _, _, no := c.find(name); no != nil {
		return nil, no
	}
	r, _, err := c.d.cfg.Topics.Set(c.r.Context(), name, list)
	if err != nil {
		return nil, c.d.refusalOf("attributes", err, itsWords)
	}
	return c.whole(c.d.cfg.Tracker.Presence(name), &r), nil
}

// parseAttributes reads the body of a change.
func parseAttributes(b []byte) ([]topic.Attribute, *refusal) {
	var body []attribute
	if err := json.Unmarshal(b, &body); err != nil || len(bytes.TrimSpace(b)) == 0 || bytes.TrimSpace(b)[0] != '[' {
		return nil, refuse(codeBad, `the body must be an array: [{"attribute": "NAME", "value": any JSON}]`)
	}
	if len(body) == 0 || len(body) > topic.MaxAttributes {
		return nil, refuse(codeBad, "%d attributes; a call sets 1 to %d", len(body), topic.MaxAttributes)
	}
	list := make([]topic.Attribute, len(body))
	for i, a := range body {
		if len(a.Value) == 0 {
			return nil, refuse(codeBad, "[%d].value is missing; it may be any JSON", i)
		}
		list[i] = topic.Attribute{Name: a.Attribute, Value: a.Value}
	}
	return list, nil
}

// itsWords is a path of the core in this interface's words: attributes[0].name is
// [0].attribute; oneWord is the same where there is only one.
func itsWords(path string) string {
	path = strings.TrimPrefix(path, "attributes")
	return strings.Replace(path, ".name", ".attribute", 1)
}

func oneWord(path string) string { return strings.TrimPrefix(itsWords(path), "[0].") }

// Bounds of lists.
const (
	defaultPage = 100
	maxPage     = 100
	// maxExamined is how many users who are online a filter looks at: each costs a
	// read.
	maxExamined = 10_000
)

// page is a list's answer: count is all that there are, pageSize who is in it.
type page struct {
	Count    int      `json:"count"`
	PageSize int      `json:"pageSize"`
	Users    []person `json:"users"`
}

// query is what a list is asked for.
type query struct {
	page, limit int
	users       []presence.UserID // nil: all
	filter      url.Values        // attributes and their values, all of which must be so
}

// parseQuery reads the parameters of a list.
func parseQuery(v url.Values) (q query, no *refusal) {
	q = query{page: 1, limit: defaultPage, filter: url.Values{}}
	for name, values := range v {
		switch name {
		case "access_token":
		case "page", "limit":
			n, err := strconv.Atoi(values[0])
			most, into := 1_000_000, &q.page
			if name == "limit" {
				most, into = maxPage, &q.limit
			}
			if err != nil || n < 1 || n > most {
				return q, refuse(codeBad, "%s must be a number of 1 to %d", name, most)
			}
			*into = n
		case "userId":
			for id := range strings.SplitSeq(values[0], ",") {
				if !presence.ValidUserID(id) {
					return q, refuse(codeBad, "userId must be user ids with commas between them")
				}
				if !slices.Contains(q.users, presence.UserID(id)) {
					q.users = append(q.users, presence.UserID(id))
				}
			}
			if len(q.users) > maxPage {
				return q, refuse(codeBad, "%d users; a call asks for at most %d", len(q.users), maxPage)
			}
		default:
			q.filter[name] = values
		}
	}
	return q, nil
}

// list answers GET /v1/users: who is online.
func (c *call) list() (any, *refusal) {
	q, no := parseQuery(c.r.URL.Query())
	if no != nil {
		return nil, no
	}
	switch {
	case q.users != nil:
		return c.examine(&q, slices.DeleteFunc(slices.Clone(q.users), func(id presence.UserID) bool {
			return !available(c.d.cfg.Tracker.Presence(presence.User{App: c.b.access.App, ID: id}))
		}))
	case len(q.filter) > 0:
		select {
		case c.d.filter <- struct{}{}:
			defer func() { <-c.d.filter }()
		default:
			no := refuse(codeTooMany, "%d lists with a filter are being made; try again", filtersAtOnce)
			no.retryAfter = 1
			return nil, no
		}
		all, _, more := c.d.cfg.Tracker.Online(c.b.access.App, tracker.Place{}, maxExamined)
		if more {
			return nil, refuse(codeBad, "more than %d users are online, too many for a filter by attribute; name users with userId", maxExamined)
		}
		return c.examine(&q, all)
	}
	return c.plainPage(&q)
}

// plainPage is a page of all who are online.
func (c *call) plainPage(q *query) (any, *refusal) {
	app, t := c.b.access.App, c.d.cfg.Tracker
	skip, at := (q.page-1)*q.limit, tracker.Place{}
	out := page{Count: t.Count(app).Users, Users: []person{}}
	for more := true; more && skip > 0; {
		var some []presence.UserID
		some, at, more = t.Online(app, at, min(skip, maxExamined))
		if skip -= len(some); !more {
			return out, nil
		}
	}
	some, _, _ := t.Online(app, at, q.limit)
	for _, id := range some {
		one, _, no := c.one(id)
		if no != nil {
			return nil, no
		}
		out.Users = append(out.Users, one)
	}
	out.PageSize = len(out.Users)
	return out, nil
}

// one reads a user for a list.
func (c *call) one(id presence.UserID) (person, topic.Record, *refusal) {
	user := presence.User{App: c.b.access.App, ID: id}
	r, err := c.d.cfg.Topics.Get(c.r.Context(), user)
	if err != nil {
		return person{}, r, c.d.refusalOf("users", err, nil)
	}
	return personOf(c.d.cfg.Tracker.Presence(user), &r), r, nil
}

// examine is a page of those among some users whom the filter lets pass.
func (c *call) examine(q *query, users []presence.UserID) (any, *refusal) {
	out, skip := page{Users: []person{}}, (q.page-1)*q.limit
	for _, id := range users {
		one, _, no := c.one(id)
		if no != nil {
			return nil, no
		}
		if !q.passes(&one) {
			continue
		}
		if out.Count >= skip && len(out.Users) < q.limit {
			out.Users = append(out.Users, one)
		}
		out.Count++
	}
	out.PageSize = len(out.Users)
	return out, nil
}

// passes reports whether the user's attributes are as the filter says: a text as it
// is, other values as their JSON.
func (q *query) passes(p *person) bool {
	for name, values := range q.filter {
		i := slices.IndexFunc(p.Attributes, func(a attribute) bool { return a.Attribute == name })
		if i < 0 || !slices.Contains(values, asText(p.Attributes[i].Value)) {
			return false
		}
	}
	return true
}

func asText(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil && len(v) > 0 && v[0] == '"' {
		return s
	}
	return string(v)
}

// words is a call's body.
type words struct {
	Participants []presence.UserID `json:"participants"`
	State        string            `json:"state"`
}

// called is the answer to one.
type callAnswer struct {
	R       int    `json:"r"`
	Message string `json:"message"`
	Call    string `json:"callId"`
	State   string `json:"state"`
	Changed int    `json:"changed"` // participants whose call attribute changed
}

// call answers PUT /v1/calls/CALL_ID.
func (c *call) call() (any, *refusal) {
	b, no := c.body()
	if no != nil {
		return nil, no
	}
	w, state, no := parseCall(b)
	if no != nil {
		return nil, no
	}
	told, err := c.d.cfg.Topics.SetCall(c.r.Context(), topic.CallParams{App: c.b.access.App, ID: c.path[1], Participants: w.Participants, State: state})
	if err != nil {
		return nil, c.d.refusalOf("calls", err, nil)
	}
	return callAnswer{codeOK, success, c.path[1], state.String(), told}, nil
}

func parseCall(b []byte) (w words, state topic.CallState, no *refusal) {
	if err := json.Unmarshal(b, &w); err != nil {
		return w, 0, refuse(codeBad, `the body must be {"participants": ["USER_ID"], "state": "Calling"}: %s`, mismatch(err))
	}
	state, err := topic.ParseCallState(w.State)
	if err != nil {
		return w, 0, refuse(codeBad, "state: %s", fmt.Sprint(err))
	}
	return w, state, nil
}
