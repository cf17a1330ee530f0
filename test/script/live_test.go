package script

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/door/live"
)

// Devices at the live door. What they are told is turned into the messages of the
// gRPC stream and printed by the same code, so that a story reads the same at
// both.

// openLive says hello at the live door: with the device's session, or with a new
// one when the device is.
func openLive(s *story, st *step) string {
	name := st.word(0)
	d := s.devices[name]
	if d == nil {
		d = &device{story: s, name: name, user: st.user, link: name}
		s.devices[name] = d
	}
	k, err := s.liveLink(d, st)
	if err != nil {
		s.t.Fatal(err)
	}
	hello := s.hello(d, st)
	conn, err := k.dial(s.t.Context())
	if err != nil {
		return "refused: " + err.Error()
	}
	header := http.Header{"Sec-Websocket-Protocol": {live.Protocol}}
	if origin := st.options["origin"]; origin != "" {
		header["Origin"] = []string{origin}
	}
	peer, answer := doortest.Handshake(s.t, conn, live.Path, header)
	if peer == nil {
		return answer.Status
	}
	d.opened++
	o := &stream{number: d.opened, link: k, cancel: func() { conn.Close() }}
	d.open, d.peer = o, peer
	go d.hearLive(o, peer)
	if err := peer.Send(hello); err != nil {
		return err.Error()
	}
	return ""
}

// liveLink is the link of a device at the live door: named like the device, or
// with a dot behind while it has one at the gRPC door.
func (s *story) liveLink(d *device, st *step) (*link, error) {
	name := d.name
	if l := st.options["link"]; l != "" {
		name = l
	}
	if k := s.links[name]; k != nil && k.grpc != nil {
		name += "."
	}
	if k := s.links[name]; k != nil {
		return k, nil
	}
	k := &link{listener: s.server.web}
	s.links[name] = k
	return k, nil
}

// hello reads the options of an opening.
func (s *story) hello(d *device, st *step) string {
	user, flaw, _ := strings.Cut(strings.TrimSuffix(st.user, ")"), "(")
	h := map[string]any{"t": "hello", "token": s.jwt(user, flaw)}
	if d.token != "" {
		h["resume"] = d.token
	} else {
		h["device"] = map[string]string{
			"platform": st.options["platform"], "product": st.options["product"], "locale": st.options["locale"], "id": st.options["device_id"], "version": st.options["version"],
		}
	}
	switch after := st.options["resume_after"]; after {
	case "":
	case "last":
		h["after"] = d.last.Load()
	default:
		h["after"] = st.number(s.t, "resume_after")
	}
	if users := st.options["watch"]; users != "" {
		h["watch"] = strings.Split(users, ",")
	}
	if st.options["friends"] == "true" {
		h["friends"] = true
	}
	if u := s.status(st); u != nil {
		h["status"] = liveStatus(u)
	}
	b, err := json.Marshal(h)
	if err != nil {
		s.t.Fatalf("%s: %v", st.line, err)
	}
	return string(b)
}

// liveStatus is an update in the live door's words.
func liveStatus(u *isonlinev1.IsOnlineUpdate) map[string]any {
	status := map[string]any{"invisible": u.GetAppearOffline()}
	if u.GetStatus() != 0 {
		status["show"] = strings.ToLower(short(u.GetStatus().String(), "IS_ONLINE_STATUS_"))
	}
	if u.GetRichText() != nil {
		status["text"] = u.GetRichText().GetLiteral()
	}
	properties := map[string]any{}
	for key, v := range u.GetProperties() {
		switch k := v.GetKind().(type) {
		case *isonlinev1.Value_Integer:
			properties[key] = k.Integer
		case *isonlinev1.Value_Flag:
			properties[key] = k.Flag
		default:
			properties[key] = v.GetText()
		}
	}
	status["properties"] = properties
	return status
}

// say sends a frame as it stands in the story.
func say(s *story, st *step) string {
	d := s.device(st, 0)
	_, frame, _ := strings.Cut(st.line, "say "+st.word(0)+" ")
	if err := d.peer.Send(frame); err != nil {
		return err.Error()
	}
	return ""
}

// unload ends the connection as a browser does whose page is closed or loaded
// anew.
func unload(s *story, st *step) string {
	d := s.device(st, 0)
	d.open.deaf.Store(true)
	d.peer.Frame(8, []byte{3, 233}) // 1001, going away
	d.peer.Conn.Close()
	return ""
}

// hearLive hears a connection until its end.
func (d *device) hearLive(o *stream, p *doortest.Peer) {
	defer o.cancel()
	for {
		d.mayRead()
		err := p.Next()
		if o.deaf.Load() {
			return
		}
		for _, f := range p.Take() {
			d.frame(o, []byte(f))
		}
		if err != nil {
			if code, _, _ := p.End(); code != 0 {
				d.story.hear(d.name, o.number, "closed with %d", code)
			} else {
				d.story.hear(d.name, o.number, "ended without a word")
			}
			return
		}
	}
}

// liveFrame is any frame of the server.
type liveFrame struct {
	T, Session, Resume, Reason, Why, Part string
	ID                                    *uint64
	Resumed, Resync, Kept                 bool
	Unchanged                             bool
	Already, Was                          json.RawMessage
	Still, Rejected                       []string
	Q, Rev, Friends                       uint64
	RetryAfter                            int64 `json:"retry_after"`
	Fields                                []struct{ Path string }
	N                                     []liveNote
	Users                                 []struct {
		U        string
		On       bool
		Seen     int64
		Sessions []liveSession
	}
}

type liveNote struct {
	U, K, User, Why string
	On              bool
	Seen, At        int64
	Friends, All    bool
	Users           uint32
	S               *liveSession
}

type liveSession struct {
	ID, Platform, Product, Show, Text, Locale, Why string
	Rev                                            uint64
	Since, At                                      int64
	Properties                                     map[string]json.RawMessage
}

// frame prints a frame, and remembers what of it matters later.
func (d *device) frame(o *stream, b []byte) {
	s := d.story
	var f liveFrame
	if err := json.Unmarshal(b, &f); err != nil {
		s.hear(d.name, o.number, "?? %s", b)
		return
	}
	switch f.T {
	case "welcome":
		d.token = f.Resume
		s.name(f.Session, d.name)
		m := &isonlinev1.ConnectToIsOnlineSessionResponse{Sequence: f.Q, Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Connected{
			Connected: &isonlinev1.Connected{SessionId: f.Session, Resumed: f.Resumed, Resync: f.Resync},
		}}
		d.told(o, m)
	case "n":
		for i := range f.N {
			m := f.N[i].message()
			m.Sequence = f.Q - uint64(len(f.N)-1-i)
			d.told(o, m)
		}
	case "bye":
		s.hear(d.name, o.number, "%s", f.bye())
	default:
		s.hear(d.name, o.number, "%s", f.answer(s))
	}
}

// told prints a message of the stream, whichever door it came by.
func (d *device) told(o *stream, m *isonlinev1.ConnectToIsOnlineSessionResponse) {
	d.last.Store(max(d.last.Load(), m.GetSequence()))
	if n := m.GetNotification(); n != nil {
		d.kept.add(n)
	}
	if d.tally.add(m, d.story.message(m)) {
		return
	}
	if m.GetKeepAlive() == nil || d.story.beats.Load() {
		d.story.hear(d.name, o.number, "#%d %s", m.GetSequence(), d.story.message(m))
	}
}

func (f *liveFrame) bye() string {
	say := "bye " + f.Reason
	if f.Why != "" {
		say += " " + f.Why
	}
	if f.Kept {
		say += ", session kept"
	}
	if f.RetryAfter > 0 {
		say += ", retry after " + soon(durationpb.New(time.Duration(f.RetryAfter)*time.Millisecond))
	}
	return say
}

// answer prints what a frame of the device was answered.
func (f *liveFrame) answer(s *story) string {
	say := []string{f.T}
	if f.ID != nil {
		say = append(say, fmt.Sprint(*f.ID))
	}
	if f.Rev != 0 {
		say = append(say, s.stored(f.Rev, f.Unchanged))
	}
	if f.Part != "" {
		say = append(say, "of "+f.Part)
	}
	if f.Reason != "" {
		say = append(say, f.Reason)
	}
	for _, one := range f.Fields {
		say = append(say, one.Path)
	}
	if f.RetryAfter > 0 {
		say = append(say, "retry after "+soon(durationpb.New(time.Duration(f.RetryAfter)*time.Millisecond)))
	}
	if f.Friends > 0 {
		say = append(say, fmt.Sprintf("friends %d", f.Friends))
	}
	for name, list := range map[string]json.RawMessage{"already": f.Already, "was": f.Was} {
		if list != nil {
			say = append(say, name+" "+string(list))
		}
	}
	if len(f.Still)+len(f.Rejected) > 0 {
		say = append(say, fmt.Sprintf("still %q rejected %q", f.Still, f.Rejected))
	}
	line := strings.Join(say, " ")
	for _, u := range f.Users {
		m := &isonlinev1.UserIsOnline{UserId: u.U, UserFlag: flagOf(u.On), LastSeen: timeOf(u.Seen)}
		for i := range u.Sessions {
			m.Sessions = append(m.Sessions, u.Sessions[i].message(isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CURRENT))
		}
		line += "\n  " + strings.ReplaceAll(s.whole(m), "\n", "\n  ")
	}
	return line
}

func flagOf(on bool) isonlinev1.UserFlag {
	if on {
		return isonlinev1.UserFlag_USER_FLAG_ONLINE
	}
	return isonlinev1.UserFlag_USER_FLAG_OFFLINE
}

// timeOf is nil for a time that was left out.
func timeOf(ms int64) *timestamppb.Timestamp {
	if ms == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMilli(ms))
}

// message is the note as the gRPC stream has it.
func (n *liveNote) message() *isonlinev1.ConnectToIsOnlineSessionResponse {
	m := &isonlinev1.ConnectToIsOnlineSessionResponse{}
	switch n.K {
	case "done":
		done := &isonlinev1.SnapshotDone{Users: n.Users, Scope: &isonlinev1.SnapshotDone_UserId{UserId: n.User}}
		switch {
		case n.All:
			done.Scope = &isonlinev1.SnapshotDone_All{All: true}
		case n.Friends:
			done.Scope = &isonlinev1.SnapshotDone_Friends{Friends: true}
		}
		m.Event = &isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone{SnapshotDone: done}
	case "ended":
		reason := isonlinev1.SubscriptionEnded_Reason(isonlinev1.SubscriptionEnded_Reason_value[n.Why])
		m.Event = &isonlinev1.ConnectToIsOnlineSessionResponse_SubscriptionEnded{SubscriptionEnded: &isonlinev1.SubscriptionEnded{UserId: n.U, Reason: reason}}
	default:
		note := &isonlinev1.IsOnlineNotification{UserId: n.U, UserFlag: flagOf(n.On), LastSeen: timeOf(n.Seen), EventTime: timeOf(n.At)}
		if n.S != nil {
			note.Session = n.S.message(isonlinev1.SessionEventKind(isonlinev1.SessionEventKind_value["SESSION_EVENT_KIND_"+strings.ToUpper(n.K)]))
		}
		m.Event = &isonlinev1.ConnectToIsOnlineSessionResponse_Notification{Notification: note}
	}
	return m
}

// message is the session as the gRPC stream has it.
func (n *liveSession) message(kind isonlinev1.SessionEventKind) *isonlinev1.SessionNotification {
	m := &isonlinev1.SessionNotification{
		SessionId: n.ID, Kind: kind, Platform: n.Platform, Product: n.Product, RichText: n.Text, RichTextLocale: n.Locale, Revision: n.Rev,
		ConnectedAt: timeOf(n.Since), UpdatedAt: timeOf(n.At),
		Status:      isonlinev1.IsOnlineStatus(isonlinev1.IsOnlineStatus_value["IS_ONLINE_STATUS_"+strings.ToUpper(n.Show)]),
		CloseReason: isonlinev1.CloseReason(isonlinev1.CloseReason_value["CLOSE_REASON_"+n.Why]),
	}
	for key, raw := range n.Properties {
		if m.Properties == nil {
			m.Properties = map[string]*isonlinev1.Value{}
		}
		m.Properties[key] = propertyFrom(raw)
	}
	return m
}

func propertyFrom(raw json.RawMessage) *isonlinev1.Value {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Text{Text: text}}
	}
	if slices.ContainsFunc(raw, func(b byte) bool { return b == '.' || b == 'e' && raw[0] != 't' && raw[0] != 'f' }) {
		var n float64
		json.Unmarshal(raw, &n)
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Number{Number: n}}
	}
	return propertyOf(string(raw))
}
