package isonline

import (
	"context"
	"time"

	"golang.org/x/text/language"
	"google.golang.org/grpc/metadata"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// GetUserIsOnline answers a direct query: it needs a JWT and no session
// (document, "With the exception of direct queries").
func (d *Door) GetUserIsOnline(ctx context.Context, req *isonlinev1.GetUserIsOnlineRequest) (*isonlinev1.GetUserIsOnlineResponse, error) {
	a, err := d.access(ctx)
	if err != nil {
		return nil, err
	}
	id, err := admit.User("user_id", req.GetUserId())
	if err != nil {
		return nil, err
	}
	locale, err := d.queryLocale(ctx, a.App, req.GetLocale())
	if err != nil {
		return nil, err
	}
	if err := checkDetail(req.GetDetail()); err != nil {
		return nil, err
	}
	asker, err := d.cfg.Gate.Asker(ctx, presence.User{App: a.App, ID: a.User})
	if err != nil {
		return nil, err
	}
	return &isonlinev1.GetUserIsOnlineResponse{User: d.user(asker, id, d.cfg.Texts.Reader(a.App, locale), req.GetDetail())}, nil
}

// BatchGetUserIsOnline is the same for several users: one entry for each id, in
// the request's order.
func (d *Door) BatchGetUserIsOnline(ctx context.Context, req *isonlinev1.BatchGetUserIsOnlineRequest) (*isonlinev1.BatchGetUserIsOnlineResponse, error) {
	a, err := d.access(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.cfg.Gate.CheckBatch(a.App, len(req.GetUserIds())); err != nil {
		return nil, err
	}
	users, err := admit.Users("user_ids", req.GetUserIds())
	if err != nil {
		return nil, err
	}
	locale, err := d.queryLocale(ctx, a.App, req.GetLocale())
	if err != nil {
		return nil, err
	}
	if err := checkDetail(req.GetDetail()); err != nil {
		return nil, err
	}
	asker, err := d.cfg.Gate.Asker(ctx, presence.User{App: a.App, ID: a.User})
	if err != nil {
		return nil, err
	}
	reader := d.cfg.Texts.Reader(a.App, locale)
	answer := &isonlinev1.BatchGetUserIsOnlineResponse{Users: make([]*isonlinev1.UserIsOnline, len(users))}
	for i, id := range users {
		answer.Users[i] = d.user(asker, id, reader, req.GetDetail())
	}
	return answer, nil
}

// user is one user as the asker may see him.
func (d *Door) user(asker admit.Asker, id presence.UserID, r localize.Reader, detail isonlinev1.Detail) *isonlinev1.UserIsOnline {
	seen := asker.See(id, detail != isonlinev1.Detail_DETAIL_USER)
	m := &isonlinev1.UserIsOnline{UserId: string(id), UserFlag: isonlinev1.UserFlag_USER_FLAG_ONLINE, LastSeen: stamp(seen.LastSeen)}
	if seen.Stale != 0 {
		m.StaleSince, m.Unknown = stamp(seen.Stale), seen.Unknown
	}
	if !seen.Available {
		m.UserFlag = isonlinev1.UserFlag_USER_FLAG_OFFLINE
	}
	for _, o := range seen.Sessions {
		m.Sessions = append(m.Sessions, session(o.View, o.Face, hub.KindCurrent, r))
	}
	return m
}

func checkDetail(d isonlinev1.Detail) error {
	switch d {
	case isonlinev1.Detail_DETAIL_UNSPECIFIED, isonlinev1.Detail_DETAIL_USER, isonlinev1.Detail_DETAIL_SESSIONS:
		return nil
	}
	return fault.Invalid("detail", "unknown detail %d; use USER or SESSIONS", d)
}

// queryLocale is the request's locale, else the first of accept-language that
// the app has texts in, else none (protocol note A5.11).
func (d *Door) queryLocale(ctx context.Context, app presence.AppID, asked string) (string, error) {
	if asked != "" {
		return admit.Locale("locale", asked)
	}
	for _, header := range metadata.ValueFromIncomingContext(ctx, "accept-language") {
		tags, _, err := language.ParseAcceptLanguage(header)
		if err != nil {
			continue
		}
		for _, tag := range tags {
			if locale := d.cfg.Texts.Locale(app, tag.String()); locale != "" {
				return locale, nil
			}
		}
	}
	return "", nil
}

func (d *Door) now() time.Time { return time.Now() }
