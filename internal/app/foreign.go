package app

import (
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/door/rongcloud"
)

// foreign are the doors whose interfaces others defined.
type foreign struct {
	rongcloud *rongcloud.Door
}

// makeForeign makes them; the tracker is made.
func (a *App) makeForeign() {
	a.foreign.rongcloud = rongcloud.New(rongcloud.Config{
		Tracker: a.tracker, Apps: a.p.Config.RongCloudApps(), Logger: a.log, Called: a.called("rongcloud"),
	})
}

// setForeign puts the apps of another configuration in place.
func (a *App) setForeign(c *config.Config) {
	if a.foreign.rongcloud != nil {
		a.foreign.rongcloud.SetApps(c.RongCloudApps())
	}
}
