package isonline

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
	"google.golang.org/protobuf/types/known/durationpb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// maxDeviceText bounds each text of ClientInfo and the idempotency key, in bytes.
const maxDeviceText = 64

// MakeIsOnlineSession creates a session that nobody sees until it is connected
// (document, "Incepting an IsOnline Session", steps 1 and 2).
func (d *Door) MakeIsOnlineSession(ctx context.Context, req *isonlinev1.MakeIsOnlineSessionRequest) (*isonlinev1.MakeIsOnlineSessionResponse, error) {
	a, err := d.access(ctx)
	if err != nil {
		return nil, err
	}
	device, err := deviceOf(req.GetClient())
	if err != nil {
		return nil, err
	}
	if err := checkText("idempotency_key", req.GetIdempotencyKey()); err != nil {
		return nil, err
	}
	_, device.Addr = d.caller(ctx)
	made, err := d.cfg.Tracker.Make(ctx, tracker.MakeParams{
		User: presence.User{App: a.App, ID: a.User}, Device: device, IdempotencyKey: req.GetIdempotencyKey(),
	})
	if err != nil {
		return nil, err
	}
	p, l := d.cfg.Tracker.PolicyOn(a.App, device.Platform), d.limits(a.App)
	return &isonlinev1.MakeIsOnlineSessionResponse{
		SessionId: made.Public.String(),
		SessionToken: d.ring.Load().Seal(token.Session{
			App: a.App, Session: made.Ref.Session, User: a.User, Epoch: made.Epoch, Issued: presence.At(d.now()),
		}),
		ConnectBefore:     stamp(made.ConnectBefore),
		HeartbeatInterval: durationpb.New(tracker.Interval(p.HeartbeatTimeout)),
		ResumeWindow:      durationpb.New(p.ResumeWindow),
		Grace:             durationpb.New(p.Grace),
		Limits: &isonlinev1.Limits{
			MaxSubscriptions: uint32(l.Watches), MaxProperties: presence.MaxProperties, MaxUpdateBytes: presence.MaxStatusBytes,
			MaxBatch: uint32(l.Batch), UpdatesPerSecond: tracker.UpdatesPerSecond,
		},
	}, nil
}

// UpdateIsOnlineSession replaces the whole status (document, "Updating
// IsOnline"). It answers when the status is current, not when all are told.
func (d *Door) UpdateIsOnlineSession(ctx context.Context, req *isonlinev1.UpdateIsOnlineSessionRequest) (*isonlinev1.UpdateIsOnlineSessionResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	status, err := statusOf("update", req.GetUpdate())
	if err != nil {
		return nil, err
	}
	u, err := d.cfg.Tracker.Update(ctx, ref, func(*presence.Status) (*presence.Status, error) { return status, nil })
	if err != nil {
		return nil, err
	}
	return &isonlinev1.UpdateIsOnlineSessionResponse{Revision: u.Revision, StoredAt: stamp(u.At), Unchanged: u.Unchanged}, nil
}

// PartialUpdateIsOnlineSession changes what the request names and keeps the
// rest (protocol note A4).
func (d *Door) PartialUpdateIsOnlineSession(ctx context.Context, req *isonlinev1.PartialUpdateIsOnlineSessionRequest) (*isonlinev1.PartialUpdateIsOnlineSessionResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	part, err := statusOf("update", req.GetUpdate())
	if err != nil {
		return nil, err
	}
	if n := len(req.GetClearProperties()); n > presence.MaxProperties {
		return nil, fault.Invalid("clear_properties", "%d keys; at most %d are allowed", n, presence.MaxProperties)
	}
	u, err := d.cfg.Tracker.Update(ctx, ref, func(old *presence.Status) (*presence.Status, error) {
		s := merged(old, req, part)
		return s, checkStatus("update", s)
	})
	if err != nil {
		return nil, err
	}
	return &isonlinev1.PartialUpdateIsOnlineSessionResponse{Revision: u.Revision, StoredAt: stamp(u.At), Unchanged: u.Unchanged}, nil
}

// CloseIsOnlineSession ends the session by an explicit word (document,
// lifecycle, "Closing a Session").
func (d *Door) CloseIsOnlineSession(ctx context.Context, req *isonlinev1.CloseIsOnlineSessionRequest) (*isonlinev1.CloseIsOnlineSessionResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	reason := presence.ReasonLogout
	switch req.GetMode() {
	case isonlinev1.CloseMode_CLOSE_MODE_UNSPECIFIED, isonlinev1.CloseMode_CLOSE_MODE_LOGOUT:
	case isonlinev1.CloseMode_CLOSE_MODE_LEAVE:
		reason = presence.ReasonLeft
	default:
		return nil, fault.Invalid("mode", "unknown mode %d; use LOGOUT or LEAVE", req.GetMode())
	}
	at, err := d.cfg.Tracker.Close(ctx, ref, reason)
	if err != nil {
		return nil, err
	}
	return &isonlinev1.CloseIsOnlineSessionResponse{ClosedAt: stamp(at)}, nil
}

// HeartbeatIsOnlineSession is an explicit sign of life, for devices behind
// proxies that hide the connection's own (protocol note A2).
func (d *Door) HeartbeatIsOnlineSession(ctx context.Context, req *isonlinev1.HeartbeatIsOnlineSessionRequest) (*isonlinev1.HeartbeatIsOnlineSessionResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	h, err := d.cfg.Tracker.Heartbeat(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &isonlinev1.HeartbeatIsOnlineSessionResponse{
		ServerTime: stamp(h.At), NextWithin: durationpb.New(h.Within), StreamAttached: h.Attached,
	}, nil
}

// deviceOf checks and normalizes what a device says of itself.
func deviceOf(c *isonlinev1.ClientInfo) (presence.Device, error) {
	e := &fault.Error{Kind: fault.FieldInvalid}
	check := func(path, s string) {
		if err, ok := checkText(path, s).(*fault.Error); ok {
			e.Fields = append(e.Fields, err.Fields...)
		}
	}
	check("client.platform", c.GetPlatform())
	check("client.product", c.GetProduct())
	check("client.device_id", c.GetDeviceId())
	check("client.client_version", c.GetClientVersion())
	locale, err := localeOf("client.locale", c.GetLocale())
	if f, ok := err.(*fault.Error); ok {
		e.Fields = append(e.Fields, f.Fields...)
	}
	if len(e.Fields) > 0 {
		return presence.Device{}, e
	}
	return presence.Device{
		Platform: c.GetPlatform(), Product: c.GetProduct(), Locale: locale, ID: c.GetDeviceId(), Version: c.GetClientVersion(), Door: Name,
	}, nil
}

func checkText(path, s string) error {
	if len(s) > maxDeviceText {
		return fault.Invalid(path, "%d bytes; at most %d are allowed", len(s), maxDeviceText)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return fault.Invalid(path, "must be UTF-8 without control characters")
	}
	return nil
}

// localeOf takes en_US and en-US and returns BCP 47; "" stays.
func localeOf(path, s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if err := checkText(path, s); err != nil {
		return "", err
	}
	tag, err := language.Parse(s)
	if err != nil {
		return "", fault.Invalid(path, "not a locale; write it as en-US or en_US")
	}
	return tag.String(), nil
}

// userOf checks a user id of a request.
func userOf(path, s string) (presence.UserID, error) {
	if !presence.ValidUserID(s) {
		return "", fault.Invalid(path, "a user id is 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
	}
	return presence.UserID(s), nil
}

func usersOf(path string, list []string) ([]presence.UserID, error) {
	users := make([]presence.UserID, len(list))
	for i, s := range list {
		u, err := userOf(fmt.Sprintf("%s[%d]", path, i), s)
		if err != nil {
			return nil, err
		}
		users[i] = u
	}
	return users, nil
}
