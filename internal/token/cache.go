package token

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Sizes of the cache of verified tokens.
const (
	// cacheLimit is how many tokens a Verifier remembers at most.
	cacheLimit = 65536
	// cacheShards spreads the locks; a power of two, at most 256.
	cacheShards = 16
)

// grant is what a token with a good signature says, in the small form that the
// cache keeps. Times are seconds since 1970, 0 when absent.
type grant struct {
	issuer    *issuer
	key       *held // that signed it
	user      presence.UserID
	issued    int64
	notBefore int64
	expires   int64
	topics    *Topics
}

// judge decides whether g holds at the given time. It runs on every call, for
// remembered tokens as for fresh ones, so that remembering never lets an
// expired one pass.
func (g grant) judge(now time.Time) (Access, error) {
	at, ahead := now.Unix(), now.Add(Leeway).Unix()
	switch {
	case at >= g.expires:
		return Access{}, fault.New(fault.JWTExpired, "the access token has expired; get a new one from its issuer")
	case g.notBefore > ahead:
		return Access{}, invalid("the access token is not valid yet (nbf)")
	case g.issued > ahead:
		return Access{}, invalid("the access token was issued in the future (iat); check the clocks")
	}
	a := Access{App: g.issuer.app, User: g.user, Expires: time.Unix(g.expires, 0).UTC(), Topics: g.topics}
	if g.issued != 0 {
		a.IssuedAt = time.Unix(g.issued, 0).UTC()
	}
	return a, nil
}

// digest names a raw token in the cache. It is a full SHA-256, not a hash-table
// hash, because two tokens with the same digest would be the same user.
type digest = [sha256.Size]byte

// cache remembers tokens whose signature was found good, so that a device that
// calls often costs one hash instead of a signature check and two JSON
// documents. It holds digests, not tokens. Only good tokens get in, so a flood
// of forged ones cannot push others out.
type cache struct {
	shards [cacheShards]cacheShard
}

// cacheShard keeps two generations: what is used moves to the young one; when
// that is full, the old one is forgotten and the young one takes its place. It
// stands in for least-recently-used order at the price of a map, and forgets
// expired tokens without a sweep.
type cacheShard struct {
	mu         sync.Mutex // guards all below
	half       int        // entries per generation
	young, old map[digest]grant
}

// newCache returns a cache of at most limit tokens, rounded down to what fits
// two generations in each shard, and at least one each.
func newCache(limit int) *cache {
	c := new(cache)
	for i := range c.shards {
		c.shards[i].half = max(1, limit/cacheShards/2)
	}
	return c
}

// get returns what is remembered under d.
func (c *cache) get(d digest) (grant, bool) {
	s := &c.shards[d[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if g, ok := s.young[d]; ok {
		return g, true
	}
	g, ok := s.old[d]
	if ok {
		s.put(d, g)
	}
	return g, ok
}

// forget drops all.
func (c *cache) forget() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.young, s.old = nil, nil
		s.mu.Unlock()
	}
}

// put remembers g under d.
func (c *cache) put(d digest, g grant) {
	s := &c.shards[d[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(d, g)
}

// put adds to the young generation; s.mu is held.
func (s *cacheShard) put(d digest, g grant) {
	if _, known := s.young[d]; !known && len(s.young) >= s.half {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = make(map[digest]grant)
	}
	s.young[d] = g
}
