package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// asJWK writes a public key as a JWK.
func asJWK(id string, public crypto.PublicKey) map[string]any {
	text := base64.RawURLEncoding.EncodeToString
	switch k := public.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "kid": id, "use": "sig", "alg": RS256, "n": text(k.N.Bytes()), "e": text(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		b, err := k.Bytes()
		if err != nil {
			return nil
		}
		return map[string]any{"kty": "EC", "kid": id, "crv": "P-256", "x": text(b[1:33]), "y": text(b[33:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "kid": id, "crv": "Ed25519", "key_ops": []string{"verify"}, "x": text(k)}
	}
	return nil
}

func asJWKS(t testing.TB, keys ...map[string]any) []byte {
	t.Helper()
	if keys == nil {
		keys = []map[string]any{}
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// endpoint is an issuer's JWKS URL.
type endpoint struct {
	mu    sync.Mutex // guards all below
	text  []byte
	err   error
	slow  time.Duration
	asked []time.Time
}

func (e *endpoint) Fetch(ctx context.Context, _ string) ([]byte, error) {
	e.mu.Lock()
	e.asked = append(e.asked, time.Now())
	slow := e.slow
	e.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text, e.err
}

func (e *endpoint) answer(text []byte, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text, e.err = text, err
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.asked)
}

// published runs f in a bubble with a verifier of shop whose keys are published.
func published(t *testing.T, e *endpoint, f func(t *testing.T, v *Verifier, p *Published)) {
	t.Helper()
	t.Parallel()
	pairs() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		p := NewPublished(PublishedConfig{URL: "https://id.shop.test/jwks", Fetcher: e})
		iss := shop()
		iss.Keys, iss.Published = nil, p
		v, err := NewVerifier([]Issuer{iss}, atNoon)
		if err != nil {
			t.Fatal(err)
		}
		p.Start(t.Context())
		defer p.Stop()
		f(t, v, p)
	})
}

func pass(t *testing.T, v *Verifier, what, raw string) {
	t.Helper()
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Errorf("%s: %v, want it accepted", what, err)
	}
}

func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// The first call waits for the first keys; each algorithm works, with kid and
// without.
func TestPublishedKeys(t *testing.T) {
	e := &endpoint{slow: time.Second}
	var list []map[string]any
	for name, p := range pairs() {
		list = append(list, asJWK(name, p.private.Public()))
	}
	e.text = asJWKS(t, list...)
	published(t, e, func(t *testing.T, v *Verifier, _ *Published) {
		for name, p := range pairs() {
			pass(t, v, name, signed(t, p, name))
			pass(t, v, name+" without kid", signed(t, p, ""))
		}
		if n := e.count(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

// A key that is new since is fetched when a token names it; whoever calls
// meanwhile waits for the same fetch. Keys that do not exist are asked for once a
// minute.
func TestUnknownKeyID(t *testing.T) {
	e := &endpoint{text: asJWKS(t, asJWK("old", pairs()[ES256].private.Public()))}
	published(t, e, func(t *testing.T, v *Verifier, _ *Published) {
		pass(t, v, "the old key", signed(t, pairs()[ES256], "old"))
		wait(time.Second)
		e.answer(asJWKS(t, asJWK("new", pairs()[EdDSA].private.Public()), asJWK("old", pairs()[ES256].private.Public())), nil)
		e.mu.Lock()
		e.slow = 2 * time.Second
		e.mu.Unlock()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { pass(t, v, "the new key", signed(t, pairs()[EdDSA], "new")) })
		}
		all.Wait()
		if n := e.count(); n != 2 {
			t.Errorf("asked %d times, want twice", n)
		}
		start := time.Now()
		for range 59 {
			_, err := v.Verify(t.Context(), signed(t, pairs()[EdDSA], "forged"))
			wantInvalid(t, "a kid of nobody", err, "kid")
			wait(time.Second - 1)
		}
		if n := e.count(); n > 3 {
			t.Errorf("asked %d times within %v, want one more at most", n, time.Since(start))
		}
		before := e.count()
		wait(time.Minute)
		_, err := v.Verify(t.Context(), signed(t, pairs()[EdDSA], "forged"))
		wantInvalid(t, "a kid of nobody, later", err, "kid")
		if n := e.count(); n != before+1 {
			t.Errorf("asked %d times after a minute, want %d", n, before+1)
		}
	})
}

// Who looked for a key just before a refresh brought it, and asks for it just after,
// has it, and the minute's asking is left for the next key.
func TestKeyThatCameMeanwhile(t *testing.T) {
	e := &endpoint{text: asJWKS(t, asJWK("old", pairs()[ES256].private.Public())), slow: time.Second}
	published(t, e, func(t *testing.T, v *Verifier, _ *Published) {
		for n, text := range [][]byte{
			e.text,
			asJWKS(t, asJWK("old", pairs()[ES256].private.Public()), asJWK("new", pairs()[EdDSA].private.Public())),
		} {
			e.answer(text, nil)
			key, raw := "old", signed(t, pairs()[ES256], "old")
			if n == 1 {
				key, raw = "new", signed(t, pairs()[EdDSA], "new")
			}
			_, c, err := v.read(raw)
			if err == nil || c.missing == nil {
				t.Fatalf("%s: %v, missing %v; want it missing", key, err, c.missing)
			}
			if n == 1 {
				pass(t, v, key, raw) // another call has it fetched
			}
			wait(2 * time.Second)
			if !c.missing.ask(t.Context(), c.seen) {
				t.Errorf("%s: the keys are told to be the same as before", key)
			}
			pass(t, v, key, raw)
			if got := e.count(); got != n+1 {
				t.Errorf("%s: asked %d times, want %d", key, got, n+1)
			}
		}
	})
}

// What was remembered of a key that the issuer took back goes with it.
func TestRemovedKey(t *testing.T) {
	both := asJWKS(t, asJWK("a", pairs()[ES256].private.Public()), asJWK("b", pairs()[EdDSA].private.Public()))
	e := &endpoint{text: both}
	published(t, e, func(t *testing.T, v *Verifier, _ *Published) {
		a, b := signed(t, pairs()[ES256], "a"), signed(t, pairs()[EdDSA], "b")
		pass(t, v, "a", a)
		pass(t, v, "b", b)
		e.answer(asJWKS(t, asJWK("b", pairs()[EdDSA].private.Public())), nil)
		wait(refreshEvery + time.Second)
		_, err := v.Verify(t.Context(), a)
		wantInvalid(t, "a, taken back", err, "kid")
		pass(t, v, "b, which stayed", b)
		// The same id with another key is another key.
		e.answer(asJWKS(t, asJWK("b", pairs()[ES256].private.Public())), nil)
		wait(refreshEvery + time.Second)
		_, err = v.Verify(t.Context(), b)
		wantInvalid(t, "b, replaced", err, "alg")
		e.answer(asJWKS(t), nil)
		wait(refreshEvery + time.Second)
		_, err = v.Verify(t.Context(), signed(t, pairs()[ES256], "b"))
		wantInvalid(t, "none is trusted", err, "kid")
	})
}

// While the endpoint is down its last keys are believed for a day, and it is
// tried once a minute.
func TestEndpointDown(t *testing.T) {
	e := &endpoint{text: asJWKS(t, asJWK("k", pairs()[ES256].private.Public()))}
	published(t, e, func(t *testing.T, v *Verifier, _ *Published) {
		raw := signed(t, pairs()[ES256], "k")
		pass(t, v, "before", raw)
		good := e.text
		e.answer(nil, errors.New("no route"))
		wait(time.Hour)
		before := e.count()
		wait(time.Hour)
		if n := e.count() - before; n < 58 || n > 61 {
			t.Errorf("tried %d times in an hour, want once a minute", n)
		}
		wait(21 * time.Hour)
		pass(t, v, "after 23 hours", raw)
		e.answer([]byte("<html>"), nil) // an answer that is none
		wait(2 * time.Hour)
		_, err := v.Verify(t.Context(), raw)
		if fault.KindOf(err) != fault.KeysUnavailable || !strings.Contains(err.Error(), "could not be fetched") {
			t.Errorf("after a day: %v, want KEYS_UNAVAILABLE", err)
		}
		e.answer(good, nil)
		wait(time.Minute + time.Second)
		pass(t, v, "when it is back", raw)
	})
}

// A start works without the endpoint: tokens are refused with a word that says
// to try again, soon tried again, and good once there are keys.
func TestEndpointDownAtStart(t *testing.T) {
	e := &endpoint{err: errors.New("no route")}
	published(t, e, func(t *testing.T, v *Verifier, p *Published) {
		wait(time.Millisecond)
		for _, kid := range []string{"k", ""} {
			_, err := v.Verify(t.Context(), signed(t, pairs()[ES256], kid))
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Kind != fault.KeysUnavailable || f.RetryAfter == 0 || !strings.Contains(f.Detail, "were not fetched yet") {
				t.Errorf("kid %q: %v, want KEYS_UNAVAILABLE with a time to come back", kid, err)
			}
		}
		if p.Ready() == nil {
			t.Error("Ready says there are keys")
		}
		e.answer(asJWKS(t, asJWK("k", pairs()[ES256].private.Public())), nil)
		wait(4 * time.Second)
		pass(t, v, "with the first keys", signed(t, pairs()[ES256], "k"))
		if err := p.Ready(); err != nil {
			t.Errorf("Ready: %v", err)
		}
	})
}

// A call waits for keys no longer than it may itself, nor than askWait.
func TestSlowEndpoint(t *testing.T) {
	e := &endpoint{slow: time.Hour}
	published(t, e, func(t *testing.T, v *Verifier, _ *Published) {
		for limit, want := range map[time.Duration]time.Duration{time.Second: time.Second, time.Hour: askWait} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			start := time.Now()
			_, err := v.Verify(ctx, signed(t, pairs()[ES256], "k"))
			if took := time.Since(start); fault.KindOf(err) != fault.KeysUnavailable || took != want {
				t.Errorf("limit %v: %v after %v, want KEYS_UNAVAILABLE after %v", limit, err, took, want)
			}
			cancel()
		}
	})
}

// Keys of the configuration count beside those that are published, also while
// there are none of these.
func TestPublishedBesideConfigured(t *testing.T) {
	t.Parallel()
	pairs()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{err: errors.New("no route")}
		var told []Refresh
		p := NewPublished(PublishedConfig{URL: "u", Fetcher: e, Told: func(r Refresh) { told = append(told, r) }})
		iss := shop()
		iss.Published = p
		v, err := NewVerifier([]Issuer{iss}, atNoon)
		if err != nil {
			t.Fatal(err)
		}
		p.Start(t.Context())
		pass(t, v, "the configured key", hs256(goodClaims))
		pass(t, v, "the configured key, remembered", hs256(goodClaims))
		wait(time.Millisecond)
		p.Stop()
		p.Stop() // again
		start := time.Now()
		_, err = v.Verify(t.Context(), signed(t, pairs()[ES256], "k"))
		if took := time.Since(start); fault.KindOf(err) != fault.KeysUnavailable || took != 0 {
			t.Errorf("after Stop: %v after %v, want KEYS_UNAVAILABLE at once", err, took)
		}
		if len(told) != 1 || told[0].Err == nil || told[0].Keys != 0 {
			t.Errorf("told %+v, want one failure", told)
		}
	})
}

func TestParseJWKS(t *testing.T) {
	t.Parallel()
	var good []map[string]any
	for name, p := range pairs() {
		good = append(good, asJWK(name, p.private.Public()))
	}
	keys, skipped, err := parseJWKS(asJWKS(t, good...))
	if err != nil || len(keys) != len(good) || skipped != 0 {
		t.Fatalf("got %d keys, %d left out, %v", len(keys), skipped, err)
	}
	for _, k := range keys {
		if k.Algorithm() != k.ID || !sameKey(k.Public, pairs()[k.ID].private.Public()) {
			t.Errorf("%s came out as another key", k.ID)
		}
	}
	change := func(algorithm string, with map[string]any) map[string]any {
		k := asJWK("k", pairs()[algorithm].private.Public())
		for name, v := range with {
			k[name] = v
		}
		return k
	}
	short := new(big.Int).Rsh(pairs()[RS256].private.Public().(*rsa.PublicKey).N, 8)
	for name, k := range map[string]map[string]any{
		"unknown kty":     {"kty": "DSA", "kid": "k"},
		"a secret":        {"kty": "oct", "kid": "k", "k": "AAAA", "alg": "HS256"},
		"for encryption":  change(RS256, map[string]any{"use": "enc"}),
		"for signing":     change(ES256, map[string]any{"key_ops": []string{"sign"}}),
		"for nothing":     change(ES256, map[string]any{"key_ops": []string{}}),
		"other algorithm": change(RS256, map[string]any{"alg": "PS256"}),
		"HS256 on RSA":    change(RS256, map[string]any{"alg": "HS256"}),
		"other curve":     change(ES256, map[string]any{"crv": "P-384"}),
		"secp256k1":       change(ES256, map[string]any{"crv": "secp256k1"}),
		"X25519":          change(EdDSA, map[string]any{"crv": "X25519"}),
		"not on curve":    change(ES256, map[string]any{"x": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}),
		"short x":         change(ES256, map[string]any{"x": "AAAA"}),
		"short Ed25519":   change(EdDSA, map[string]any{"x": "AAAA"}),
		"weak RSA":        change(RS256, map[string]any{"n": base64.RawURLEncoding.EncodeToString(short.Bytes())}),
		"no exponent":     change(RS256, map[string]any{"e": ""}),
		"huge exponent":   change(RS256, map[string]any{"e": "AQAAAAAB"}),
		"padded":          change(RS256, map[string]any{"e": "AQAB===="}),
		"kid a number":    change(RS256, map[string]any{"kid": 1}),
		"long kid":        change(RS256, map[string]any{"kid": strings.Repeat("k", maxKeyID+1)}),
	} {
		if keys, skipped, err := parseJWKS(asJWKS(t, k)); err != nil || len(keys) != 0 || skipped != 1 {
			t.Errorf("%s: %d keys, %d left out, %v; want it left out", name, len(keys), skipped, err)
		}
	}
	for _, text := range []string{"", "null", "[]", "{}", `{"keys":null}`, `{"keys":{}}`, `{"keys":"x"}`, "<html>", strings.Repeat(" ", MaxJWKS+1)} {
		if _, _, err := parseJWKS([]byte(text)); err == nil {
			t.Errorf("%.20q was taken", text)
		}
	}
	many := make([]map[string]any, maxPublished+5)
	for i := range many {
		many[i] = good[i%len(good)]
	}
	if keys, skipped, err := parseJWKS(asJWKS(t, many...)); err != nil || len(keys) != maxPublished || skipped != 5 {
		t.Errorf("of many: %d keys, %d left out, %v", len(keys), skipped, err)
	}
}

// Whatever an endpoint answers, the keys that come out are strong and of one
// algorithm each.
func FuzzParseJWKS(f *testing.F) {
	for name, p := range pairs() {
		f.Add(asJWKS(f, asJWK(name, p.private.Public())))
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct","k":"AAAA"},null,1,[]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, skipped, err := parseJWKS(text)
		if err != nil && (keys != nil || skipped != 0) {
			t.Error("keys beside an error")
		}
		if len(keys) > maxPublished {
			t.Errorf("%d keys", len(keys))
		}
		for _, k := range keys {
			if k.Secret != nil || k.Algorithm() == "" || k.Algorithm() == HS256 || k.check() != nil {
				t.Errorf("key %q of algorithm %q came out: %v", k.ID, k.Algorithm(), k.check())
			}
		}
	})
}
