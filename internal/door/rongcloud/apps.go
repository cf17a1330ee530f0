package rongcloud

import (
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// callsPerSecond is what the interface allows each app.
const callsPerSecond = 100

// App is an app that backends written for RongCloud call.
type App struct {
	App    presence.AppID
	Key    string // the App Key; no two apps have the same
	Secret string // the App Secret
	// Window is how far the time of a request may be from now; 0 is any time at
	// all. Most clients sign once when they start, so it keeps those out.
	Window time.Duration
}

// Format names the app without its secret, whatever the verb.
func (a App) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "RongCloud App Key %s of app %s (secret not shown)", a.Key, a.App)
}

// LogValue is the same, for log/slog.
func (a App) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(a)) }

// served is an app with what it counts.
type served struct {
	App
	limit *rate.Limiter
}

// SetApps replaces who is served; requests from now on are held against it. An
// app that stays goes on with its rate limit.
func (d *Door) SetApps(apps []App) {
	var old map[string]*served
	if p := d.apps.Load(); p != nil {
		old = *p
	}
	fresh := make(map[string]*served, len(apps))
	for _, a := range apps {
		s := &served{a, rate.NewLimiter(callsPerSecond, callsPerSecond)}
		if o := old[a.Key]; o != nil && o.App.App == a.App {
			s.limit = o.limit
		}
		fresh[a.Key] = s
	}
	d.apps.Store(&fresh)
}
