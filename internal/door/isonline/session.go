package isonline

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

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
	if err := admit.Text("idempotency_key", req.GetIdempotencyKey()); err != nil {
		return nil, err
	}
	_, device.Addr = d.caller(ctx)
	made, err := d.cfg.Tracker.Make(ctx, tracker.MakeParams{
		User: presence.User{App: a.App, ID: a.User}, Device: device, IdempotencyKey: req.GetIdempotencyKey(),
	})
	if err != nil {
		return nil, err
	}
	if err := d.cfg.Gate.Publishes(ctx, a, made.Public); err != nil {
		return nil, err
	}
	p, l := d.cfg.Tracker.PolicyOn(a.App, device.Platform), d.cfg.Gate.Limits(a.App)
	return &isonlinev1.MakeIsOnlineSessionResponse{
		SessionId:         made.Public.String(),
		SessionToken:      d.cfg.Gate.Seal(made.Ref, made.Epoch),
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
	patch := patchOf(req, part)
	u, err := d.cfg.Tracker.Update(ctx, ref, func(old *presence.Status) (*presence.Status, error) {
		s := patch.Apply(old)
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

// devicePaths are the names of ClientInfo's texts.
var devicePaths = admit.DevicePaths{
	Platform: "client.platform", Product: "client.product", Locale: "client.locale", ID: "client.device_id", Version: "client.client_version",
}

// deviceOf checks and normalizes what a device says of itself.
func deviceOf(c *isonlinev1.ClientInfo) (presence.Device, error) {
	return admit.Device(presence.Device{
		Platform: c.GetPlatform(), Product: c.GetProduct(), Locale: c.GetLocale(), ID: c.GetDeviceId(), Version: c.GetClientVersion(), Door: Name,
	}, devicePaths)
}
