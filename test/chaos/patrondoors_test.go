package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// What the app is at foreign doors.
const (
	stringeeSID    = "SK.0.chaos"
	stringeeSecret = "an API key secret of these tests, 32 bytes"
	rongAppKey     = "plAppKey01"
	rongAppSecret  = "plSecret-7hQ2"
	tencentApp     = 1400000001
	tencentKey     = "a key of these tests"
	tencentAdmin   = "administrator"
)

// quoted is text in JSON.
func quoted(text string) string {
	b, _ := json.Marshal(text) // text can always be written
	return string(b)
}

// atLive speaks the live door's dialect.
type atLive struct{}

func (atLive) name() string { return "live" }
func (atLive) path() string { return "/live" }
func (atLive) header(*patron) http.Header {
	return http.Header{"Sec-Websocket-Protocol": {"porchlight.v1"}}
}
func (atLive) tells() bool { return true }
func (atLive) bye(p *patron) []byte {
	return fmt.Appendf(nil, `{"t":"bye","mode":%q}`, []string{"logout", "leave"}[p.random.IntN(2)])
}
func (atLive) show(number int) string { return []string{"online", "away", "busy"}[number%3] }
func (d atLive) words(number int) string {
	return fmt.Sprintf(`{"show":%q,"text":%q}`, d.show(number), textOf(number))
}
func (d atLive) status(_ *patron, number int) []byte {
	return fmt.Appendf(nil, `{"t":"set","id":%d,"status":%s}`, number, d.words(number))
}

func (d atLive) enter(p *patron) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := fmt.Appendf(nil, `{"t":"hello","token":%q`, p.crowd.jwts[p.user])
	switch {
	case p.resume == "":
		b = fmt.Appendf(b, `,"device":{"platform":"web","product":"chaos"}`)
	case p.sequence > 0 && (p.ear != nil || p.random.IntN(2) == 0):
		b = fmt.Appendf(b, `,"resume":%q,"after":%d`, p.resume, p.sequence)
	default:
		b = fmt.Appendf(b, `,"resume":%q`, p.resume)
	}
	if p.meant == here && p.resume == "" && p.ear == nil {
		p.said++
		b = fmt.Appendf(b, `,"status":%s`, d.words(p.said))
		p.acked = p.said
	}
	return append(b, '}')
}

// liveFrame is any frame of the server's, as far as it is looked at.
type liveFrame struct {
	T, Resume, Reason, Why string
	Resumed, Resync        bool
	Q                      uint64
	Part                   string
	RetryAfter             int64 `json:"retry_after"`
	N                      []liveNote
	Rejected               []string
}

type liveNote struct {
	U, K     string
	On       bool
	Seen, At int64
	S        *struct {
		ID, Show, Text string
		Rev            uint64
	}
}

func (d atLive) hear(p *patron, _ *socket, text []byte) (a answer, answered bool) {
	var f liveFrame
	if err := json.Unmarshal(text, &f); err != nil {
		p.crowd.blame("%s was sent %q: %v", p.user, text, err)
		return a, false
	}
	a.wait = time.Duration(f.RetryAfter) * time.Millisecond
	switch f.T {
	case "welcome":
		p.mu.Lock()
		p.resume, p.sequence = f.Resume, f.Q
		if f.Resync {
			p.picture = view{}
			clear(p.unsure)
		}
		p.mu.Unlock()
		if p.ear != nil && f.Resync {
			p.ear.resync()
		}
		a.ok, a.resumed, a.resync = true, f.Resumed, f.Resync
		return a, true
	case "n":
		p.mu.Lock()
		if f.Q != p.sequence+uint64(len(f.N)) {
			p.crowd.blame("%s: a frame of %d notices until %d follows %d", p.user, len(f.N), f.Q, p.sequence)
		}
		p.sequence = f.Q
		p.mu.Unlock()
		for i := range f.N {
			d.notice(p, &f.N[i])
		}
		return a, false
	case "ok", "pong":
		if len(f.Rejected) > 0 {
			p.crowd.blame("watches of %s were rejected: %v", p.user, f.Rejected)
		}
		a.ok = true
		return a, true
	case "error":
		a.reason = f.Reason
		return a, f.Part == ""
	case "bye":
		if f.Reason == "SESSION_CLOSED" && f.Why == "CLIENT" {
			a.ok = true
			return a, true
		}
		a.reason = f.Reason
		p.ends(f.Reason, f.Why, a.wait)
		return a, true
	}
	return a, false
}

// ends notes that the node sends him away.
func (p *patron) ends(reason, why string, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reason == "DRAINING" {
		p.away = min(wait, 2*time.Second)
		return
	}
	if reason == "SESSION_CLOSED" && p.meant == here && !p.crowd.doubted(p.node, p.since, time.Now()) {
		p.crowd.blame("the session of %s at the live door was closed: %s", p.user, why)
	}
}

// notice takes one of a frame.
func (atLive) notice(p *patron, n *liveNote) {
	kind, ok := map[string]isonlinev1.SessionEventKind{
		"current": isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CURRENT, "opened": isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED,
		"updated": isonlinev1.SessionEventKind_SESSION_EVENT_KIND_UPDATED, "closed": isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED,
		"none": isonlinev1.SessionEventKind_SESSION_EVENT_KIND_UNSPECIFIED,
	}[n.K]
	if !ok {
		return
	}
	m := &notice{UserId: n.U, UserFlag: isonlinev1.UserFlag_USER_FLAG_OFFLINE}
	if n.On {
		m.UserFlag = isonlinev1.UserFlag_USER_FLAG_ONLINE
	}
	if n.Seen > 0 {
		m.LastSeen = timestamppb.New(time.UnixMilli(n.Seen))
	}
	if n.S != nil {
		m.Session = &isonlinev1.SessionNotification{SessionId: n.S.ID, Kind: kind, RichText: n.S.Text,
			Status: isonlinev1.IsOnlineStatus(isonlinev1.IsOnlineStatus_value["IS_ONLINE_STATUS_"+strings.ToUpper(n.S.Show)])}
	}
	if p.ear != nil {
		p.ear.hear(m)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.picture.hear(m)
}

// changeWatches watches somebody more, or somebody less.
func (p *patron) changeWatches() {
	if p.door.name() != "live" {
		return
	}
	p.mu.Lock()
	var users []string
	for u := range p.watches {
		users = append(users, u)
	}
	p.mu.Unlock()
	if len(users) >= mostWatches || len(users) > 0 && p.random.IntN(3) == 0 {
		slices.Sort(users)
		p.unwatch(users[p.random.IntN(len(users))])
		return
	}
	user := p.crowd.all[p.random.IntN(len(p.crowd.all))]
	p.mu.Lock()
	unsure := p.unsure[user]
	p.mu.Unlock()
	if !unsure {
		p.watch(user)
	}
}

// mostWatches bounds whom a patron watches.
const mostWatches = 8

// watch watches users.
func (p *patron) watch(users ...string) {
	list, _ := json.Marshal(users) // texts can always be written
	sent := time.Now()
	_, err := p.ask(fmt.Appendf(nil, `{"t":"watch","id":1,"users":%s}`, list), callLimit)
	if p.failed("a watch", err) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range users {
		p.watches[u] = act{sent, time.Now()}
	}
}

func (p *patron) unwatch(user string) {
	p.mu.Lock()
	delete(p.watches, user)
	p.mu.Unlock()
	_, err := p.ask(fmt.Appendf(nil, `{"t":"unwatch","id":1,"users":[%s]}`, quoted(user)), callLimit)
	failed := p.failed("an end of a watch", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if delete(p.picture, user); failed {
		p.unsure[user] = true // a snapshot would not say what closed meanwhile
	}
}

// watchAgain subscribes again after a resync, as clients must.
func (p *patron) watchAgain(resync bool) {
	if !resync || p.door.name() != "live" {
		return
	}
	users := p.crowd.all
	if p.ear == nil {
		users = nil
		p.mu.Lock()
		for u := range p.watches {
			users = append(users, u)
		}
		p.mu.Unlock()
	}
	for some := range slices.Chunk(users, 200) {
		if p.sock == nil {
			return
		}
		if p.ear == nil {
			p.watch(some...)
			continue
		}
		list, _ := json.Marshal(some) // texts can always be written
		_, err := p.ask(fmt.Appendf(nil, `{"t":"watch","id":1,"users":%s}`, list), callLimit)
		p.failed("watching everybody", err)
	}
}

// atStringee speaks Stringee's.
type atStringee struct{}

func (atStringee) name() string               { return "stringee" }
func (atStringee) path() string               { return "/" }
func (atStringee) header(*patron) http.Header { return nil }
func (atStringee) tells() bool                { return false }
func (atStringee) bye(*patron) []byte         { return nil }

func (atStringee) enter(p *patron) []byte {
	signed, err := token.SignVendor(map[string]any{"cty": "stringee-api;v=1"}, map[string]any{"iss": stringeeSID, "userId": p.user, "exp": time.Now().Add(time.Hour).Unix()}, []byte(stringeeSecret))
	if err != nil {
		p.crowd.blame("sign for %s: %v", p.user, err)
	}
	return fmt.Appendf(nil, `{"service":2,"body":{"accesstoken":%q,"deviceId":"d-%s","browserId":"b","platform":3,"sdkVersion":"2.6.0","requestId":1}}`, signed, p.user)
}

func (atStringee) status(_ *patron, number int) []byte {
	return fmt.Appendf(nil, `{"service":103,"body":{"attribute":"mood","value":%q,"requestId":%d}}`, textOf(number), number+1)
}

func (atStringee) hear(p *patron, s *socket, text []byte) (a answer, answered bool) {
	var f struct {
		Service int
		Body    struct {
			R         *int
			RequestID *int
		}
	}
	if err := json.Unmarshal(text, &f); err != nil {
		p.crowd.blame("%s was sent %q: %v", p.user, text, err)
		return a, false
	}
	switch {
	case f.Service == 1:
		_ = s.say([]byte(`{"service":1,"body":{}}`)) // the end of the link is noticed elsewhere
		return a, false
	case f.Body.R == nil || f.Body.RequestID == nil:
		return a, false
	case *f.Body.R == 0:
		a.ok = true
	default:
		a.reason = strconv.Itoa(*f.Body.R)
	}
	return a, true
}

// atMozilla speaks that of Mozilla's devices.
type atMozilla struct{}

func (atMozilla) name() string               { return "mozpresence" }
func (atMozilla) path() string               { return "/presence" }
func (atMozilla) header(*patron) http.Header { return nil }
func (atMozilla) tells() bool                { return false }
func (d atMozilla) enter(p *patron) []byte   { return d.word(p, "online") }
func (d atMozilla) bye(p *patron) []byte     { return d.word(p, "offline") }
func (d atMozilla) status(p *patron, number int) []byte {
	return d.word(p, []string{"online", "unavailable"}[number%2])
}

func (atMozilla) word(p *patron, status string) []byte {
	return fmt.Appendf(nil, `{"email":%q,"assertion":%q,"device":"d-%s","status":%q}`, p.user, p.crowd.jwts[p.user], p.user, status)
}

func (atMozilla) hear(p *patron, _ *socket, text []byte) (a answer, answered bool) {
	var f struct {
		Result string
		Errno  int
	}
	if err := json.Unmarshal(text, &f); err != nil {
		p.crowd.blame("%s was sent %q: %v", p.user, text, err)
		return a, false
	}
	a.ok, a.reason = f.Result == "OK", strconv.Itoa(f.Errno)
	return a, f.Result != ""
}
