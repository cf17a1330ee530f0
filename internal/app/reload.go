package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/door/isonline"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/roster"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// replacement is all that a configuration makes that can be put in place while
// the node runs.
type replacement struct {
	config     *config.Config
	verifier   *token.Verifier
	publishers map[presence.AppID]publisher
	ring       *token.Ring
	texts      map[presence.AppID]*localize.Texts
	roster     map[presence.AppID]roster.AppConfig
	sources    map[presence.AppID]source
	endpoints  []webhook.Endpoint
}

// Reload puts another configuration in place without dropping anyone: keys, apps,
// policies, limits, texts, friends, origins, proxies. On an error everything stays
// as it was. What it cannot change before the next start is said in the log. Call
// it between Start and Stop, one call at a time.
func (a *App) Reload(ctx context.Context, c *config.Config) error {
	if !a.ready.Load() {
		return errors.New("reload: the node is starting or stopping")
	}
	r, err := a.replacement(ctx, c)
	if err != nil {
		return err
	}
	// The last that can fail: it puts the certificate in place by itself.
	if a.certificates != nil {
		if err := a.certificates.Reload(); err != nil {
			return err
		}
	}
	former := a.config.Load()
	a.use(ctx, r)
	a.config.Store(r.config)
	a.tell(former, r.config)
	return nil
}

// replacement makes everything of a configuration and changes nothing.
func (a *App) replacement(ctx context.Context, c *config.Config) (r replacement, err error) {
	r.config = c
	if err = c.Check(); err != nil {
		return r, err
	}
	if r.texts, err = c.Texts(); err != nil {
		return r, err
	}
	if r.verifier, r.publishers, err = a.access(c); err != nil {
		return r, err
	}
	// A start makes the file when there is none; here that would void the tokens of
	// all sessions.
	if _, err := os.Stat(a.ringFile(c)); err != nil && (a.p.Nodes == nil || c.SessionKeys != "") {
		return r, fmt.Errorf("session keys: %w", err)
	}
	if r.ring, err = a.ring(ctx, c); err != nil {
		return r, err
	}
	if r.endpoints, err = endpoints(c); err != nil {
		return r, err
	}
	r.roster, r.sources, err = a.rosterApps(c)
	return r, err
}

// use puts a replacement in place. Whose tokens are believed comes last, so that
// whoever gets in finds his app whole.
func (a *App) use(ctx context.Context, r replacement) {
	a.tracker.SetPolicies(r.config.Policies())
	a.setRosterApps(r.roster, r.sources)
	a.setTexts(r.texts)
	a.proxies.Set(r.config.Listen.Proxies())
	a.gate.SetLimits(r.config.DoorLimits())
	a.gate.SetOrigins(r.config.Origins())
	a.gate.SetRing(r.ring)
	a.live.SetLimits(r.config.ConnectionLimits())
	if a.api != nil {
		a.api.SetRates(r.config.Rates())
		a.api.SetKeys(r.config.ServerKeys())
	}
	a.setForeign(r.config)
	if c := a.nodes.cluster; c != nil {
		c.SetFingerprint(r.config.Fingerprint())
	}
	if err := a.setWebhooks(ctx, r.endpoints); err != nil {
		a.log.Error("the webhooks stay as they were", "error", err) // they were checked
	}
	a.useAccess(ctx, r.verifier, r.publishers)
}

// tell logs what a reload changed, and what it could not.
func (a *App) tell(was, is *config.Config) {
	var added, removed, changed []string
	for _, name := range slices.Sorted(maps.Keys(is.Apps)) {
		switch old, ok := was.Apps[name]; {
		case !ok:
			added = append(added, name)
		case !reflect.DeepEqual(old, is.Apps[name]):
			changed = append(changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was.Apps)) {
		if _, ok := is.Apps[name]; !ok {
			removed = append(removed, name)
		}
	}
	a.log.Info("configuration read again", "apps", len(is.Apps), "added", added, "removed", removed, "changed", changed)
	a.tellTimeouts(is)
	if late := a.later(is); len(late) > 0 {
		a.log.Warn("changed, but only the next start takes it up", "keys", late)
	}
}

// later lists the keys that have another value than at the start and need one.
func (a *App) later(is *config.Config) (keys []string) {
	was := a.p.Config
	for _, k := range []struct {
		name    string
		differs bool
	}{
		{"listen.http", was.Listen.HTTP != is.Listen.HTTP},
		{"listen.grpc", was.Listen.GRPC != is.Listen.GRPC},
		{"listen.tls", was.Listen.TLS != is.Listen.TLS},
		{"listen.rongcloud", was.Listen.RongCloud != is.Listen.RongCloud},
		{"listen.tencentim", was.Listen.TencentIM != is.Listen.TencentIM},
		{"listen.mozpresence", was.Listen.Mozpresence != is.Listen.Mozpresence},
		{"listen.stringee.listen", was.Listen.Stringee.Listen != is.Listen.Stringee.Listen},
		{"listen.stringee.host", was.Listen.Stringee.Host != is.Listen.Stringee.Host},
		{"listen.proxy_protocol", was.Listen.ProxyProtocol != is.Listen.ProxyProtocol},
		{"data", was.Data != is.Data},
		{"restart_grace", was.RestartGrace != is.RestartGrace},
		{"log_max_bytes", was.LogMaxBytes != is.LogMaxBytes},
		{"node", was.Node != is.Node},
		{"cluster", !reflect.DeepEqual(was.Cluster, is.Cluster)},
		{"peers", !reflect.DeepEqual(was.Peers, is.Peers)},
	} {
		if k.differs {
			keys = append(keys, k.name)
		}
	}
	return keys
}

// tellTimeouts says when sessions live by time-outs that the transport was not
// made for: it pings, and gives silent connections up, by those of the start.
func (a *App) tellTimeouts(c *config.Config) {
	shortest, longest := c.Timeouts()
	if isonline.PingEvery(shortest) < isonline.PingEvery(a.shortest) || longest > a.longest {
		a.log.Warn("heartbeat time-outs count at once, but the transport's own pings fit them from the next start on",
			"shortest", shortest.String(), "longest", longest.String(), "shortest_at_start", a.shortest.String(), "longest_at_start", a.longest.String())
	}
}
