package token

import (
	"fmt"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Compare with benchstat:
//
//	go test -run '^$' -bench . -count 6 ./internal/token | tee new.txt

// BenchmarkVerify shows what remembering pays: 5,000 users who call again and
// again, one who calls once (all tokens new), and forged tokens.
func BenchmarkVerify(b *testing.B) {
	const users = 5000
	raws := make([]string, users)
	for i := range raws {
		raws[i], _ = Sign(shop(), presence.UserID(fmt.Sprintf("user-%d", i)), time.Hour, noon)
	}
	for _, remember := range []bool{true, false} {
		name := map[bool]string{true: "remembered", false: "fresh"}[remember]
		b.Run(name, func(b *testing.B) {
			v := newTestVerifier(b, atNoon)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !remember && i%users == 0 {
					v.cache = newCache(cacheLimit)
				}
				if _, err := v.Verify(b.Context(), raws[i%users]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("remembered-parallel", func(b *testing.B) {
		v := newTestVerifier(b, atNoon)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := v.Verify(b.Context(), raws[i%users]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("without-cache", func(b *testing.B) {
		v := newTestVerifier(b, atNoon)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			g, _, err := v.read(raws[i%users])
			if err != nil {
				b.Fatal(err)
			}
			if _, err := g.judge(noon); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("forged", func(b *testing.B) {
		v := newTestVerifier(b, atNoon)
		raw := raws[0][:len(raws[0])-4] + "AAAA"
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), raw); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	r := newTestRing(b, sealKey("k1", 1))
	b.ReportAllocs()
	for b.Loop() {
		r.Seal(aliceSession())
	}
}

func BenchmarkOpen(b *testing.B) {
	r := newTestRing(b, sealKey("k3", 3), sealKey("k2", 2), sealKey("k1", 1))
	token := newTestRing(b, sealKey("k1", 1)).Seal(aliceSession())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Open(token); err != nil {
			b.Fatal(err)
		}
	}
}
