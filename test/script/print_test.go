package script

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

type grpcOption = grpc.CallOption

// refusal writes an error as a program sees it: code, reason, fields and when
// to try again. The words for humans may change without a story changing.
func refusal(err error) string {
	st := status.Convert(err)
	if st.Code() == codes.OK {
		return "OK"
	}
	if err.Error() == "EOF" {
		return "OK"
	}
	say := []string{st.Code().String()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			say = append(say, d.GetReason())
			if d.GetDomain() != "isonline" {
				say = append(say, "of domain "+d.GetDomain())
			}
		case *errdetails.BadRequest:
			for _, f := range d.GetFieldViolations() {
				say = append(say, f.GetField())
			}
		case *errdetails.RetryInfo:
			say = append(say, "retry after "+soon(d.GetRetryDelay()))
		}
	}
	if len(say) == 1 {
		say = append(say, fmt.Sprintf("(%s)", st.Message()))
	}
	return strings.Join(say, " ")
}

// soon writes a wait that is spread at random, so it is cut to tenths of a second.
func soon(d *durationpb.Duration) string {
	return d.AsDuration().Truncate(100 * time.Millisecond).String()
}

// since writes a time of the server as an offset from the story's beginning.
func (s *story) since(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return offset(t.AsTime().Sub(s.began))
}

// message writes one message of an events stream.
func (s *story) message(m *isonlinev1.ConnectToIsOnlineSessionResponse) string {
	switch e := m.GetEvent().(type) {
	case *isonlinev1.ConnectToIsOnlineSessionResponse_Connected:
		say := "connected as " + s.session(e.Connected.GetSessionId())
		if e.Connected.GetResumed() {
			say += ", resumed"
		}
		if e.Connected.GetResync() {
			say += ", resync"
		}
		return say
	case *isonlinev1.ConnectToIsOnlineSessionResponse_Notification:
		return s.notification(e.Notification)
	case *isonlinev1.ConnectToIsOnlineSessionResponse_SubscriptionEnded:
		return fmt.Sprintf("subscription to %s ended: %s", e.SubscriptionEnded.GetUserId(), e.SubscriptionEnded.GetReason())
	case *isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone:
		scope := e.SnapshotDone.GetUserId()
		if e.SnapshotDone.GetAll() {
			scope = "all"
		}
		if e.SnapshotDone.GetFriends() {
			scope = "friends"
		}
		return fmt.Sprintf("snapshot done: %s (%d)", scope, e.SnapshotDone.GetUsers())
	case *isonlinev1.ConnectToIsOnlineSessionResponse_KeepAlive:
		return "keep alive"
	case *isonlinev1.ConnectToIsOnlineSessionResponse_Closing:
		return closing(e.Closing)
	}
	return fmt.Sprintf("?? %v", m)
}

func closing(c *isonlinev1.Closing) string {
	say := "closing " + short(c.GetReason().String(), "CLOSING_REASON_")
	if r := c.GetSessionCloseReason(); r != 0 {
		say += " " + short(r.String(), "CLOSE_REASON_")
	}
	if c.GetSessionKept() {
		say += ", session kept"
	}
	if c.GetRetryAfter() != nil {
		say += ", retry after " + soon(c.GetRetryAfter())
	}
	return say
}

// notification writes user, flag, last seen, session, and the time it speaks of.
func (s *story) notification(n *isonlinev1.IsOnlineNotification) string {
	say := n.GetUserId() + " " + short(n.GetUserFlag().String(), "USER_FLAG_")
	if n.GetUserFlag() == isonlinev1.UserFlag_USER_FLAG_OFFLINE || n.GetLastSeen() != nil {
		say += ", last seen " + s.since(n.GetLastSeen())
	}
	if n.GetSession() != nil {
		say += ": " + s.sessionLine(n.GetSession())
	}
	if n.GetEventTime() != nil {
		say += " at " + s.since(n.GetEventTime())
	}
	return say
}

// sessionLine writes a session: name, kind, what it says, device, revision,
// since when it is there and when it last changed.
func (s *story) sessionLine(n *isonlinev1.SessionNotification) string {
	say := []string{s.session(n.GetSessionId()), short(n.GetKind().String(), "SESSION_EVENT_KIND_")}
	if n.GetCloseReason() != 0 {
		say = append(say, short(n.GetCloseReason().String(), "CLOSE_REASON_"))
	}
	if n.GetStatus() != 0 {
		say = append(say, strings.ToLower(short(n.GetStatus().String(), "IS_ONLINE_STATUS_")))
	}
	if n.GetRichText() != "" {
		say = append(say, fmt.Sprintf("%q", n.GetRichText()))
	}
	if n.GetRichTextLocale() != "" {
		say = append(say, "in "+n.GetRichTextLocale())
	}
	bulk := 0
	for _, key := range slices.Sorted(maps.Keys(n.GetProperties())) {
		if strings.HasPrefix(key, "bulk") {
			bulk++
			continue
		}
		say = append(say, key+"="+property(n.GetProperties()[key]))
	}
	if bulk > 0 {
		say = append(say, fmt.Sprintf("(%d bulky properties)", bulk))
	}
	if n.GetPlatform() != "" || n.GetProduct() != "" {
		say = append(say, strings.TrimSuffix("on "+n.GetPlatform()+"/"+n.GetProduct(), "/"))
	}
	say = append(say, revision(n.GetRevision()), "since "+s.since(n.GetConnectedAt()))
	if !proto.Equal(n.GetUpdatedAt(), n.GetConnectedAt()) {
		say = append(say, "updated "+s.since(n.GetUpdatedAt()))
	}
	return strings.Join(say, " ")
}

func property(v *isonlinev1.Value) string {
	switch k := v.GetKind().(type) {
	case *isonlinev1.Value_Integer:
		return fmt.Sprint(k.Integer)
	case *isonlinev1.Value_Flag:
		return fmt.Sprint(k.Flag)
	case *isonlinev1.Value_Number:
		return fmt.Sprint(k.Number)
	}
	return fmt.Sprintf("%q", v.GetText())
}

// whole writes the answer to a direct query.
func (s *story) whole(u *isonlinev1.UserIsOnline) string {
	say := u.GetUserId() + " " + short(u.GetUserFlag().String(), "USER_FLAG_")
	if u.GetUserFlag() == isonlinev1.UserFlag_USER_FLAG_OFFLINE || u.GetLastSeen() != nil {
		say += ", last seen " + s.since(u.GetLastSeen())
	}
	for _, n := range u.GetSessions() {
		say += "\n  " + s.sessionLine(n)
	}
	return say
}

// stored writes the answer to an update.
func (s *story) stored(r uint64, unchanged bool) string {
	if unchanged {
		return revision(r) + ", unchanged"
	}
	return revision(r)
}

// revision writes the number watchers see: r3, or r3 of opening 1 after a
// session opened anew or moved.
func revision(r uint64) string {
	if r>>32 == 0 {
		return fmt.Sprintf("r%d", r)
	}
	return fmt.Sprintf("r%d.%d", r>>32, r&0xffffffff)
}

// name names the session with that public id.
func (s *story) name(public, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[public] = name
}

// session is the name of the device with that public session id.
func (s *story) session(public string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, ok := s.names[public]; ok {
		return name
	}
	return unnamed + public + unnamed
}

// unnamed stands around a session's id until its device has told its name: a
// session at the live door is seen by others before it is welcomed.
const unnamed = "\x00"

// named puts names in place of the ids of a line. The lock is held.
func (s *story) named(line string) string {
	parts := strings.Split(line, unnamed)
	for i := 1; i < len(parts); i += 2 {
		if name, ok := s.names[parts[i]]; ok {
			parts[i] = name
		} else {
			parts[i] = "an unknown session"
		}
	}
	return strings.Join(parts, "")
}

func short(name, prefix string) string { return strings.TrimPrefix(name, prefix) }

// same compares what a device was told of two users since it began: byte for
// byte, once the users' and sessions' names are made equal (promise R11).
func (s *story) same(st *step) []string {
	d := s.device(st, 0)
	d.kept.mu.Lock()
	defer d.kept.mu.Unlock()
	a, b := s.neutral(d.kept.byUser[st.word(1)]), s.neutral(d.kept.byUser[st.word(2)])
	if len(a) == 0 || !slices.Equal(a, b) {
		return []string{fmt.Sprintf("NOT the same: %d and %d messages", len(a), len(b))}
	}
	return []string{fmt.Sprintf("the same %d messages", len(a))}
}

// neutral returns messages as bytes, with names in place of ids.
func (s *story) neutral(list []*isonlinev1.IsOnlineNotification) (out []string) {
	for _, n := range list {
		n = proto.CloneOf(n)
		n.UserId = "user"
		if n.Session != nil {
			n.Session.SessionId = "session"
		}
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(n)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}
