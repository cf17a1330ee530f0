package natsstore_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// BenchmarkFollow appends one message at a time and waits until a follower has
// it: how long after the append's answer, and after its call.
func BenchmarkFollow(b *testing.B) {
	s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true})
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	came := make(chan time.Time, 1)
	go func() {
		_ = s.Follow(ctx, 0, func(uint64, []presence.Record) error {
			came <- time.Now()
			return nil
		})
	}()
	records := storetest.Records(1, 10)
	var behind, whole []time.Duration
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		if _, err := s.Append(ctx, fmt.Sprint(i), records); err != nil {
			b.Fatal(err)
		}
		answered := time.Now()
		at := <-came
		behind, whole = append(behind, at.Sub(answered)), append(whole, at.Sub(began))
	}
	slices.Sort(behind)
	slices.Sort(whole)
	b.ReportMetric(float64(behind[len(behind)/2].Microseconds()), "µs-p50-behind-ack")
	b.ReportMetric(float64(behind[len(behind)*99/100].Microseconds()), "µs-p99-behind-ack")
	b.ReportMetric(float64(whole[len(whole)/2].Microseconds()), "µs-p50-whole")
}

// BenchmarkReplayUser looks for one user in a log of others.
func BenchmarkReplayUser(b *testing.B) {
	for _, size := range []int{4, 64} {
		b.Run(fmt.Sprintf("records/message=%d", size), func(b *testing.B) {
			s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true, MaxBytes: 1 << 30})
			defer stop()
			const messages = 8192
			for i := range messages {
				if _, err := s.Append(context.Background(), fmt.Sprint(i), storetest.Records(i, size)); err != nil {
					b.Fatal(err)
				}
			}
			user := presence.User{App: "demo", ID: "user-4000001"}
			for b.Loop() {
				found := 0
				err := s.ReplayUser(context.Background(), user, 0, messages+1, func(uint64, []presence.Record) error {
					found++
					return nil
				})
				if err != nil || found == 0 {
					b.Fatal(found, err)
				}
			}
			b.ReportMetric(float64(b.N*messages)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkSaveCursors moves all 16 lanes of an endpoint at once.
func BenchmarkSaveCursors(b *testing.B) {
	s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true})
	defer stop()
	c := store.Cursors{Endpoint: store.Endpoint{App: "demo", Name: "main"}, Term: 1}
	for i := 0; b.Loop(); i++ {
		c.Lanes = slices.Repeat([]store.Cursor{{Position: fmt.Sprint(i, ".12.0"), State: []byte("state of a lane")}}, 16)
		revision, err := s.SaveCursors(context.Background(), c)
		if err != nil {
			b.Fatal(err)
		}
		c.Revision = revision
	}
}

// BenchmarkSaveBase copies a checkpoint of 1,024 shards.
func BenchmarkSaveBase(b *testing.B) {
	for _, size := range []int{2 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("bytes/shard=%d", size), func(b *testing.B) {
			s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true, MaxBytes: 2 << 30})
			defer stop()
			ctx := context.Background()
			state := make([]byte, size)
			for n := range store.Shards {
				for i := range state {
					state[i] = byte((i * n) >> (i % 7)) // compresses by about a half
				}
				if err := s.SaveShard(ctx, n, 1, state); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(size * store.Shards))
			var base store.Base
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				pos, err := s.Append(ctx, fmt.Sprint(i), storetest.Records(1, 1))
				if err == nil {
					err = s.Advance(ctx, pos.Sequence, 0)
				}
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if base, err = s.SaveBase(ctx); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(base.Bytes), "B")
		})
	}
}
