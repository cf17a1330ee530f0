package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// pretended is a node that answers what a test says, at all doors.
type pretended struct {
	isonlinev1.UnimplementedIsOnlineServiceServer

	mu    sync.Mutex                            // guards all below
	shows view                                  // to strangers
	owns  view                                  // to each user himself
	says  func(door, user string) (v verdictOf) // in place of shows, where it says something
	fails string                                // the door that answers nothing
	moods map[string]string
	seqs  map[string]int // in the snapshot
	dead  int            // letters of each endpoint
}

func (p *pretended) with(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// of is what a door says of a user.
func (p *pretended) of(door, user string) verdictOf {
	if p.says != nil {
		return p.says(door, user)
	}
	return verdictOf{online: p.shows[user].online}
}

func (p *pretended) about(v view, user string) *isonlinev1.UserIsOnline {
	said, who := p.of("isonline", user), v[user]
	u := &isonlinev1.UserIsOnline{UserId: user, UserFlag: isonlinev1.UserFlag_USER_FLAG_OFFLINE, Unknown: said.unknown}
	if said.online {
		u.UserFlag = isonlinev1.UserFlag_USER_FLAG_ONLINE
	}
	if said.stale {
		u.StaleSince = timestamppb.Now()
	}
	if !who.lastSeen.IsZero() {
		u.LastSeen = timestamppb.New(who.lastSeen)
	}
	for id, s := range who.sessions {
		u.Sessions = append(u.Sessions, &isonlinev1.SessionNotification{SessionId: id, Status: s.show, RichText: textOf(s.number)})
	}
	return u
}

// BatchGetUserIsOnline is the query of a stranger.
func (p *pretended) BatchGetUserIsOnline(_ context.Context, r *isonlinev1.BatchGetUserIsOnlineRequest) (*isonlinev1.BatchGetUserIsOnlineResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails == "isonline" {
		return nil, errNoAnswer
	}
	a := &isonlinev1.BatchGetUserIsOnlineResponse{}
	for _, u := range r.GetUserIds() {
		a.Users = append(a.Users, p.about(p.shows, u))
	}
	return a, nil
}

// GetUserIsOnline is the query of a user himself.
func (p *pretended) GetUserIsOnline(ctx context.Context, r *isonlinev1.GetUserIsOnlineRequest) (*isonlinev1.GetUserIsOnlineResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	if got := strings.Join(md.Get("authorization"), ""); got != "Bearer jwt of "+r.GetUserId() {
		return nil, fmt.Errorf("asked with %q", got)
	}
	u := p.about(p.owns, r.GetUserId())
	if p.owns[r.GetUserId()].online {
		u.UserFlag = isonlinev1.UserFlag_USER_FLAG_ONLINE
	}
	return &isonlinev1.GetUserIsOnlineResponse{User: u}, nil
}

// ServeHTTP is all doors of the HTTP port.
func (p *pretended) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := path.Base(r.URL.Path)
	switch {
	case strings.HasSuffix(r.URL.Path, "/users/query"):
		p.rest(w, r)
	case last == "attributes":
		p.answer(w, "rest", map[string]any{"attributes": []any{map[string]any{"name": "mood", "value": p.moods[path.Base(path.Dir(r.URL.Path))]}}})
	case strings.Contains(r.URL.Path, "/webhooks/"):
		p.answer(w, "rest", map[string]any{"dead": p.dead})
	case last == "snapshot":
		for user, k := range p.shows {
			line, _ := json.Marshal(map[string]any{"type": "user", "user": user, "user_seq": p.seqs[user], "last_seen": k.lastSeen, "sessions": idsOf(k)}) // it can be written
			fmt.Fprintf(w, "%s\n", line)
		}
		fmt.Fprintln(w, `{"type":"end"}`)
	case last == "query_online_status":
		p.tencent(w, r)
	case last == "checkOnline.json":
		user := r.FormValue("userId")
		switch v := p.of("rongcloud", user); {
		case v.unknown:
			p.answer(w, "rongcloud", map[string]any{"code": rongUnknown})
		default:
			p.answer(w, "rongcloud", map[string]any{"code": 200, "status": map[bool]string{true: "1", false: "0"}[v.online]})
		}
	default:
		v := p.of("stringee", last)
		if v.unknown {
			p.answer(w, "stringee", map[string]any{"r": 5})
			return
		}
		p.answer(w, "stringee", map[string]any{"r": 0, "attributes": []any{
			map[string]any{"attribute": "onlineStatus", "value": map[bool]string{true: "online", false: "offline"}[v.online]},
		}})
	}
}

func idsOf(k person) (list []map[string]any) {
	for id := range k.sessions {
		list = append(list, map[string]any{"id": id})
	}
	return list
}

func (p *pretended) answer(w http.ResponseWriter, door string, body any) {
	if p.fails == door {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "nothing")
		return
	}
	_ = json.NewEncoder(w).Encode(body)
}

func (p *pretended) rest(w http.ResponseWriter, r *http.Request) {
	var q struct{ Users []string }
	_ = json.NewDecoder(r.Body).Decode(&q) // none is an empty answer
	var users []any
	for _, u := range q.Users {
		v := p.of("rest", u)
		one := map[string]any{"user": u, "available": v.online, "unknown": v.unknown}
		if v.stale {
			one["stale_since"] = "2026-01-02T03:04:05Z"
		}
		users = append(users, one)
	}
	p.answer(w, "rest", map[string]any{"users": users})
}

func (p *pretended) tencent(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Users []string `json:"To_Account"`
	}
	_ = json.NewDecoder(r.Body).Decode(&q) // as above
	results, errs := []any{}, []any{}
	for _, u := range q.Users {
		switch v := p.of("tencentim", u); {
		case v.unknown:
			errs = append(errs, map[string]any{"To_Account": u, "ErrorCode": tencentUnknown})
		default:
			results = append(results, map[string]any{"To_Account": u, "Status": map[bool]string{true: "Online", false: "Offline"}[v.online]})
		}
	}
	p.answer(w, "tencentim", map[string]any{"QueryResult": results, "ErrorList": errs})
}

// direct serves requests without a network.
type direct []*pretended

// RoundTrip is http.RoundTripper's; the host is the node's number.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	var i int
	if _, err := fmt.Sscanf(r.URL.Host, "node%d", &i); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	d[i-1].ServeHTTP(rec, r)
	return rec.Result(), nil
}

// onPretended runs f in a bubble with a crowd of bob alone, who is there, at nodes
// that show him so.
func onPretended(t *testing.T, count int, f func(t *testing.T, w *crowd, p *patron, nodes []*pretended)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, p := crowdOf(nil)
		p.random = rng()
		w.random = rng()
		w.ctx, w.asker, w.all = t.Context(), "asker", []string{"bob"}
		w.jwts = map[string]string{"bob": "jwt of bob", "carol": "jwt of carol"}
		w.found.rounds = map[string]int{}
		w.fleet = &fleet{away: make([]time.Time, count), went: make([]time.Time, count)}
		w.awayUntil = make([]time.Time, count)
		w.ears = &ears{conns: map[string]*heardOf{}, users: map[string]*heardOf{}}
		var nodes []*pretended
		for i := range count {
			n := &pretended{shows: bobAs(3, online), owns: view{}, moods: map[string]string{}, seqs: map[string]int{"bob": 1}}
			nodes = append(nodes, n)
			l := bufconn.Listen(1 << 16)
			s := grpc.NewServer()
			isonlinev1.RegisterIsOnlineServiceServer(s, n)
			go s.Serve(l)
			conn, err := grpc.NewClient("passthrough:///node", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			defer conn.Close()
			w.conns = append(w.conns, conn)
			w.fleet.nodes = append(w.fleet.nodes, &node{http: fmt.Sprintf("node%d", i+1)})
		}
		w.node = w.fleet.nodes[0]
		w.client = &http.Client{Transport: direct(nodes)}
		f(t, w, p, nodes)
	})
}
