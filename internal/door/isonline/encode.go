package isonline

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// encoder makes the notification field of a stream's message. The hub calls it
// once per change, locale and side.
type encoder struct{ texts *localize.Set }

var _ hub.Encoder = (*encoder)(nil)

// Encode returns field 3 of ConnectToIsOnlineSessionResponse: tag, length and
// the IsOnlineNotification, as a mem.Buffer, so that the transport shares it too.
func (e *encoder) Encode(n *hub.Notification) hub.Body {
	m := e.notification(n)
	size := proto.Size(m)
	b := make([]byte, 0, protowire.SizeTag(fieldNotification)+protowire.SizeBytes(size))
	b = protowire.AppendTag(b, fieldNotification, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil {
		// Only text that is not UTF-8 makes protobuf fail, and none gets in here.
		b = nil
	}
	return mem.Buffer(&body{SliceBuffer: b})
}

// Locale is that of the catalogues which decides what a watcher reads, so that
// watchers in a hundred locales share as many texts as there are.
func (e *encoder) Locale(app presence.AppID, locale string) string {
	return e.texts.Locale(app, locale)
}

// notification is what a watcher is told (protocol note A5.3, A5.4): the last
// seen only with the user's last session gone, the session unless there is none.
func (e *encoder) notification(n *hub.Notification) *isonlinev1.IsOnlineNotification {
	m := &isonlinev1.IsOnlineNotification{
		UserId:   string(n.Presence.User.ID),
		UserFlag: isonlinev1.UserFlag_USER_FLAG_ONLINE, StaleSince: stamp(n.Stale),
	}
	if !n.Available {
		m.UserFlag = isonlinev1.UserFlag_USER_FLAG_OFFLINE
		m.LastSeen = stamp(n.Presence.Seen(n.Own))
	}
	if n.View == nil {
		m.EventTime = m.LastSeen
		return m
	}
	f := n.View.Face(n.Own)
	m.EventTime = stamp(f.Updated)
	if n.Kind == hub.KindClosed {
		m.EventTime = stamp(f.ClosedAt)
	}
	m.Session = session(n.View, f, n.Kind, e.texts.Reader(n.Presence.User.App, n.Locale))
	return m
}

// kindOf maps the hub's kinds.
func kindOf(k hub.Kind) isonlinev1.SessionEventKind {
	switch k {
	case hub.KindCurrent:
		return isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CURRENT
	case hub.KindOpened:
		return isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED
	case hub.KindUpdated:
		return isonlinev1.SessionEventKind_SESSION_EVENT_KIND_UPDATED
	case hub.KindClosed:
		return isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED
	}
	return isonlinev1.SessionEventKind_SESSION_EVENT_KIND_UNSPECIFIED
}

// session is one session as a viewer of one locale sees it.
func session(v *presence.View, f *presence.Face, kind hub.Kind, r localize.Reader) *isonlinev1.SessionNotification {
	m := &isonlinev1.SessionNotification{
		SessionId:   v.Public.String(),
		Kind:        kindOf(kind),
		Platform:    v.Device.Platform,
		Product:     v.Device.Product,
		Revision:    f.Revision,
		ConnectedAt: stamp(f.Since),
		UpdatedAt:   stamp(f.Updated),
	}
	if kind == hub.KindClosed {
		m.CloseReason = closeReason(f.Reason)
		return m
	}
	m.Status = isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_ONLINE
	s := v.Status
	if s == nil {
		return m
	}
	switch s.Show {
	case presence.Away:
		m.Status = isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY
	case presence.Busy:
		m.Status = isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY
	}
	m.RichText, m.RichTextLocale = r.Text(&s.Text, v.Device.Product)
	if len(s.Properties) > 0 {
		m.Properties = make(map[string]*isonlinev1.Value, len(s.Properties))
		for i := range s.Properties {
			m.Properties[s.Properties[i].Key] = value(&s.Properties[i].Value, v.Device.Product, r)
		}
	}
	return m
}

// value is a property's value, of a session of the product; references become
// text.
func value(v *presence.Value, product string, r localize.Reader) *isonlinev1.Value {
	switch v.Kind {
	case presence.KindInteger:
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Integer{Integer: v.Integer}}
	case presence.KindNumber:
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Number{Number: v.Number}}
	case presence.KindFlag:
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Flag{Flag: v.Flag}}
	}
	text, _ := r.Text(v, product)
	return &isonlinev1.Value{Kind: &isonlinev1.Value_Text{Text: text}}
}

// closeReason is the IsOnline column of the design's table of reasons (§4).
func closeReason(r presence.Reason) isonlinev1.CloseReason {
	switch r {
	case presence.ReasonLogout, presence.ReasonLeft, presence.ReasonHidden:
		return isonlinev1.CloseReason_CLOSE_REASON_CLIENT
	case presence.ReasonLinkLost, presence.ReasonNodeLost:
		return isonlinev1.CloseReason_CLOSE_REASON_DISCONNECTED
	case presence.ReasonTimedOut:
		return isonlinev1.CloseReason_CLOSE_REASON_HEARTBEAT
	case presence.ReasonReplaced:
		return isonlinev1.CloseReason_CLOSE_REASON_SUPERSEDED
	case presence.ReasonDropped:
		return isonlinev1.CloseReason_CLOSE_REASON_ADMIN
	case presence.ReasonExpired:
		return isonlinev1.CloseReason_CLOSE_REASON_EXPIRED
	}
	return isonlinev1.CloseReason_CLOSE_REASON_UNSPECIFIED
}

// stamp is nil for never.
func stamp(t presence.Time) *timestamppb.Timestamp {
	if t == 0 {
		return nil
	}
	return timestamppb.New(t.Time())
}
