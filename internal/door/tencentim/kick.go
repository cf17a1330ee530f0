package tencentim

import (
	"context"
	"encoding/json"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// parseKick reads whom a kick is for: UserID, or Identifier as older clients send
// it.
func parseKick(body []byte) (string, *refusal) {
	var in struct {
		UserID     *json.RawMessage
		Identifier *json.RawMessage
	}
	if json.Unmarshal(body, &in) != nil {
		return "", refuse(codeJSON, "the body is not a JSON object")
	}
	raw := in.UserID
	if raw == nil {
		raw = in.Identifier
	}
	if raw == nil {
		return "", refuse(codeParameter, "UserID is missing")
	}
	var id *string
	switch err := json.Unmarshal(*raw, &id); {
	case err != nil || id == nil:
		return "", refuse(codeParameter, "UserID is not a text")
	case *id == "":
		return "", refuse(codeParameter, "UserID is empty")
	case !presence.ValidUserID(*id):
		return "", refuse(codeUnknownUser, "no user has this UserID: it is 1 to %d bytes without control characters", presence.MaxUserID)
	}
	return *id, nil
}

// kick answers v4/im_open_login_svc/kick: what the user was signed in with is
// void, and his devices go. It answers when both are on disk.
func (d *Door) kick(ctx context.Context, c call) (any, *refusal) {
	id, no := parseKick(c.body)
	if no != nil {
		return nil, no
	}
	name := presence.User{App: c.app.App.App, ID: presence.UserID(id)}
	// Before anything is void: by now the user may have signed in anew.
	if err := d.cfg.Tracker.Takes(); err != nil {
		return nil, d.kickFailed(ctx, err)
	}
	// First, or the devices would be back before it holds.
	if _, err := d.cfg.Revocations.Revoke(ctx, name); err != nil {
		return nil, d.kickFailed(ctx, err)
	}
	n, err := d.cfg.Tracker.Drop(ctx, name, nil)
	if err != nil {
		return nil, d.kickFailed(ctx, err)
	}
	d.log.InfoContext(ctx, "kicked a user", "app", name.App, "user", name.ID, "by", c.identifier, "sessions", n)
	return ok, nil
}

func (d *Door) kickFailed(ctx context.Context, err error) *refusal {
	switch fault.KindOf(err) {
	case fault.LogUnavailable:
		return refuse(codeTimeOut, "the store did not answer in time; kick again")
	case fault.NodeUnavailable:
		return refuse(codeTimeOut, "this node does not reach the others, or just stood still; kick again")
	}
	if ctx.Err() == nil {
		d.log.ErrorContext(ctx, "internal error", "door", "tencentim", "method", "kick", "error", err)
	}
	return refuse(codeKickInternal, "internal error; the server's log has the details")
}
