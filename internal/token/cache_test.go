package token

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func numbered(i int) digest {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func (c *cache) count() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.young) + len(s.old)
		s.mu.Unlock()
	}
	return n
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 640
	c := newCache(limit)
	for i := range 20 * limit {
		c.put(numbered(i), grant{expires: int64(i)})
		c.get(numbered(i / 2)) // what moves between the generations counts as well
	}
	if n := c.count(); n > limit || n < limit/4 {
		t.Errorf("the cache holds %d tokens, want %d to %d", n, limit/4, limit)
	}
}

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	c := newCache(640)
	favourite := numbered(-1)
	c.put(favourite, grant{expires: 42})
	for i := range 20000 {
		c.put(numbered(i), grant{})
		if g, ok := c.get(favourite); !ok || g.expires != 42 {
			t.Fatalf("after %d others: get = %+v, %v; want the token that is used all the time", i+1, g, ok)
		}
	}
	if _, ok := c.get(numbered(0)); ok {
		t.Error("the token that nobody used again is still there after 20,000 others")
	}
}

// TestRememberedTokensGrowOld walks one verifier's clock over the life of a
// token: the cache must never answer otherwise than a fresh check would.
func TestRememberedTokensGrowOld(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clock := noon
		now := func() time.Time { return clock }
		issuers := []Issuer{shop()}
		v, err := NewVerifier(issuers, now)
		if err != nil {
			t.Fatalf("NewVerifier: %v", err)
		}
		raw := hs256(goodClaims) // valid from noon (less the leeway) to one o'clock
		for range 20 {
			// Clocks get set back too.
			offset := rapid.Int64Range(-60_000, 3_660_000).Draw(t, "ms after noon")
			clock = noon.Add(time.Duration(offset) * time.Millisecond)
			_, got := v.Verify(t.Context(), raw)
			fresh, err := NewVerifier(issuers, now)
			if err != nil {
				t.Fatalf("NewVerifier: %v", err)
			}
			_, want := fresh.Verify(t.Context(), raw)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%v after noon: remembered says %v, fresh says %v", clock.Sub(noon), got, want)
			}
			if clock.Sub(noon) >= time.Hour && fault.KindOf(got) != fault.JWTExpired {
				t.Fatalf("%v after noon: %v, want expired", clock.Sub(noon), got)
			}
		}
	})
}

// TestRefusedTokensAreNotRemembered guards the promise that forged tokens
// cannot push good ones out.
func TestRefusedTokensAreNotRemembered(t *testing.T) {
	t.Parallel()
	v := newTestVerifier(t, atNoon)
	for _, r := range refusedTokens() {
		if _, err := v.Verify(t.Context(), r.raw); err == nil {
			t.Errorf("%s: accepted", r.name)
		}
	}
	if n := v.cache.count(); n != 0 {
		t.Errorf("the cache holds %d tokens after refusals only, want 0", n)
	}
}

// TestCacheConcurrently is for the race detector: many callers, a cache too
// small for the tokens, and a clock that passes the end of half of them.
func TestCacheConcurrently(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(noon.Unix())
	v := newTestVerifier(t, func() time.Time { return time.Unix(clock.Load(), 0) })
	v.cache = newCache(64)

	const tokens, callers = 200, 8
	raws := make([]string, tokens)
	for i := range raws {
		ttl := time.Minute
		if i%2 == 1 {
			ttl = time.Hour
		}
		var err error
		if raws[i], err = Sign(shop(), presence.UserID(fmt.Sprintf("u%d", i)), ttl, noon); err != nil {
			t.Fatalf("Sign: %v", err)
		}
	}
	round := func(wantShort bool) {
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := range raws {
					i = (i*7 + c*13) % tokens
					a, err := v.Verify(t.Context(), raws[i])
					if want := wantShort || i%2 == 1; (err == nil) != want {
						t.Errorf("token %d: %v, want accepted = %v", i, err, want)
					} else if want && a.User != presence.UserID(fmt.Sprintf("u%d", i)) {
						t.Errorf("token %d names %q", i, a.User)
					}
				}
			})
		}
		wg.Wait()
	}
	round(true)
	clock.Add(60)
	round(false)
}

// A node at rest forgets tokens, and what was good is good again.
func TestRestForgetsTokens(t *testing.T) {
	t.Parallel()
	v, err := NewVerifier([]Issuer{Development()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := Sign(Development(), "alice", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		if n := v.cache.count(); n != 1 {
			t.Errorf("%d tokens are remembered, want 1", n)
		}
		if v.Rest(); v.cache.count() != 0 {
			t.Error("a token is remembered after a rest")
		}
	}
}
