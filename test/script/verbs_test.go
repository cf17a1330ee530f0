package script

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// verbs are what users' devices do; each returns what the caller is answered,
// which is "" when there is nothing to say but OK.
var verbs = map[string]func(*story, *step) string{
	"make": make1, "connect": connect, "watch": watch, "unwatch": unwatch, "update": update, "patch": patch,
	"burst": burst, "close": close1, "heartbeat": heartbeat, "get": get, "watch_friends": watchFriends, "open": openLive, "say": say, "unload": unload, "unwatch_friends": unwatchFriends,
}

// caller is who makes a call, over which link and with which session token.
type caller struct {
	ctx    context.Context
	client isonlinev1.IsOnlineServiceClient
	link   *link
	token  string
}

// caller reads `user(flaw): verb device token=… link=…`.
func (s *story) caller(st *step) caller {
	user, flaw, _ := strings.Cut(strings.TrimSuffix(st.user, ")"), "(")
	c := caller{ctx: s.access(user, flaw)}
	name := st.user
	if d := s.devices[st.word(0)]; d != nil {
		c.token, name = d.token, d.link
	}
	if l := st.options["link"]; l != "" {
		name = l
		if d := s.devices[st.word(0)]; d != nil {
			d.link = l
		}
	}
	switch other := st.options["token"]; {
	case other == "tampered":
		b := []byte(c.token)
		b[len(b)/2] ^= 1 // another letter of the alphabet, or none of it
		c.token = string(b)
	case other != "":
		c.token = other
	}
	c.link = s.link(name)
	c.client = isonlinev1.NewIsOnlineServiceClient(c.link.grpc)
	return c
}

// call makes one call within the story's patience.
func call[Req, Resp any](c caller, f func(context.Context, Req, ...grpcOption) (Resp, error), req Req, say func(Resp) string) string {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	resp, err := f(ctx, req)
	if err != nil {
		return refusal(err)
	}
	return say(resp)
}

func make1(s *story, st *step) string {
	name := st.word(0)
	d := &device{story: s, name: name, user: st.user, link: name}
	if l := st.options["link"]; l != "" {
		d.link = l
	}
	st.words = nil
	st.options["link"] = d.link
	req := &isonlinev1.MakeIsOnlineSessionRequest{
		Client: &isonlinev1.ClientInfo{
			Platform: st.options["platform"], Product: st.options["product"], Locale: st.options["locale"],
			DeviceId: st.options["device_id"], ClientVersion: st.options["version"],
		},
		IdempotencyKey: st.options["key"],
	}
	c := s.caller(st)
	return call(c, c.client.MakeIsOnlineSession, req, func(r *isonlinev1.MakeIsOnlineSessionResponse) string {
		again := ""
		if other, ok := s.names[r.GetSessionId()]; ok {
			again = ", the same session as " + other
		}
		d.token = r.GetSessionToken()
		s.devices[name] = d
		s.name(r.GetSessionId(), name)
		return fmt.Sprintf("%s: connect before %s%s", name, s.since(r.GetConnectBefore()), again)
	})
}

func connect(s *story, st *step) string {
	d := s.device(st, 0)
	c := s.caller(st)
	req := &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: c.token, Initial: s.status(st)}
	switch after := st.options["resume_after"]; after {
	case "":
	case "last":
		n := d.last.Load()
		req.ResumeAfter = &n
	default:
		n := uint64(st.number(s.t, "resume_after"))
		req.ResumeAfter = &n
	}
	d.connect(c.ctx, c.link, req)
	return ""
}

func watch(s *story, st *step) string {
	c := s.caller(st)
	if len(st.words) == 2 {
		req := &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: c.token, UserId: st.word(1)}
		return call(c, c.client.SubscribeToUserIsOnline, req, func(r *isonlinev1.SubscribeToUserIsOnlineResponse) string {
			if r.GetAlreadySubscribed() {
				return "already subscribed"
			}
			return ""
		})
	}
	req := &isonlinev1.SubscribeToUsersIsOnlineRequest{SessionToken: c.token, UserIds: st.words[1:]}
	return call(c, c.client.SubscribeToUsersIsOnline, req, func(r *isonlinev1.SubscribeToUsersIsOnlineResponse) string {
		var say []string
		if len(r.GetAlreadySubscribed()) > 0 {
			say = append(say, "already subscribed: "+strings.Join(r.GetAlreadySubscribed(), " "))
		}
		if len(r.GetRejected()) > 0 {
			say = append(say, fmt.Sprintf("rejected: %q", r.GetRejected()))
		}
		return strings.Join(say, "; ")
	})
}

func unwatch(s *story, st *step) string {
	c := s.caller(st)
	req := &isonlinev1.UnsubscribeFromUserIsOnlineRequest{SessionToken: c.token, UserId: st.word(1)}
	return call(c, c.client.UnsubscribeFromUserIsOnline, req, func(r *isonlinev1.UnsubscribeFromUserIsOnlineResponse) string {
		switch {
		case !r.GetWasSubscribed() && r.GetStillWatchedAsFriend():
			return "was not subscribed, watched as a friend"
		case !r.GetWasSubscribed():
			return "was not subscribed"
		case r.GetStillWatchedAsFriend():
			return "still watched as a friend"
		}
		return ""
	})
}

func update(s *story, st *step) string {
	c := s.caller(st)
	req := &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: c.token, Update: s.status(st)}
	return call(c, c.client.UpdateIsOnlineSession, req, func(r *isonlinev1.UpdateIsOnlineSessionResponse) string {
		return s.stored(r.GetRevision(), r.GetUnchanged())
	})
}

func patch(s *story, st *step) string {
	c := s.caller(st)
	req := &isonlinev1.PartialUpdateIsOnlineSessionRequest{SessionToken: c.token, Update: s.status(st)}
	if keys := st.options["clear"]; keys != "" {
		req.ClearProperties = strings.Split(keys, ",")
	}
	req.ClearRichText = st.options["clear_text"] == "true"
	if h, ok := st.options["hidden"]; ok {
		hidden := h == "true"
		req.AppearOffline = &hidden
	}
	return call(c, c.client.PartialUpdateIsOnlineSession, req, func(r *isonlinev1.PartialUpdateIsOnlineSessionResponse) string {
		return s.stored(r.GetRevision(), r.GetUnchanged())
	})
}

// burst makes `count` updates, each with another text and as `bulk` says, every
// `each`, and says how they were answered.
func burst(s *story, st *step) string {
	each, count := st.duration(s.t, "each"), st.number(s.t, "count")
	answers := map[string]int{}
	for i := range count {
		one := *st
		one.options = map[string]string{"text": strconv.Itoa(i + 1), "bulk": st.options["bulk"]}
		answer := update(s, &one)
		if strings.HasPrefix(answer, "r") {
			answer = "OK"
		}
		answers[answer]++
		synctest.Wait() // or it is chance how many of them a watcher's stream takes one by one
		if each > 0 {
			wait(each)
		}
	}
	var say []string
	for _, answer := range slices.Sorted(maps.Keys(answers)) {
		say = append(say, fmt.Sprintf("%d × %s", answers[answer], answer))
	}
	return strings.Join(say, "\n")
}

func close1(s *story, st *step) string {
	c := s.caller(st)
	req := &isonlinev1.CloseIsOnlineSessionRequest{SessionToken: c.token}
	switch mode := st.word(1); mode {
	case "":
	case "leave":
		req.Mode = isonlinev1.CloseMode_CLOSE_MODE_LEAVE
	default:
		req.Mode = isonlinev1.CloseMode(st.number(s.t, "mode"))
	}
	return call(c, c.client.CloseIsOnlineSession, req, func(r *isonlinev1.CloseIsOnlineSessionResponse) string {
		return "closed at " + s.since(r.GetClosedAt())
	})
}

func heartbeat(s *story, st *step) string {
	c := s.caller(st)
	req := &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: c.token}
	return call(c, c.client.HeartbeatIsOnlineSession, req, func(r *isonlinev1.HeartbeatIsOnlineSessionResponse) string {
		stream := "no stream"
		if r.GetStreamAttached() {
			stream = "stream attached"
		}
		return fmt.Sprintf("again within %s, %s", r.GetNextWithin().AsDuration().Round(time.Millisecond), stream)
	})
}

// get asks directly, without a session: one user, or several in a batch.
func get(s *story, st *step) string {
	c := s.caller(st)
	if accept := st.options["accept"]; accept != "" {
		c.ctx = metadata.AppendToOutgoingContext(c.ctx, "accept-language", accept)
	}
	detail := isonlinev1.Detail_DETAIL_UNSPECIFIED
	if st.options["detail"] == "user" {
		detail = isonlinev1.Detail_DETAIL_USER
	}
	if len(st.words) == 1 {
		req := &isonlinev1.GetUserIsOnlineRequest{UserId: st.word(0), Locale: st.options["locale"], Detail: detail}
		return call(c, c.client.GetUserIsOnline, req, func(r *isonlinev1.GetUserIsOnlineResponse) string { return s.whole(r.GetUser()) })
	}
	req := &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: st.words, Locale: st.options["locale"], Detail: detail}
	return call(c, c.client.BatchGetUserIsOnline, req, func(r *isonlinev1.BatchGetUserIsOnlineResponse) string {
		var b strings.Builder
		for _, u := range r.GetUsers() {
			b.WriteString(s.whole(u) + "\n")
		}
		return b.String()
	})
}

// status reads the options of an update; nil when none says anything of it.
func (s *story) status(st *step) *isonlinev1.IsOnlineUpdate {
	u, said := &isonlinev1.IsOnlineUpdate{}, false
	for name, value := range st.options {
		switch key, property := strings.CutPrefix(name, "prop."); {
		case property:
			if u.Properties == nil {
				u.Properties = map[string]*isonlinev1.Value{}
			}
			u.Properties[key] = propertyOf(value)
		case name == "status":
			u.Status = isonlinev1.IsOnlineStatus(isonlinev1.IsOnlineStatus_value["IS_ONLINE_STATUS_"+strings.ToUpper(value)])
			if u.Status == 0 {
				u.Status = isonlinev1.IsOnlineStatus(st.number(s.t, "status")) // one that does not exist
			}
		case name == "text":
			u.RichText = &isonlinev1.RichText{Kind: &isonlinev1.RichText_Literal{Literal: value}}
		case name == "letters":
			u.RichText = &isonlinev1.RichText{Kind: &isonlinev1.RichText_Literal{Literal: strings.Repeat("x", st.number(s.t, name))}}
		case name == "template":
			u.RichText = &isonlinev1.RichText{Kind: &isonlinev1.RichText_Template{
				Template: &isonlinev1.LocalizedRef{Token: value, FallbackText: st.options["fallback"], Args: st.args()},
			}}
		case name == "bulk" && value != "": // properties of 250 bytes each
			for i := range st.number(s.t, name) {
				if u.Properties == nil {
					u.Properties = map[string]*isonlinev1.Value{}
				}
				u.Properties["bulk"+strconv.Itoa(i)] = propertyOf(strings.Repeat("x", 250))
			}
		case name == "hidden":
			u.AppearOffline = value == "true"
		default:
			continue
		}
		said = true
	}
	if !said && (st.verb == "connect" || st.verb == "open") {
		return nil
	}
	return u
}

// args reads the options arg.NAME=VALUE of a template.
func (s *step) args() map[string]*isonlinev1.Value {
	args := map[string]*isonlinev1.Value{}
	for name, value := range s.options {
		if key, ok := strings.CutPrefix(name, "arg."); ok {
			args[key] = propertyOf(value)
		}
	}
	return args
}

// propertyOf reads a number, a flag, @ and the token of a reference, or text.
func propertyOf(text string) *isonlinev1.Value {
	if token, ok := strings.CutPrefix(text, "@"); ok {
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Localized{Localized: &isonlinev1.LocalizedRef{Token: token}}}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Integer{Integer: n}}
	}
	if b, err := strconv.ParseBool(text); err == nil {
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Flag{Flag: b}}
	}
	return &isonlinev1.Value{Kind: &isonlinev1.Value_Text{Text: text}}
}
