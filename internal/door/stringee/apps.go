package stringee

import (
	"fmt"
	"log/slog"

	"golang.org/x/time/rate"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// callsPerSecond is how many REST calls each app may make; the document names no
// limit.
const callsPerSecond = 200

// App is an app whose clients and backends were written for Stringee.
type App struct {
	App     presence.AppID
	SID     string // of the API key: the iss of tokens; no two apps have the same
	Secret  string // of the API key: signs them
	Project int64
	// StrictCty refuses tokens whose header has no cty.
	StrictCty bool
}

// Format names the app without its secret, whatever the verb.
func (a App) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "Stringee API key %s of app %s (secret not shown)", a.SID, a.App)
}

// LogValue is the same, for log/slog.
func (a App) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(a)) }

// served is an app with what it counts.
type served struct {
	App
	limit *rate.Limiter
}

// registry is who is served. It is replaced as a whole.
type registry struct {
	bySID map[string]*served
	byApp map[presence.AppID]*served
}

// SetApps replaces who is served; tokens from now on are held against it.
// Connections stay. An app that stays goes on with its rate limit.
func (d *Door) SetApps(apps []App) {
	old := d.apps.Load()
	fresh := &registry{map[string]*served{}, map[presence.AppID]*served{}}
	for _, a := range apps {
		s := &served{a, rate.NewLimiter(callsPerSecond, callsPerSecond)}
		if old != nil && old.byApp[a.App] != nil {
			s.limit = old.byApp[a.App].limit
		}
		fresh.bySID[a.SID], fresh.byApp[a.App] = s, s
	}
	d.apps.Store(fresh)
}

// project is the number of an app's project, 0 when it is not served any more.
func (d *Door) project(app presence.AppID) int64 {
	if s := d.apps.Load().byApp[app]; s != nil {
		return s.Project
	}
	return 0
}

// Places are where clients connect.
type Places struct {
	// Addresses are told to browsers that ask for the server, as host:port; empty
	// is the host that they asked.
	Addresses []string
	// Elsewhere are the sockets of other nodes, as ws:// or wss:// addresses: there
	// a stopping node sends its clients.
	Elsewhere []string
}

// SetPlaces replaces what is told of where to connect.
func (d *Door) SetPlaces(p Places) { d.places.Store(&p) }
