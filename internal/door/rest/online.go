package rest

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Bounds of a page.
const (
	maxPage     = 1000
	defaultPage = 100
)

// Page says which part of a list is asked for.
type Page struct {
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most entries of one answer."`
	Next  string `query:"next" maxLength:"512" doc:"Where to go on: next of the last answer."`
}

// most is how many entries the answer may have.
func (p *Page) most() int {
	if p.Limit == 0 {
		return defaultPage
	}
	return min(p.Limit, maxPage)
}

// What kinds of lists a place is in.
const (
	placeOnline  = 'o'
	placeFriends = 'f'
	placeBlocks  = 'b'
)

// maxPlace is beyond every number of a place: indexes of lists and shards.
const maxPlace = 1 << 30

// placeVersion stands in front of a place.
const placeVersion = 1

// writePlace makes opaque text of a place in a list.
func writePlace(kind byte, n int, user presence.UserID) string {
	b := presence.AppendNumber([]byte{placeVersion, kind}, uint64(n))
	return base64.RawURLEncoding.EncodeToString(presence.AppendText(b, string(user)))
}

// readPlace reads what writePlace made; empty text is the begin of the list.
func readPlace(kind byte, s string) (n int, user presence.UserID, err error) {
	if s == "" {
		return 0, "", nil
	}
	bad := fault.Invalid("query.next", "take it from the last answer of the same list; it cannot be made up")
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 2 || b[0] != placeVersion || b[1] != kind {
		return 0, "", bad
	}
	number, rest, err := presence.ParseNumber(b[2:])
	if err != nil || number > maxPlace {
		return 0, "", bad
	}
	id, rest, err := presence.ParseText(rest)
	if err != nil || len(rest) > 0 || id != "" && !presence.ValidUserID(id) {
		return 0, "", bad
	}
	return int(number), presence.UserID(id), nil
}

// OnlineCount is how many are online.
type OnlineCount struct {
	Users    int           `json:"users" doc:"Users who are available as others see them." example:"1250"`
	Sessions SessionCounts `json:"sessions" doc:"All sessions, those of invisible users too; of several nodes those of all that answer."`
	// StaleSince is of several nodes.
	StaleSince Stamp `json:"stale_since,omitzero" doc:"Of several nodes one is not heard since then: what was known last of its users is counted, and its sessions are not."`
}

// SessionCounts are sessions by phase.
type SessionCounts struct {
	Created int `json:"created" doc:"Made, not connected yet." example:"3"`
	Live    int `json:"live" doc:"Connected." example:"1388"`
	Lost    int `json:"lost" doc:"Their link is gone, they may come back." example:"12"`
}

// OnlineUsers is a page of who is online.
type OnlineUsers struct {
	Users []string `json:"users" nullable:"false" doc:"Ids of users who are available as others see them, in no order that means anything." example:"[\"alice\",\"bob\"]"`
	Next  string   `json:"next,omitempty" doc:"Where to go on; missing at the end." example:"AW8RA2JvYg"`
	// StaleSince is of several nodes.
	StaleSince Stamp `json:"stale_since,omitzero" doc:"Of several nodes one is not heard since then: its users are listed as they were known last."`
}

type (
	countOut  struct{ Body OnlineCount }
	onlineOut struct{ Body OnlineUsers }
)

func (d *Door) registerOnline() {
	register(d, operation{
		id: "countOnline", method: http.MethodGet, path: "/online/count", tag: "users",
		summary: "Count who is online", text: "The counts are kept as they change: asking costs nothing. Of several nodes each is asked for its sessions.",
		answers: map[string]any{"users": 1250, "sessions": map[string]int{"created": 3, "live": 1388, "lost": 12}},
	}, d.countOnline)
	register(d, operation{
		id: "listOnline", method: http.MethodGet, path: "/online", tag: "users",
		summary: "List who is online",
		text:    "In pages. Who comes or goes meanwhile may be in the list or not; who stays is in it once.",
		answers: map[string]any{"users": []string{"alice", "bob"}, "next": "AW8RA2JvYg"},
	}, d.listOnline)
}

func (d *Door) countOnline(ctx context.Context, _ *struct{}) (*countOut, error) {
	app := requestOf(ctx).key.app
	c := d.cfg.Tracker.Count(app)
	out := OnlineCount{c.Users, SessionCounts{c.Created, c.Live, c.Lost}, Stamp(d.cfg.Tracker.Stale())}
	if d.cfg.Cluster != nil {
		out.Sessions = SessionCounts{}
		for _, m := range d.cfg.Cluster(ctx, app).Members {
			if m.Sessions != nil {
				out.Sessions.Created += m.Sessions.Created
				out.Sessions.Live += m.Sessions.Live
				out.Sessions.Lost += m.Sessions.Lost
			}
		}
	}
	return &countOut{out}, nil
}

func (d *Door) listOnline(ctx context.Context, in *Page) (*onlineOut, error) {
	shard, user, err := readPlace(placeOnline, in.Next)
	if err != nil {
		return nil, err
	}
	users, next, more := d.cfg.Tracker.Online(requestOf(ctx).key.app, tracker.Place{Shard: shard, User: user}, in.most())
	out := &onlineOut{}
	out.Body.StaleSince = Stamp(d.cfg.Tracker.Stale())
	out.Body.Users = make([]string, 0, len(users))
	for _, u := range users {
		out.Body.Users = append(out.Body.Users, string(u))
	}
	if more {
		out.Body.Next = writePlace(placeOnline, next.Shard, next.User)
	}
	return out, nil
}
