package app

import (
	restdoor "github.com/porchlight-dev/porchlight/internal/door/rest"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// makeAPI makes the REST API; the tracker and the roster are made.
func (a *App) makeAPI() (err error) {
	a.api, err = restdoor.New(restdoor.Config{
		Tracker: a.tracker, Texts: &a.texts, Revocations: a.revocations, Roster: a.roster, Topics: a.topics, Webhooks: a.hooks(), Facts: a.telling.facts, Letters: a.store, Mailboxes: a.mailboxes, Grants: a.grants, Cluster: a.clusterSeen(), Keys: a.p.Config.ServerKeys(), Rates: a.p.Config.Rates(), Version: a.p.Version, Retention: natsstore.DefaultMaxAge, Logger: a.log,
		Called: func(c restdoor.Call) { a.metrics.Called("rest", c.Method, c.Code, c.Took) },
	})
	return err
}
