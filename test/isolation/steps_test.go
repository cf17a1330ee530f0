package isolation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// step is one thing that an app does.
type step struct {
	app    int
	do     string
	user   string
	other  string
	device int
	text   string
}

func (s step) who() string { return fmt.Sprintf("%s/%d", s.user, s.device) }

// calls are all kinds of steps on the IsOnline door, by name.
var calls = map[string]func(*tenant, step) (proto.Message, error){
	"make and connect": func(n *tenant, s step) (proto.Message, error) { return nil, n.open(s) },
	"subscribe": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).SubscribeToUserIsOnline(n.as(s.user), &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: n.token(s), UserId: s.other})
	},
	"subscribe to several": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).SubscribeToUsersIsOnline(n.as(s.user), &isonlinev1.SubscribeToUsersIsOnlineRequest{SessionToken: n.token(s), UserIds: users})
	},
	"subscribe to friends": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).SubscribeToFriendsIsOnline(n.as(s.user), &isonlinev1.SubscribeToFriendsIsOnlineRequest{SessionToken: n.token(s)})
	},
	"unsubscribe": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).UnsubscribeFromUserIsOnline(n.as(s.user), &isonlinev1.UnsubscribeFromUserIsOnlineRequest{SessionToken: n.token(s), UserId: s.other})
	},
	"unsubscribe from friends": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).UnsubscribeFromFriendsIsOnline(n.as(s.user), &isonlinev1.UnsubscribeFromFriendsIsOnlineRequest{SessionToken: n.token(s)})
	},
	"update": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).UpdateIsOnlineSession(n.as(s.user), &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: n.token(s), Update: n.update(s)})
	},
	"partial update": func(n *tenant, s step) (proto.Message, error) {
		hide := s.device == 0
		return n.service(s.who()).PartialUpdateIsOnlineSession(n.as(s.user), &isonlinev1.PartialUpdateIsOnlineSessionRequest{SessionToken: n.token(s), AppearOffline: &hide})
	},
	"heartbeat": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).HeartbeatIsOnlineSession(n.as(s.user), &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: n.token(s)})
	},
	"close": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).CloseIsOnlineSession(n.as(s.user), &isonlinev1.CloseIsOnlineSessionRequest{SessionToken: n.token(s)})
	},
	"get": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).GetUserIsOnline(n.as(s.user), &isonlinev1.GetUserIsOnlineRequest{UserId: s.other})
	},
	"batch get": func(n *tenant, s step) (proto.Message, error) {
		return n.service(s.who()).BatchGetUserIsOnline(n.as(s.user), &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: users})
	},
	"lose the link": func(n *tenant, s step) (proto.Message, error) {
		if c := n.conns[s.who()]; c != nil {
			c.Close()
			delete(n.conns, s.who())
		}
		return nil, nil
	},
}

// requests are all kinds of steps on the REST door: method, path, body. USER,
// OTHER, TEXT and SESSION stand for the step's.
var requests = map[string][3]string{
	"rest get":       {"GET", "/users/USER"},
	"rest get truth": {"GET", "/users/USER?view=true"},
	"rest query":     {"POST", "/users/query", `{"users":["alice","bob","carol"]}`},
	"rest count":     {"GET", "/online/count"},
	"rest sessions":  {"GET", "/users/USER/sessions"},
	"rest drop":      {"DELETE", "/users/USER/sessions"},
	"rest revoke":    {"DELETE", "/users/USER/sessions?revoke_tokens=true"},
	"rest friends":   {"GET", "/users/USER/friends"},
	"rest replace":   {"PUT", "/users/USER/friends", `{"friends":["OTHER"]}`},
	"rest befriend":  {"PUT", "/users/USER/friends/OTHER"},
	"rest unfriend":  {"DELETE", "/users/USER/friends/OTHER"},
	"rest block":     {"PUT", "/users/USER/blocks/OTHER"},
	"rest unblock":   {"DELETE", "/users/USER/blocks/OTHER"},
	"rest presence":  {"PUT", "/users/USER/presence", `{"status":"busy","rich_text":"TEXT","ttl":30}`},
	"rest erase":     {"DELETE", "/users/USER"},

	"rest online":          {"GET", "/online"},
	"rest session":         {"GET", "/users/USER/sessions/SESSION?view=true"},
	"rest drop one":        {"DELETE", "/users/USER/sessions/SESSION"},
	"rest befriend both":   {"PUT", "/users/USER/friends/OTHER?direction=both"},
	"rest push":            {"POST", "/friends/changes", `{"changes":[{"user":"USER","added":["OTHER"]}]}`},
	"rest blocks":          {"GET", "/users/USER/blocks"},
	"rest remove presence": {"DELETE", "/users/USER/presence"},
}

// kinds are the names of all steps, in a fixed order.
func kinds() []string {
	var all []string
	for k := range calls {
		all = append(all, k)
	}
	for k := range requests {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// take does a step and writes down the answer.
func (n *tenant) take(s step) {
	if call := calls[s.do]; call != nil {
		m, err := call(n, s)
		n.hear(s.who(), "%s: %s", s.do, answer(m, err))
		return
	}
	r := requests[s.do]
	fill := strings.NewReplacer("USER", s.user, "OTHER", s.other, "TEXT", n.name+" "+s.text, "SESSION", n.session(s)).Replace
	n.hear("backend", "%s %s: %s", s.do, s.user, n.request(r[0], fill(r[1]), fill(r[2])))
}

// request makes one REST call with the app's server key.
func (n *tenant) request(method, path, body string) string {
	req, err := http.NewRequestWithContext(n.world.t.Context(), method, "http://porchlight/api/v1"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		n.world.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+string(secret(n.name, "server")))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("X-Request-Id", "the-same")
	resp, err := n.world.backend.Do(req)
	if err != nil {
		n.world.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.world.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, text)
}

func (n *tenant) token(s step) string {
	if d := n.devices[s.who()]; d != nil {
		return d.token
	}
	return "no session yet"
}

// session is the public id of the device's newest session.
func (n *tenant) session(s step) string {
	if d := n.devices[s.who()]; d != nil {
		return d.id
	}
	return presence.PublicID{}.String()
}

func (n *tenant) update(s step) *isonlinev1.IsOnlineUpdate {
	return &isonlinev1.IsOnlineUpdate{
		Status:   isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY,
		RichText: &isonlinev1.RichText{Kind: &isonlinev1.RichText_Literal{Literal: n.name + " " + s.text}},
	}
}

// open makes a session and connects it; the former one of the device is left to
// its time-out, or replaced.
func (n *tenant) open(s step) error {
	c := n.service(s.who())
	made, err := c.MakeIsOnlineSession(n.as(s.user), &isonlinev1.MakeIsOnlineSessionRequest{Client: &isonlinev1.ClientInfo{Platform: n.name, DeviceId: s.who()}})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.names[made.GetSessionId()] = fmt.Sprintf("(session %d)", len(n.names))
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(n.as(s.user))
	if old := n.devices[s.who()]; old != nil {
		old.cancel()
	}
	n.devices[s.who()] = &device{id: made.GetSessionId(), token: made.GetSessionToken(), cancel: cancel}
	stream, err := c.ConnectToIsOnlineSession(ctx, &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: made.GetSessionToken(), Initial: n.update(s)})
	if err != nil {
		return err
	}
	who := s.who() + " stream"
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				if ctx.Err() == nil {
					n.hear(who, "ended: %s", answer(nil, err))
				}
				return
			}
			n.hear(who, "%s", answer(m, nil))
		}
	}()
	return nil
}

// answer writes what came back of a call, the same way each time.
func answer(m proto.Message, err error) string {
	if err != nil {
		st := status.Convert(err)
		return fmt.Sprintf("%s %s %v", st.Code(), st.Message(), st.Details())
	}
	if m == nil {
		return "OK"
	}
	text, err := protojson.Marshal(m) // its spaces are random
	if err != nil {
		return err.Error()
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return err.Error()
	}
	return b.String()
}
