package isonline

import (
	"net/http"

	"google.golang.org/grpc/metadata"

	"github.com/porchlight-dev/porchlight/internal/admit"
)

// Which web pages may call (https://fetch.spec.whatwg.org/#http-cors-protocol).
// Browsers ask beforehand, in a preflight that has no token: that is answered for
// the origins of all apps together, and the call itself decides.

// What a page may send and read, for Connect and gRPC-Web, besides what is
// always allowed.
const (
	corsMethods = "POST"
	corsHeaders = "Authorization, Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, Grpc-Timeout, X-Grpc-Web, X-User-Agent"
	corsExposed = "Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin"
	corsMaxAge  = "7200" // seconds; browsers allow no more
)

// crossOrigin lets pages of next's callers in, or not.
func (d *Door) crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if origin == "" || admit.SameOrigin(origin, r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
		if why := d.refuses(origin, r); why != "" {
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
	if why := d.cfg.Gate.RefusesOrigin(origin); why != "" {
		return why
	}
	ctx := metadata.NewIncomingContext(r.Context(), metadata.MD{"authorization": r.Header.Values("Authorization")})
	if a, err := d.access(ctx); err == nil {
		return d.cfg.Gate.RefusesOriginFor(a.App, origin)
	}
	return ""
}
