package tencentim

import (
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/time/rate"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// callsPerSecond is what the interface allows each app, of queries and of kicks.
const callsPerSecond = 200

// App is an app that backends written for Tencent IM call.
type App struct {
	App    presence.AppID
	ID     int64  // SDKAppID; no two apps have the same
	Key    string // signs UserSigs; without one no call is taken
	Admins []string
}

// Format names the app without its key, whatever the verb.
func (a App) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "Tencent IM SDKAppID %d of app %s (key not shown)", a.ID, a.App)
}

// LogValue is the same, for log/slog.
func (a App) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(a)) }

// served is an app with what it counts.
type served struct {
	App
	queries, kicks *rate.Limiter
}

func (s *served) administers(identifier string) bool { return slices.Contains(s.Admins, identifier) }

// SetApps replaces who is served; requests from now on are held against it. An
// app that stays goes on with its rate limits.
func (d *Door) SetApps(apps []App) {
	var old map[int64]*served
	if p := d.apps.Load(); p != nil {
		old = *p
	}
	fresh := make(map[int64]*served, len(apps))
	for _, a := range apps {
		a.Admins = slices.Clone(a.Admins)
		s := &served{a, rate.NewLimiter(callsPerSecond, callsPerSecond), rate.NewLimiter(callsPerSecond, callsPerSecond)}
		if o := old[a.ID]; o != nil && o.App.App == a.App {
			s.queries, s.kicks = o.queries, o.kicks
		}
		fresh[a.ID] = s
	}
	d.apps.Store(&fresh)
}
