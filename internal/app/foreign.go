package app

import (
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/door/rongcloud"
	"github.com/porchlight-dev/porchlight/internal/door/tencentim"
)

// foreign are the doors whose interfaces others defined.
type foreign struct {
	rongcloud *rongcloud.Door
	tencentim *tencentim.Door
}

// makeForeign makes them; the tracker is made.
func (a *App) makeForeign() {
	a.foreign.rongcloud = rongcloud.New(rongcloud.Config{
		Tracker: a.tracker, Apps: a.p.Config.RongCloudApps(), Logger: a.log, Called: a.called("rongcloud"),
	})
	a.foreign.tencentim = tencentim.New(tencentim.Config{
		Tracker: a.tracker, Revocations: a.revocations, Apps: a.p.Config.TencentIMApps(), Logger: a.log, Called: a.called("tencentim"),
	})
}

// setForeign puts the apps of another configuration in place.
func (a *App) setForeign(c *config.Config) {
	if a.foreign.rongcloud != nil {
		a.foreign.rongcloud.SetApps(c.RongCloudApps())
		a.foreign.tencentim.SetApps(c.TencentIMApps())
	}
}
