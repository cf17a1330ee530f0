package admit

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Which web pages may call. A page's origin must be among those of the app that
// its token is for. Where the token comes later than the question, a page of any
// app is let in and the token decides.
//
// This keeps pages that nobody invited from using a token that they got hold of
// in a browser. It keeps nobody else out: other programs send any origin, or none.

// anyOrigin among an app's origins lets all pages call.
const anyOrigin = "*"

// origins are the web pages that may call, in lower case.
type origins struct {
	apps  map[presence.AppID]map[string]bool
	union map[string]bool
}

func allows(set map[string]bool, origin string) bool {
	return set[anyOrigin] || set[strings.ToLower(origin)]
}

// SetOrigins replaces the origins of all apps: "https://app.example", or "*".
func (g *Gate) SetOrigins(apps map[presence.AppID][]string) {
	o := &origins{apps: map[presence.AppID]map[string]bool{}, union: map[string]bool{}}
	for app, list := range apps {
		o.apps[app] = map[string]bool{}
		for _, s := range list {
			o.apps[app][strings.ToLower(s)] = true
			o.union[strings.ToLower(s)] = true
		}
	}
	g.origins.Store(o)
}

// RefusesOrigin says why no page of that origin may call, whatever its token; ""
// lets it go on.
func (g *Gate) RefusesOrigin(origin string) string {
	if !allows(g.origins.Load().union, origin) {
		return fmt.Sprintf("the origin %.100q is not among cors.origins of any app", origin)
	}
	return ""
}

// RefusesOriginFor says why a page of that origin may not call with a token of
// the app; "" lets it.
func (g *Gate) RefusesOriginFor(app presence.AppID, origin string) string {
	if !allows(g.origins.Load().apps[app], origin) {
		return fmt.Sprintf("the origin %.100q is not among cors.origins of the token's app", origin)
	}
	return ""
}

// SameOrigin reports that a page was served where it calls. The scheme does not
// count: a proxy may have taken TLS off.
func SameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}
