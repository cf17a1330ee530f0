package natsstore_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// readsMuch appends small messages and then big ones, in all more than the engine sends
// ahead of either, and reads them.
func readsMuch(t *testing.T, s *natsstore.Store, small int) {
	t.Helper()
	const big, each = 700, 256
	for i := range small + big {
		records := storetest.Records(i, 1)
		if i >= small {
			records = storetest.Records(i, each)
		}
		if _, err := s.Append(context.Background(), fmt.Sprint(i), records); err != nil {
			t.Fatal(err)
		}
	}
	messages, bytes := 0, 0
	next, err := s.Replay(context.Background(), 0, func(_ uint64, rs []presence.Record) error {
		messages, bytes = messages+1, bytes+len(presence.AppendRecords(nil, rs))
		return nil
	})
	if err != nil || messages != small+big || next != uint64(small+big)+1 || bytes < 17<<20 {
		t.Errorf("got %d messages of %d bytes, before %d, %v, want %d of more than 17 MB", messages, bytes, next, err, small+big)
	}
}

// TestReadsMuch: more messages, and more bytes, than are sent ahead at once are read whole.
func TestReadsMuch(t *testing.T) {
	t.Parallel()
	s, stop := open(t, t.TempDir(), natsstore.Config{Temporary: true, MaxBytes: 1 << 30})
	defer stop()
	small := 9000
	if testing.Short() {
		small = 100 // a fifth of a second each thousand, ten times that under the race detector
	}
	readsMuch(t, s, small)
}

// TestReadsMuchOfSeveral: the same, of servers that keep it three times.
func TestReadsMuchOfSeveral(t *testing.T) {
	t.Parallel()
	s, stop := openOn(t, onServers(natsbustest.Start(t, natsbustest.Settings{}), "much"), natsstore.Config{MaxBytes: 256 << 20})
	defer stop()
	readsMuch(t, s, 50)
}

// TestAReaderTakesLittle: who reads a few messages makes no room for a million.
func TestAReaderTakesLittle(t *testing.T) { // not beside others: it counts what all allocate
	s, stop := open(t, t.TempDir(), natsstore.Config{Temporary: true})
	defer stop()
	if _, err := s.Append(context.Background(), "a", storetest.Records(1, 1)); err != nil {
		t.Fatal(err)
	}
	const times = 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		if _, err := s.Replay(context.Background(), 0, func(uint64, []presence.Record) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 1<<20 {
		t.Errorf("a reader takes %d KB, want less than 1 MB", each>>10)
	}
}
