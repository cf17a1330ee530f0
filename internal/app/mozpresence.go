package app

import (
	"context"
	"time"

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
	if err := a.foreign.mozpresence.Start(ctx); err != nil {
		return err
	}
	a.finishRevocations(ctx)
	return nil
}

// finishLimit bounds how long a start waits for what a crash left of revocations.
const finishLimit = 5 * time.Second

// finishRevocations does what is left of them, now that the door hears of it.
func (a *App) finishRevocations(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, finishLimit)
	defer cancel()
	switch done, err := a.grants.Finish(ctx); {
	case err != nil:
		a.log.Warn("revocations that a crash broke off are finished when the users' grants are next read, or at the next start", "error", err)
	case done > 0:
		a.log.Info("finished revocations that a crash broke off", "count", done)
	}
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
