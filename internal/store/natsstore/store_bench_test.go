package natsstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// Run with:
//
//	go test -run '^$' -bench . -benchtime 2s ./internal/store/natsstore
//
// The directory is the system's temporary one (TMPDIR): let it be on the disk
// in question.

// BenchmarkCommit stores single records through the Committer with the disk's
// sync, each submitter waiting for its last one: openings acknowledged.
func BenchmarkCommit(b *testing.B) {
	for _, submitters := range []int{1, 64, 1024} {
		for name, burst := range map[string]int{"within burst": 1 << 30, "paced": 1} {
			b.Run(fmt.Sprintf("submitters=%d/%s", submitters, name), func(b *testing.B) {
				s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true})
				defer stop()
				c := store.NewCommitter(s, store.CommitterConfig{Burst: burst})
				c.Start()
				b.ReportAllocs()
				b.ResetTimer()
				submitAll(b, c, submitters)
				b.StopTimer()
				if err := c.Stop(context.Background()); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
				b.ReportMetric(float64(c.Stats().Messages)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}

// submitAll submits b.N records from so many submitters.
func submitAll(b *testing.B, c *store.Committer, submitters int) {
	record := storetest.Records(1, 1)[0]
	record.Kind = presence.RecordOpened
	var wg sync.WaitGroup
	for i := range submitters {
		n := b.N / submitters
		if i < b.N%submitters {
			n++
		}
		wg.Go(func() {
			stored := make(chan error, 1)
			for range n {
				c.Submit(store.Claim{Record: record, Done: func(_ store.Position, err error) { stored <- err }})
				if err := <-stored; err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkReplay reads a log back, at a start's pace.
func BenchmarkReplay(b *testing.B) {
	for _, size := range []int{1, 16, store.MaxRecords} {
		b.Run(fmt.Sprintf("records/message=%d", size), func(b *testing.B) {
			s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true, MaxBytes: 1 << 30})
			defer stop()
			const messages = 4096
			records := storetest.Records(1, size)
			for i := range messages {
				if _, err := s.Append(context.Background(), fmt.Sprint(i), records); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			total := 0
			for b.Loop() {
				_, err := s.Replay(context.Background(), 0, func(_ uint64, rs []presence.Record) error {
					total += len(rs)
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(total/size)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkSaveShard stores one shard's state over and over; half of it is
// noise, as the ids in a real one are.
func BenchmarkSaveShard(b *testing.B) {
	for _, size := range []int{20 << 10, 200 << 10, 20 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			s, stop := open(b, b.TempDir(), natsstore.Config{Temporary: true})
			defer stop()
			state := make([]byte, size)
			rnd := rand.NewChaCha8([32]byte{})
			for i := 0; i+32 <= size; i += 32 {
				_, _ = rnd.Read(state[i : i+16])
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				if err := s.SaveShard(context.Background(), 1, i, state); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
