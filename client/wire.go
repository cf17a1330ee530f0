package client

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// Translation between the generated messages and this package's values. What
// is received may be anything: no nil and no unknown number may hurt here.

// errorDomain marks the reasons of this service (google.rpc.ErrorInfo.domain).
const errorDomain = "isonline"

// noPreface is in what grpc says of a server that hangs up on plaintext.
const noPreface = "error reading server preface"

// fromGRPC turns the failure of a call made with ctx into an Error.
func fromGRPC(ctx context.Context, err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, io.EOF):
		return &Error{Code: CodeUnavailable, Detail: "the server ended the stream without a word"}
	}
	st := status.Convert(err)
	e = &Error{Code: codeNames[st.Code()], Detail: st.Message()}
	if strings.Contains(e.Detail, noPreface) {
		e.Detail += "; does the server want TLS?"
	}
	switch {
	case e.Code == "":
		e.Code = CodeUnknown
	case over(ctx) != nil && (st.Code() == codes.Canceled || st.Code() == codes.DeadlineExceeded):
		e.cause = over(ctx)
	case st.Code() == codes.Canceled:
		e.Code = CodeUnavailable // the connection was closed under the call
	}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				e.Reason = Reason(d.GetReason())
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Fields = append(e.Fields, Field{v.GetField(), v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = max(0, d.GetRetryDelay().AsDuration())
		}
	}
	return e
}

// over is why ctx has ended. The server counts the same deadline, and its word
// may be here a moment before ctx's own timer has fired.
func over(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		return context.DeadlineExceeded
	}
	return nil
}

var codeNames = map[codes.Code]Code{
	codes.Canceled: CodeCanceled, codes.Unknown: CodeUnknown, codes.InvalidArgument: CodeInvalidArgument,
	codes.DeadlineExceeded: CodeDeadlineExceeded, codes.NotFound: CodeNotFound, codes.AlreadyExists: "ALREADY_EXISTS",
	codes.PermissionDenied: CodePermissionDenied, codes.ResourceExhausted: CodeResourceExhausted,
	codes.FailedPrecondition: CodeFailedPrecondition, codes.Aborted: CodeAborted, codes.OutOfRange: CodeOutOfRange,
	codes.Unimplemented: CodeUnimplemented, codes.Internal: CodeInternal, codes.Unavailable: CodeUnavailable,
	codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: CodeUnauthenticated,
}

var showsToWire = map[Show]isonlinev1.IsOnlineStatus{
	Online: isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_ONLINE,
	Away:   isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY,
	Busy:   isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY,
}

// fromShow takes what it does not know for online, as the contract has it.
func fromShow(s isonlinev1.IsOnlineStatus) Show {
	for show, wire := range showsToWire {
		if wire == s {
			return show
		}
	}
	return Online
}

var closeReasons = map[isonlinev1.CloseReason]CloseReason{
	isonlinev1.CloseReason_CLOSE_REASON_CLIENT:       ClosedByUser,
	isonlinev1.CloseReason_CLOSE_REASON_DISCONNECTED: ClosedByDisconnect,
	isonlinev1.CloseReason_CLOSE_REASON_HEARTBEAT:    ClosedByHeartbeat,
	isonlinev1.CloseReason_CLOSE_REASON_SUPERSEDED:   ClosedBySupersession,
	isonlinev1.CloseReason_CLOSE_REASON_ADMIN:        ClosedByAdmin,
	isonlinev1.CloseReason_CLOSE_REASON_EXPIRED:      ClosedByExpiry,
}

var closingReasons = map[isonlinev1.ClosingReason]closingReason{
	isonlinev1.ClosingReason_CLOSING_REASON_REPLACED_STREAM: closingReplaced,
	isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED:  closingSession,
	isonlinev1.ClosingReason_CLOSING_REASON_SLOW:            closingSlow,
	isonlinev1.ClosingReason_CLOSING_REASON_DRAINING:        closingDraining,
	isonlinev1.ClosingReason_CLOSING_REASON_TOKEN_EXPIRED:   closingToken,
}

var noteKinds = map[isonlinev1.SessionEventKind]noteKind{
	isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CURRENT: noteCurrent,
	isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED:  noteOpened,
	isonlinev1.SessionEventKind_SESSION_EVENT_KIND_UPDATED: noteUpdated,
	isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED:  noteClosed,
}

// toUpdate expects a status that passed check.
func toUpdate(s Status) *isonlinev1.IsOnlineUpdate {
	return &isonlinev1.IsOnlineUpdate{
		Status:        showsToWire[s.Show], // none is unspecified: online, or as it was
		RichText:      toText(s.Text, s.Template),
		Properties:    toValues(s.Properties),
		AppearOffline: s.Invisible,
	}
}

func toPartial(session string, p Patch) *isonlinev1.PartialUpdateIsOnlineSessionRequest {
	return &isonlinev1.PartialUpdateIsOnlineSessionRequest{
		SessionToken:    session,
		Update:          toUpdate(Status{Show: p.Show, Text: p.Text, Template: p.Template, Properties: p.Properties}),
		ClearProperties: p.ClearProperties,
		ClearRichText:   p.ClearText,
		AppearOffline:   p.Invisible,
	}
}

func toText(text string, template *Ref) *isonlinev1.RichText {
	switch {
	case template != nil:
		return &isonlinev1.RichText{Kind: &isonlinev1.RichText_Template{Template: toRef(*template)}}
	case text != "":
		return &isonlinev1.RichText{Kind: &isonlinev1.RichText_Literal{Literal: text}}
	}
	return nil
}

func toRef(r Ref) *isonlinev1.LocalizedRef {
	return &isonlinev1.LocalizedRef{Token: r.Token, Args: toValues(r.Args), FallbackText: r.Fallback}
}

func toValues(values map[string]any) map[string]*isonlinev1.Value {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]*isonlinev1.Value, len(values))
	for k, v := range values {
		out[k] = toValue(v)
	}
	return out
}

func toValue(v any) *isonlinev1.Value {
	switch v := v.(type) {
	case Ref:
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Localized{Localized: toRef(v)}}
	case *Ref:
		return toValue(*v)
	}
	p, _ := plain(v)
	switch p := p.(type) {
	case string:
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Text{Text: p}}
	case bool:
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Flag{Flag: p}}
	case int64:
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Integer{Integer: p}}
	case float64:
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Number{Number: p}}
	}
	return &isonlinev1.Value{}
}

// fromValues leaves out what has no kind this program knows.
func fromValues(values map[string]*isonlinev1.Value) map[string]any {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]any, len(values))
	for k, v := range values {
		switch v := v.GetKind().(type) {
		case *isonlinev1.Value_Text:
			out[k] = v.Text
		case *isonlinev1.Value_Flag:
			out[k] = v.Flag
		case *isonlinev1.Value_Integer:
			out[k] = v.Integer
		case *isonlinev1.Value_Number:
			out[k] = v.Number
		case *isonlinev1.Value_Localized: // servers send text instead; this is the best that is left
			out[k] = v.Localized.GetFallbackText()
		}
	}
	return out
}

// fromAttributes keeps nulls: they take an attribute away.
func fromAttributes(attributes map[string]*structpb.Value) map[string]any {
	if len(attributes) == 0 {
		return nil
	}
	out := make(map[string]any, len(attributes))
	for k, v := range attributes {
		out[k] = v.AsInterface()
	}
	return out
}

// fromTime gives the zero time for none.
func fromTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func fromSession(s *isonlinev1.SessionNotification) UserSession {
	return UserSession{
		ID: s.GetSessionId(), Platform: s.GetPlatform(), Product: s.GetProduct(),
		Show: fromShow(s.GetStatus()), Text: s.GetRichText(), Locale: s.GetRichTextLocale(),
		Properties: fromValues(s.GetProperties()), Revision: s.GetRevision(),
		ConnectedAt: fromTime(s.GetConnectedAt()), UpdatedAt: fromTime(s.GetUpdatedAt()),
	}
}

// fromMessage makes nothing but a sign of life of keep_alive.
func fromMessage(m *isonlinev1.ConnectToIsOnlineSessionResponse) frame {
	f := frame{sequence: m.GetSequence()}
	switch ev := m.GetEvent().(type) {
	case *isonlinev1.ConnectToIsOnlineSessionResponse_Connected:
		f.connected = &connected{id: ev.Connected.GetSessionId(), resumed: ev.Connected.GetResumed(), resync: ev.Connected.GetResync()}
	case *isonlinev1.ConnectToIsOnlineSessionResponse_Notification:
		f.notification = fromNotification(ev.Notification)
	case *isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone:
		f.settled = &settled{user: ev.SnapshotDone.GetUserId(), friends: ev.SnapshotDone.GetFriends()}
	case *isonlinev1.ConnectToIsOnlineSessionResponse_SubscriptionEnded:
		f.ended = &endedWatch{
			user:       ev.SubscriptionEnded.GetUserId(),
			unfriended: ev.SubscriptionEnded.GetReason() == isonlinev1.SubscriptionEnded_NO_LONGER_FRIEND,
		}
	case *isonlinev1.ConnectToIsOnlineSessionResponse_Closing:
		f.closing = &closing{
			reason:     closingReasons[ev.Closing.GetReason()],
			retryAfter: max(0, ev.Closing.GetRetryAfter().AsDuration()),
			session:    closeReasons[ev.Closing.GetSessionCloseReason()],
		}
	}
	return f
}

func fromNotification(n *isonlinev1.IsOnlineNotification) *notification {
	out := &notification{
		user: n.GetUserId(), available: n.GetUserFlag() == isonlinev1.UserFlag_USER_FLAG_ONLINE,
		lastSeen: fromTime(n.GetLastSeen()), staleSince: fromTime(n.GetStaleSince()), at: fromTime(n.GetEventTime()),
		attributes: fromAttributes(n.GetAttributes()),
	}
	if s := n.GetSession(); s != nil {
		session := fromSession(s)
		out.session, out.kind, out.reason = &session, noteKinds[s.GetKind()], closeReasons[s.GetCloseReason()]
	}
	return out
}

func fromUsers(users []*isonlinev1.UserIsOnline) []Presence {
	out := make([]Presence, 0, len(users))
	for _, u := range users {
		p := Presence{
			User: u.GetUserId(), Available: u.GetUserFlag() == isonlinev1.UserFlag_USER_FLAG_ONLINE,
			LastSeen: fromTime(u.GetLastSeen()), Attributes: fromAttributes(u.GetAttributes()),
			StaleSince: fromTime(u.GetStaleSince()), Unknown: u.GetUnknown(),
		}
		for _, s := range u.GetSessions() {
			p.Sessions = append(p.Sessions, fromSession(s))
		}
		out = append(out, p)
	}
	return out
}
