package app

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence/pages"
)

// startMozpresence makes the Mozilla door; the gate, the mailboxes and the facts
// are made.
func (a *App) startMozpresence(ctx context.Context) (err error) {
	a.foreign.pages, err = pages.New(pages.Config{
		Publishers: a.grants, Gate: a.gate, Apps: a.p.Config.MozpresencePages(), Secure: a.secure, Logger: a.log, Called: a.called(mozpresence.Name),
	})
	if err != nil {
		return err
	}
	a.foreign.mozpresence = mozpresence.New(mozpresence.Config{
		Gate: a.gate, Tracker: a.tracker, Wheel: a.wheel, Publishers: a.grants, Mailboxes: a.mailboxes, Facts: a.telling.facts,
		Apps: a.p.Config.MozpresenceApps(), Logger: a.log, ShortestTimeout: a.shortest, LongestTimeout: a.longest, Called: a.called(mozpresence.Name),
		Pages: a.foreign.pages, Limits: mozpresence.Limits(a.p.Config.ConnectionLimits()),
	})
	return a.foreign.mozpresence.Start(ctx)
}

func (a *App) stopMozpresence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamsEndLimit)
	defer cancel()
	defer a.foreign.pages.Close()
	return a.foreign.mozpresence.Stop(ctx)
}

// setMozpresence puts the apps of another configuration in place.
func (a *App) setMozpresence(c *config.Config) {
	a.foreign.mozpresence.SetApps(c.MozpresenceApps())
	a.foreign.mozpresence.SetLimits(mozpresence.Limits(c.ConnectionLimits()))
	a.foreign.pages.SetApps(c.MozpresencePages())
}
