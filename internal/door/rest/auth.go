package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
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

// Format names the key without its secret, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "server key %s of app %s (secret not shown)", k.ID, k.App)
}

// LogValue is the same, for log/slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

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
			one.limit = newLimit(k.RequestsPerSecond)
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
	now := time.Now()
	mine, wait := take(req.key.limit, now)
	if wait > 0 {
		return fault.Retry(fault.RateLimited, wait, "the server key %s is allowed %g requests a second", req.key.id, req.key.rate)
	}
	app := (*d.rates.Load())[req.key.app]
	if app == nil {
		return nil
	}
	if _, wait := take(app, now); wait > 0 {
		if mine != nil {
			mine.CancelAt(now)
		}
		return fault.Retry(fault.RateLimited, wait, "all server keys of the app are allowed %g requests a second together", float64(app.Limit()))
	}
	return nil
}

// take takes one request of a limit, or says how long to wait for one. Without a
// limit there is nothing to take.
func take(l *rate.Limiter, now time.Time) (turn *rate.Reservation, wait time.Duration) {
	if l == nil {
		return nil, 0
	}
	turn = l.ReserveN(now, 1)
	if wait = turn.DelayFrom(now); wait > 0 {
		turn.CancelAt(now)
		return nil, wait
	}
	return turn, 0
}

// rates are the limits of apps; it is replaced as a whole.
type rates map[presence.AppID]*rate.Limiter

// SetRates replaces how many requests a second the keys of an app may make
// together; 0 is no limit. An app whose rate stays goes on with its limit.
func (d *Door) SetRates(apps map[presence.AppID]float64) {
	old := d.rates.Load()
	fresh := make(rates, len(apps))
	for app, perSecond := range apps {
		if perSecond <= 0 {
			continue
		}
		if old != nil && (*old)[app] != nil && (*old)[app].Limit() == rate.Limit(perSecond) {
			fresh[app] = (*old)[app]
			continue
		}
		fresh[app] = newLimit(perSecond)
	}
	d.rates.Store(&fresh)
}

func newLimit(perSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(math.Ceil(perSecond))))
}
