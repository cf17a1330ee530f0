package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// mailOf reads all entries from a sequence on.
func mailOf(t testing.TB, s store.Mailboxes, from uint64) (all map[uint64]string, last uint64) {
	t.Helper()
	all = map[uint64]string{}
	before := uint64(0)
	last, err := s.ReplayMail(context.Background(), from, func(seq uint64, entry []byte) error {
		if seq <= before || seq < from {
			t.Errorf("entry %d after %d, from %d: out of order", seq, before, from)
		}
		before, all[seq] = seq, string(entry)
		return nil
	})
	if err != nil {
		t.Errorf("ReplayMail: got %v, want no error", err)
	}
	return all, last
}

// mailEntries: entries come back in order, one by one too, and across openings.
func mailEntries(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	if all, last := mailOf(t, s, 0); len(all) != 0 || last != 0 {
		t.Errorf("empty: got %d entries through %d, want none through 0", len(all), last)
	}
	want, last := map[uint64]string{}, uint64(0)
	for round := range 3 {
		for i := range 5 {
			entry := fmt.Sprintf("\x00\xff entry %d.%d", round, i)
			seq, err := s.AppendMail(ctx, last, []byte(entry))
			if err != nil || seq <= last {
				t.Fatalf("AppendMail after %d: got %d, %v, want a higher sequence", last, seq, err)
			}
			want[seq], last = entry, seq
		}
		if all, end := mailOf(t, s, 0); cmp.Diff(want, all) != "" || end != last {
			t.Errorf("round %d, through %d, want %d (-want +got):\n%s", round, end, last, cmp.Diff(want, all))
		}
		s = b.store()
	}
	for seq, entry := range want {
		if got, err := s.ReadMail(ctx, seq); string(got) != entry || err != nil {
			t.Errorf("ReadMail(%d): got %q, %v, want %q", seq, got, err, entry)
		}
	}
	for _, seq := range []uint64{0, last + 1} {
		if _, err := s.ReadMail(ctx, seq); !errors.Is(err, store.ErrNoMail) {
			t.Errorf("ReadMail(%d): got %v, want ErrNoMail", seq, err)
		}
	}
	if all, _ := mailOf(t, s, last); len(all) != 1 {
		t.Errorf("from the last on: got %d entries, want it", len(all))
	}
	if all, end := mailOf(t, s, last+1); len(all) != 0 || end != last {
		t.Errorf("from behind the last on: got %d entries through %d, want none through %d", len(all), end, last)
	}
	enough := errors.New("enough")
	if _, err := s.ReplayMail(ctx, 0, func(uint64, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a callback's error: got %v, want it back", err)
	}
}

// mailBehindTheLast: an entry is stored only behind what its writer saw.
func mailBehindTheLast(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	if _, err := s.AppendMail(ctx, 1, []byte("x")); !errors.Is(err, store.ErrMoved) || !errors.Is(err, store.ErrRefused) {
		t.Errorf("behind what never was: got %v, want ErrMoved", err)
	}
	// Writers that do not know of one another: each adds one to what it read.
	const writers, each = 4, 20
	var wg sync.WaitGroup
	var lost atomic.Int32
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					last, sum := uint64(0), 0
					_, err := s.ReplayMail(ctx, 0, func(seq uint64, entry []byte) error {
						last, sum = seq, len(entry)
						return nil
					})
					if err == nil {
						_, err = s.AppendMail(ctx, last, bytes.Repeat([]byte{'x'}, sum+1))
					}
					if err == nil {
						break
					}
					if !errors.Is(err, store.ErrMoved) {
						t.Errorf("AppendMail: got %v, want no error but ErrMoved", err)
						return
					}
					lost.Add(1)
				}
			}
		})
	}
	wg.Wait()
	all, last := mailOf(t, s, 0)
	if len(all) != writers*each || len(all[last]) != writers*each {
		t.Errorf("got %d entries, the last of %d, want %d: an update was lost (%d tries refused)", len(all), len(all[last]), writers*each, lost.Load())
	}
	s = b.store()
	if _, err := s.AppendMail(ctx, last-1, []byte("x")); !errors.Is(err, store.ErrMoved) {
		t.Errorf("opened again, behind the last but one: got %v, want ErrMoved", err)
	}
	if _, err := s.AppendMail(ctx, last, []byte("x")); err != nil {
		t.Errorf("opened again: got %v, want no error", err)
	}
}

// mailCut: what is cut is gone for good, its numbers are not given again, and
// the last entry stays.
func mailCut(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	var seqs []uint64
	last := uint64(0)
	for i := range 10 {
		seq, err := s.AppendMail(ctx, last, bytes.Repeat([]byte{byte(i)}, 1000))
		if err != nil {
			t.Fatal(err)
		}
		seqs, last = append(seqs, seq), seq
	}
	for _, c := range []struct {
		before uint64
		left   int
	}{{0, 10}, {seqs[0], 10}, {seqs[4], 6}, {seqs[2], 6}, {last + 100, 1}, {last + 100, 1}} {
		if err := s.CutMail(ctx, c.before); err != nil {
			t.Errorf("CutMail(%d): got %v, want no error", c.before, err)
		}
		if all, end := mailOf(t, s, 0); len(all) != c.left || end != last {
			t.Errorf("cut before %d: got %d entries through %d, want %d through %d", c.before, len(all), end, c.left, last)
		}
		s = b.store()
		if all, end := mailOf(t, s, 0); len(all) != c.left || end != last {
			t.Errorf("cut before %d, opened again: got %d entries through %d, want %d through %d", c.before, len(all), end, c.left, last)
		}
	}
	if _, err := s.ReadMail(ctx, seqs[0]); !errors.Is(err, store.ErrNoMail) {
		t.Errorf("an entry that was cut: got %v, want ErrNoMail", err)
	}
	if seq, err := s.AppendMail(ctx, last, []byte("next")); err != nil || seq <= last {
		t.Errorf("after the cuts: got %d, %v, want a sequence above %d", seq, err, last)
	}
}

// mailLimits: what is too large, and what is too much, is refused and changes
// nothing.
func mailLimits(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	for _, size := range []int{0, store.MaxMail + 1} {
		if _, err := s.AppendMail(ctx, 0, make([]byte, size)); !errors.Is(err, store.ErrRefused) || errors.Is(err, store.ErrMoved) {
			t.Errorf("an entry of %d bytes: got %v, want ErrRefused", size, err)
		}
	}
	var last uint64
	entry := bytes.Repeat([]byte("m"), store.MaxMail)
	for stored := int64(0); ; stored += int64(len(entry)) {
		seq, err := s.AppendMail(ctx, last, entry)
		if errors.Is(err, store.ErrRefused) {
			if stored == 0 || stored+2*int64(len(entry)) < s.MailLimit() {
				t.Errorf("refused after %d bytes, want about %d: %v", stored, s.MailLimit(), err)
			}
			break
		}
		if err != nil || stored > s.MailLimit() {
			t.Fatalf("AppendMail after %d bytes of %d: got %v, want it taken until full", stored, s.MailLimit(), err)
		}
		last = seq
	}
	if all, end := mailOf(t, s, last); len(all) != 1 || end != last {
		t.Errorf("after a refusal: got %d entries through %d, want the last, %d", len(all), end, last)
	}
	if err := s.CutMail(ctx, last); err != nil {
		t.Errorf("CutMail: got %v, want no error", err)
	}
	if _, err := s.AppendMail(ctx, last, entry); err != nil {
		t.Errorf("after a cut: got %v, want no error", err)
	}
}
