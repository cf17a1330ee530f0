package isonline

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Which web pages may call (https://fetch.spec.whatwg.org/#http-cors-protocol).
// A page's origin must be among those of the app that its token is for. Browsers
// ask beforehand, in a preflight that has no token: that is answered for the
// origins of all apps together, and the call itself decides.
//
// This keeps pages that nobody invited from using a token that they got hold of
// in a browser. It keeps nobody else out: other programs send any origin, or none.

// What a page may send and read, for Connect and gRPC-Web, besides what is
// always allowed.
const (
	corsMethods = "POST"
	corsHeaders = "Authorization, Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, Grpc-Timeout, X-Grpc-Web, X-User-Agent"
	corsExposed = "Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin"
	corsMaxAge  = "7200" // seconds; browsers allow no more
)

// anyOrigin among an app's origins lets all pages call.
const anyOrigin = "*"

// origins are the web pages that may call, in lower case.
type origins struct {
	apps  map[presence.AppID]map[string]bool
	union map[string]bool
}

func allows(set map[string]bool, origin string) bool { return set[anyOrigin] || set[origin] }

// SetOrigins replaces the origins of all apps: "https://app.example", or "*".
func (d *Door) SetOrigins(apps map[presence.AppID][]string) {
	o := &origins{apps: map[presence.AppID]map[string]bool{}, union: map[string]bool{}}
	for app, list := range apps {
		o.apps[app] = map[string]bool{}
		for _, s := range list {
			o.apps[app][strings.ToLower(s)] = true
			o.union[strings.ToLower(s)] = true
		}
	}
	d.origins.Store(o)
}

// crossOrigin lets pages of next's callers in, or not.
func (d *Door) crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if origin == "" || sameOrigin(origin, r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
		if why := d.refuses(strings.ToLower(origin), r); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		if preflight {
			w.Header().Set("Access-Control-Allow-Methods", corsMethods)
			w.Header().Set("Access-Control-Allow-Headers", corsHeaders)
			w.Header().Set("Access-Control-Max-Age", corsMaxAge)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Access-Control-Expose-Headers", corsExposed)
		next.ServeHTTP(w, r)
	})
}

// refuses says why a page may not call; "" lets it. A call whose token is bad
// goes on: the call answers with the reason, and the page must be able to read
// it. So does a preflight, which has none.
func (d *Door) refuses(origin string, r *http.Request) string {
	o := d.origins.Load()
	if !allows(o.union, origin) {
		return fmt.Sprintf("the origin %.100q is not among cors.origins of any app", origin)
	}
	ctx := metadata.NewIncomingContext(r.Context(), metadata.MD{"authorization": r.Header.Values("Authorization")})
	if a, err := d.access(ctx); err == nil && !allows(o.apps[a.App], origin) {
		return fmt.Sprintf("the origin %.100q is not among cors.origins of the token's app", origin)
	}
	return ""
}

// sameOrigin reports that a page was served where it calls. The scheme does not
// count: a proxy may have taken TLS off.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}
