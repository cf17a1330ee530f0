package app

import (
	"context"
	"fmt"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/roster"
)

// makeRoster makes the roster of the configuration; the tracker is made.
func (a *App) makeRoster() error {
	apps, err := rosterApps(a.p.Config)
	if err != nil {
		return err
	}
	a.roster, err = roster.New(roster.Config{Store: a.store, Apps: apps, Present: a.tracker.Presence, Logger: a.log})
	return err
}

func (a *App) startRoster(ctx context.Context) error { return a.roster.Start(ctx) }

func (a *App) stopRoster(ctx context.Context) error { return a.roster.Stop(ctx) }

// rosterApps is how each app's friend lists are kept.
func rosterApps(c *config.Config) (map[presence.AppID]roster.AppConfig, error) {
	apps := make(map[presence.AppID]roster.AppConfig, len(c.Apps))
	for name := range c.Apps {
		app, _ := c.App(name)
		r := roster.AppConfig{MaxFriends: app.Limits.Friends, MaxAge: app.Friends.MaxAge}
		if app.Policy.Visibility == config.VisibleToFriends {
			r.Visibility = roster.Friends
		}
		if app.Friends.Source == config.FriendsFromHTTP {
			return nil, fmt.Errorf("apps.%s.friends.source: http is not in this build", name)
		}
		apps[presence.AppID(name)] = r
	}
	return apps, nil
}

// listeners hear of the tracker's changes: the hub of all, the roster of whom
// it need not keep a list for any more.
type listeners struct {
	hub    *hub.Hub
	roster *roster.Roster
}

func (l listeners) Changed(p *presence.Presence) { l.hub.Changed(p) }

func (l listeners) Gone(id presence.SessionID) {
	l.hub.Gone(id)
	l.roster.Gone(id)
}
