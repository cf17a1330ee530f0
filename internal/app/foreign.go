package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence/pages"
	"github.com/porchlight-dev/porchlight/internal/door/rongcloud"
	"github.com/porchlight-dev/porchlight/internal/door/stringee"
	"github.com/porchlight-dev/porchlight/internal/door/tencentim"
	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// foreign are the doors whose interfaces others defined.
type foreign struct {
	rongcloud *rongcloud.Door
	tencentim *tencentim.Door
	// mozpresence is made before the others: devices connect there.
	mozpresence *mozpresence.Door
	pages       *pages.Pages // of it
	// stringee is made before the others: users connect there.
	stringee atomic.Pointer[stringee.Door]
	ports    []ownPort
}

// ownPort is one where a door alone answers.
type ownPort struct {
	name     string
	listener net.Listener
	server   *http.Server
}

// own are the doors that may have a port and a host of their own.
func (a *App) own() []ownDoor {
	l := &a.p.Config.Listen
	return []ownDoor{{"rongcloud", l.RongCloud, a.foreign.rongcloud}, {"tencentim", l.TencentIM, a.foreign.tencentim},
		{mozpresence.Name, l.Mozpresence, a.foreign.mozpresence},
		{stringee.Name, config.Own{Listen: l.Stringee.Listen, Host: l.Stringee.Host}, a.foreign.stringee.Load()}}
}

type ownDoor struct {
	name string
	at   config.Own
	door http.Handler
}

// byHost gives requests to the host of a door to that door, whatever their path.
func (a *App) byHost(rest http.Handler) http.Handler {
	hosts := map[string]http.Handler{}
	for _, o := range a.own() {
		if o.at.Host != "" {
			hosts[strings.ToLower(o.at.Host)] = alone(o.door)
		}
	}
	if len(hosts) == 0 {
		return rest
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if door := hosts[strings.ToLower(host)]; door != nil {
			door.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// startOwnPorts opens the ports of doors that have one.
func (a *App) startOwnPorts(context.Context) error {
	if a.foreign.rongcloud == nil {
		return nil // there is no HTTP port either
	}
	for _, o := range a.own() {
		if o.at.Listen == "" {
			continue
		}
		l, err := listen.Open(o.name, o.at.Listen)
		if err != nil {
			return errors.Join(err, a.closeOwnPorts())
		}
		p := ownPort{o.name, a.wrapped(l), a.server(alone(o.door))}
		a.foreign.ports = append(a.foreign.ports, p)
		a.serve(o.name, p.server, p.listener)
		a.log.Info("a door has a port of its own", "door", o.name, "address", l.Addr().String())
	}
	return nil
}

// stopOwnPorts waits for calls that run, for a while.
func (a *App) stopOwnPorts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamsEndLimit)
	defer cancel()
	for _, p := range a.foreign.ports {
		p.server.Shutdown(ctx) // what is left is cut
	}
	return a.closeOwnPorts()
}

func (a *App) closeOwnPorts() error {
	for _, p := range a.foreign.ports {
		p.server.Close()
	}
	a.foreign.ports = nil
	return nil
}

// DoorAddr is the address of a door's own port, or nil.
func (a *App) DoorAddr(name string) net.Addr {
	for _, p := range a.foreign.ports {
		if p.name == name {
			return p.listener.Addr()
		}
	}
	return nil
}

// makeForeign makes them; the tracker is made.
func (a *App) makeForeign() {
	a.foreign.rongcloud = rongcloud.New(rongcloud.Config{
		Tracker: a.tracker, Unsure: a.unsure(), Apps: a.p.Config.RongCloudApps(), Logger: a.log, Called: a.called("rongcloud"),
	})
	a.foreign.tencentim = tencentim.New(tencentim.Config{
		Tracker: a.tracker, Revocations: a.revocations, Unsure: a.unsure(), Apps: a.p.Config.TencentIMApps(), Logger: a.log, Called: a.called("tencentim"),
	})
}

// unsure says of whom a node that is not heard may know more; nil: there are none.
func (a *App) unsure() func(presence.User) bool {
	if a.nodes.cluster == nil {
		return nil
	}
	return func(user presence.User) bool { return a.tracker.Presence(user).Stale != 0 }
}

// setForeign puts the apps of another configuration in place.
func (a *App) setForeign(c *config.Config) {
	a.setMozpresence(c)
	d := a.foreign.stringee.Load()
	d.SetApps(c.StringeeApps())
	d.SetPlaces(c.StringeePlaces())
	d.SetLimits(stringee.Limits(c.ConnectionLimits()))
	if a.foreign.rongcloud != nil {
		a.foreign.rongcloud.SetApps(c.RongCloudApps())
		a.foreign.tencentim.SetApps(c.TencentIMApps())
	}
}
