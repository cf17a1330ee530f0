package app

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/door/stringee"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	grants "github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/revoke"
	"github.com/porchlight-dev/porchlight/internal/roster"
	"github.com/porchlight-dev/porchlight/internal/roster/httpsource"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// makeRoster makes the roster of the configuration; the tracker is made.
func (a *App) makeRoster() error {
	apps, sources, err := a.rosterApps(a.p.Config)
	if err != nil {
		return err
	}
	a.sources = sources
	a.revocations = revoke.New(a.store, a.log)
	if a.grants, err = grants.New(grants.Config{Store: a.store, Tell: a.tellGrant, Logger: a.log}); err != nil {
		return err
	}
	a.roster, err = roster.New(roster.Config{Store: a.store, Apps: apps, Present: a.tracker.Presence, Shared: a.p.Nodes != nil, Pushed: a.tellList, Takes: a.tracker.Takes, Logger: a.log})
	return err
}

func (a *App) startRoster(ctx context.Context) error {
	if err := a.revocations.Start(ctx); err != nil {
		return err
	}
	return a.roster.Start(ctx)
}

func (a *App) stopRoster(ctx context.Context) error {
	err := a.roster.Stop(ctx)
	for _, s := range a.sources {
		s.source.Close()
	}
	return err
}

// source is whom an app's friend lists are asked of, and what it was made of.
type source struct {
	cfg    httpsource.Config
	source *httpsource.Source
}

// rosterApps is how each app's friend lists are kept. What an app had of a
// source stays when nothing of it changed, and with it what the roster knows.
// Nothing of the node changes before setRosterApps.
func (a *App) rosterApps(c *config.Config) (map[presence.AppID]roster.AppConfig, map[presence.AppID]source, error) {
	apps := make(map[presence.AppID]roster.AppConfig, len(c.Apps))
	sources := map[presence.AppID]source{}
	for name := range c.Apps {
		app, _ := c.App(name)
		id, f := presence.AppID(name), app.Friends
		r := roster.AppConfig{MaxFriends: app.Limits.Friends, MaxAge: f.MaxAge}
		if app.Policy.Visibility == config.VisibleToFriends {
			r.Visibility = roster.Friends
		}
		if f.Source == config.FriendsFromHTTP {
			s := a.sources[id]
			cfg := httpsource.Config{URL: f.URL, Secret: string(f.Secret), Timeout: f.Timeout, Most: app.Limits.Friends, AllowPrivate: f.AllowPrivate}
			if s.source == nil || s.cfg != cfg {
				fresh, err := httpsource.New(cfg)
				if err != nil {
					return nil, nil, fmt.Errorf("configuration: apps.%s.friends: %w", name, err)
				}
				s = source{cfg, fresh}
			}
			sources[id], r.Source = s, s.source
		}
		if own := a.p.Friends[id]; own != nil {
			r.Source = own
		}
		apps[id] = r
	}
	return apps, sources, nil
}

// setRosterApps puts them in the place of the former.
func (a *App) setRosterApps(apps map[presence.AppID]roster.AppConfig, sources map[presence.AppID]source) {
	former := a.sources
	a.sources = sources
	a.roster.SetApps(apps)
	for id, old := range former {
		if sources[id].source != old.source {
			old.source.Close()
		}
	}
}

// listeners hear of the tracker's changes: the hub of all, the topics of who
// comes and goes, the roster of whom it need not keep a list for any more, and once
// it is there Stringee's door, for its users' other devices.
type listeners struct {
	hub    *hub.Hub
	roster *roster.Roster
	topics *topic.Topics
	door   *atomic.Pointer[stringee.Door]
}

func (l listeners) Changed(p *presence.Presence) {
	l.hub.Changed(p)
	l.topics.Changed(p)
	if d := l.door.Load(); d != nil {
		d.Changed(p)
	}
}

func (l listeners) Gone(id presence.SessionID) {
	l.hub.Gone(id)
	l.roster.Gone(id)
}

// sighted hear of what users may see: the hub of all, topics of whom.
type sighted struct {
	*hub.Hub
	topics *topic.Topics
}

// SightChanged implements roster.Listener.
func (s sighted) SightChanged(user presence.User, targets []presence.UserID) {
	s.Hub.SightChanged(user, targets)
	s.topics.SightChanged(user, targets)
}

// sights is the roster as the hub and the doors know it.
type sights struct{ *roster.Roster }

// Sight implements hub.Seer.
func (s sights) Sight(user presence.User) hub.Sight {
	if sight := s.Roster.Sight(user); sight != nil {
		return sight
	}
	return nil
}

// SightOf implements admit.Roster.
func (s sights) SightOf(ctx context.Context, user presence.User) (hub.Sight, error) {
	if sight, err := s.Roster.SightOf(ctx, user); sight != nil || err != nil {
		return sight, err
	}
	return nil, nil
}
