package isonline

import (
	"context"
	"time"

	"golang.org/x/text/language"
	"google.golang.org/grpc/metadata"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// GetUserIsOnline answers a direct query: it needs a JWT and no session
// (document, "With the exception of direct queries").
func (d *Door) GetUserIsOnline(ctx context.Context, req *isonlinev1.GetUserIsOnlineRequest) (*isonlinev1.GetUserIsOnlineResponse, error) {
	a, err := d.access(ctx)
	if err != nil {
		return nil, err
	}
	id, err := userOf("user_id", req.GetUserId())
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
	s, err := d.cfg.Roster.SightOf(ctx, presence.User{App: a.App, ID: a.User})
	if err != nil {
		return nil, err
	}
	return &isonlinev1.GetUserIsOnlineResponse{User: d.user(a, s, id, locale, req.GetDetail())}, nil
}

// BatchGetUserIsOnline is the same for several users: one entry for each id, in
// the request's order.
func (d *Door) BatchGetUserIsOnline(ctx context.Context, req *isonlinev1.BatchGetUserIsOnlineRequest) (*isonlinev1.BatchGetUserIsOnlineResponse, error) {
	a, err := d.access(ctx)
	if err != nil {
		return nil, err
	}
	if n, most := len(req.GetUserIds()), d.limits(a.App).Batch; n > most {
		return nil, fault.New(fault.LimitBatch, "%d users were asked for; a batch has at most %d: ask in several", n, most)
	}
	users, err := usersOf("user_ids", req.GetUserIds())
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
	s, err := d.cfg.Roster.SightOf(ctx, presence.User{App: a.App, ID: a.User})
	if err != nil {
		return nil, err
	}
	answer := &isonlinev1.BatchGetUserIsOnlineResponse{Users: make([]*isonlinev1.UserIsOnline, len(users))}
	for i, id := range users {
		answer.Users[i] = d.user(a, s, id, locale, req.GetDetail())
	}
	return answer, nil
}

// user is one user as the asker, who has the sight s, may see him.
func (d *Door) user(a token.Access, s hub.Sight, id presence.UserID, locale string, detail isonlinev1.Detail) *isonlinev1.UserIsOnline {
	p := d.cfg.Tracker.Presence(presence.User{App: a.App, ID: id})
	own := a.User == id
	m := &isonlinev1.UserIsOnline{UserId: string(id), UserFlag: isonlinev1.UserFlag_USER_FLAG_ONLINE}
	if s != nil && !own {
		if visible, _, seen := s.Of(id); !visible {
			m.UserFlag, m.LastSeen = isonlinev1.UserFlag_USER_FLAG_OFFLINE, stamp(seen)
			return m
		}
	}
	if p.Available(own) == presence.Unavailable {
		m.UserFlag = isonlinev1.UserFlag_USER_FLAG_OFFLINE
		m.LastSeen = stamp(p.Seen(own))
	}
	if detail == isonlinev1.Detail_DETAIL_USER {
		return m
	}
	r := d.cfg.Texts.Reader(a.App, locale)
	for _, v := range p.Sessions {
		if f := v.Face(own); f.Open() {
			m.Sessions = append(m.Sessions, session(v, f, hub.KindCurrent, r))
		}
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
		return localeOf("locale", asked)
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

func (d *Door) limits(app presence.AppID) Limits {
	if l, ok := (*d.limited.Load())[app]; ok {
		return l
	}
	return Limits{}.WithDefaults()
}

func (d *Door) now() time.Time { return time.Now() }
