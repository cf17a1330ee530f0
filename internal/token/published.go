package token

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// How the keys that an issuer publishes are kept fresh.
const (
	// refreshEvery is how old they get: a key that the issuer takes back is
	// believed so long at most. It is spread by a tenth, so that nodes do not ask
	// together.
	refreshEvery = 10 * time.Minute
	// askEvery is the least time between two refreshes for an unknown key id, which
	// anybody can write into a token.
	askEvery = time.Minute
	// askWait is how long a call with an unknown key id waits for such a refresh.
	askWait = 5 * time.Second
	// keepFor is how long they are believed while the endpoint does not answer: over
	// a night's outage, but not for ever, or who cuts the line would keep a stolen
	// key alive.
	keepFor = 24 * time.Hour
	// Between attempts while there are no keys yet, and after one that failed.
	firstRetry   = time.Second
	longestRetry = time.Minute
	// FetchLimit bounds one attempt.
	FetchLimit = 10 * time.Second
)

// Fetcher gets what is at a URL: at most MaxJWKS bytes of a 200 answer, without
// following redirects.
type Fetcher interface {
	Fetch(ctx context.Context, url string) ([]byte, error)
}

// Refresh is what one attempt to get an issuer's keys came to.
type Refresh struct {
	Err     error // nil: the keys below are believed from now on
	Keys    int
	Skipped int  // entries that no algorithm here is for, weak and damaged ones
	Changed bool // other keys than before, or the first ones
	Age     time.Duration
}

// PublishedConfig says where an issuer publishes its keys. URL and Fetcher are
// required.
type PublishedConfig struct {
	URL     string
	Fetcher Fetcher
	// Told, when not nil, hears of each attempt.
	Told func(Refresh)
}

// Published holds the keys that an issuer publishes as a JWK Set, and refreshes
// them on a goroutine of its own. The endpoint is asked when it starts, every ten
// minutes, and, at most once a minute, when a token names a key that is not
// among them. While it does not answer, the keys it gave last are believed for a
// day. Several Verifiers may share one, and it outlives a change of
// configuration.
type Published struct {
	cfg PublishedConfig
	set atomic.Pointer[publishedSet]

	asks   chan struct{} // room for one
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards all below
	runs   bool       // between Start and Stop
	asked  time.Time
	flight chan struct{} // closed when the refresh that is under way, or due at once, is over; nil: none
}

// publishedSet is what the endpoint gave, and when.
type publishedSet struct {
	keys keyset
	at   time.Time
}

// NewPublished returns a set without keys. Start begins to get them.
func NewPublished(cfg PublishedConfig) *Published {
	return &Published{cfg: cfg, asks: make(chan struct{}, 1)}
}

// Start begins to get the keys, and waits for none. Call it once.
func (p *Published) Start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.done = make(chan struct{})
	p.mu.Lock()
	p.runs = true
	p.flight = make(chan struct{}) // the first attempt is due at once
	p.mu.Unlock()
	go p.run(ctx)
}

// Stop ends the refreshes and waits for it. What is held stays good for its time.
// It tolerates a second call.
func (p *Published) Stop() {
	if p.cancel == nil {
		return // never started
	}
	p.cancel()
	<-p.done
	p.mu.Lock()
	p.runs = false
	p.mu.Unlock()
	p.land()
}

func (p *Published) run(ctx context.Context) {
	defer close(p.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			p.take()
		case <-p.asks:
		}
		next := refreshEvery - rand.N(refreshEvery/10)
		if p.refresh(ctx) {
			retry = firstRetry
		} else {
			next = retry
			retry = min(2*retry, longestRetry)
		}
		timer.Reset(next)
		p.land()
	}
}

// take announces a refresh that nobody asked for.
func (p *Published) take() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flight == nil {
		p.flight = make(chan struct{})
	}
	select {
	case <-p.asks: // it is for this one
	default:
	}
}

// land says that the refresh is over.
func (p *Published) land() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flight != nil {
		close(p.flight)
		p.flight = nil
	}
}

// ask has the keys refreshed for a token that none of those seen fits, unless that
// was done within a minute, and waits a little for it. It reports whether the keys
// may be others now. A refresh that ended since they were seen is enough: another
// one would only use up the minute, and within it what that brought would count
// for nothing.
func (p *Published) ask(ctx context.Context, seen *publishedSet) bool {
	p.mu.Lock()
	flight := p.flight
	if flight == nil {
		if p.set.Load() != seen {
			p.mu.Unlock()
			return true
		}
		if now := time.Now(); p.runs && now.Sub(p.asked) >= askEvery {
			p.asked = now
			p.flight = make(chan struct{})
			flight = p.flight
			select {
			case p.asks <- struct{}{}:
			default:
			}
		}
	}
	p.mu.Unlock()
	if flight == nil {
		return false
	}
	timer := time.NewTimer(askWait)
	defer timer.Stop()
	select {
	case <-flight:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// refresh asks the endpoint once.
func (p *Published) refresh(ctx context.Context) (ok bool) {
	limited, cancel := context.WithTimeout(ctx, FetchLimit)
	defer cancel()
	began := time.Now()
	text, err := p.cfg.Fetcher.Fetch(limited, p.cfg.URL)
	var keys []Key
	var skipped int
	if err == nil {
		keys, skipped, err = parseJWKS(text)
	}
	if ctx.Err() != nil {
		return false // Stop is no news
	}
	r := Refresh{Err: err, Keys: len(keys), Skipped: skipped}
	if err == nil {
		r.Changed = p.replace(keys, began)
	} else {
		if old := p.set.Load(); old != nil {
			r.Keys, r.Age = len(old.keys), time.Since(old.at)
		}
	}
	if p.cfg.Told != nil {
		p.cfg.Told(r)
	}
	return err == nil
}

// replace puts new keys in the place of the old. What is the same stays the same
// held key, so that remembered tokens stay remembered.
func (p *Published) replace(keys []Key, at time.Time) (changed bool) {
	var old keyset
	if was := p.set.Load(); was != nil {
		old = was.keys
	} else {
		changed = true
	}
	next := make(keyset, 0, len(keys))
	kept := make(map[*held]bool, len(old))
	for _, k := range keys {
		h := old.same(k)
		if h == nil {
			h = hold(k)
			h.from = p
			changed = true
		}
		kept[h] = true
		next = append(next, h)
	}
	p.set.Store(&publishedSet{next, at})
	for _, h := range old {
		if !kept[h] {
			h.gone.Store(true)
			changed = true
		}
	}
	return changed
}

// same finds a key among the held ones.
func (k keyset) same(key Key) *held {
	for _, h := range k {
		if h.id == key.ID && h.algorithm == key.Algorithm() && sameKey(h.material(), key.Public) {
			return h
		}
	}
	return nil
}

// usable reports whether there are keys that are believed.
func (p *Published) usable() bool {
	s := p.set.Load()
	return s != nil && time.Since(s.at) < keepFor
}

// keys are those that are believed now.
func (p *Published) keys() keyset {
	if s := p.set.Load(); s != nil && p.usable() {
		return s.keys
	}
	return nil
}

// Ready is nil when there are keys, or the reason why there are none.
func (p *Published) Ready() error {
	switch s := p.set.Load(); {
	case s == nil:
		return errors.New("were not fetched yet")
	case !p.usable():
		return fmt.Errorf("could not be fetched for %v", time.Since(s.at).Round(time.Minute))
	}
	return nil
}

// unavailable is what a call is told whose token cannot be judged.
func (p *Published) unavailable() error {
	return fault.Retry(fault.KeysUnavailable, firstRetry, "the keys of the access token's issuer %v; try again", p.Ready())
}
