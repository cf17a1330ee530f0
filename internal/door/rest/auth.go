package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Key is a server key: its secret alone selects app and key.
type Key struct {
	App    presence.AppID
	ID     string // names it in the log
	Secret string
	// RequestsPerSecond limits what is done with it; 0 is no limit.
	RequestsPerSecond float64
}

// key is a Key as it is kept: without its secret.
type key struct {
	app  presence.AppID
	id   string
	hash [sha256.Size]byte
	rate float64
	// limit is nil without one.
	limit *rate.Limiter
}

// keyring is replaced as a whole.
type keyring struct{ keys atomic.Pointer[[]*key] }

// SetKeys replaces the keys; requests from now on are held against them. A key
// that stays goes on with its rate limit.
func (d *Door) SetKeys(keys []Key) {
	old := d.keys.keys.Load()
	fresh := make([]*key, 0, len(keys))
	for _, k := range keys {
		one := &key{app: k.App, id: k.ID, hash: sha256.Sum256([]byte(k.Secret)), rate: k.RequestsPerSecond}
		if k.RequestsPerSecond > 0 {
			one.limit = rate.NewLimiter(rate.Limit(k.RequestsPerSecond), max(1, int(math.Ceil(k.RequestsPerSecond))))
		}
		if old != nil {
			for _, o := range *old {
				if o.app == one.app && o.id == one.id && o.rate == one.rate {
					one.limit = o.limit
				}
			}
		}
		fresh = append(fresh, one)
	}
	d.keys.keys.Store(&fresh)
}

// find returns the key with the secret, or nil. How long it takes tells nothing
// of the secrets: hashes are compared, and all of them.
func (k *keyring) find(secret string) (found *key) {
	hash := sha256.Sum256([]byte(secret))
	for _, one := range *k.keys.Load() {
		if subtle.ConstantTimeCompare(hash[:], one.hash[:]) == 1 {
			found = one
		}
	}
	return found
}

// admit finds the key of a request and takes one request of its rate.
func (d *Door) admit(w http.ResponseWriter, r *http.Request, req *request) error {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		w.Header().Set("WWW-Authenticate", `Bearer realm="porchlight"`)
		return fault.New(fault.KeyInvalid, "send a server key of the app: Authorization: Bearer KEY")
	}
	if req.key = d.keys.find(strings.TrimSpace(secret)); req.key == nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="porchlight", error="invalid_token"`)
		return fault.New(fault.KeyInvalid, "no app has this server key; the keys are in apps.*.server_keys of the configuration")
	}
	if l := req.key.limit; l != nil {
		now := time.Now()
		turn := l.ReserveN(now, 1)
		if wait := turn.DelayFrom(now); wait > 0 {
			turn.CancelAt(now)
			return fault.Retry(fault.RateLimited, wait, "the server key %s is allowed %g requests a second", req.key.id, req.key.rate)
		}
	}
	return nil
}
