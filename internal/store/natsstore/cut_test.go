package natsstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// TestReadsNoHole: who is so slow that the log is cut behind his back is told of
// the gap, and not given what comes behind it as if that were next.
func TestReadsNoHole(t *testing.T) {
	t.Parallel()
	type readings func(s *natsstore.Store, user presence.User, last uint64, f func(uint64, []presence.Record) error) error
	for name, read := range map[string]readings{
		"Replay": func(s *natsstore.Store, _ presence.User, _ uint64, f func(uint64, []presence.Record) error) error {
			_, err := s.Replay(context.Background(), 1, f)
			return err
		},
		"ReplayUser": func(s *natsstore.Store, user presence.User, last uint64, f func(uint64, []presence.Record) error) error {
			return s.ReplayUser(context.Background(), user, 1, last+1, f)
		},
		"ReplayUser of what went": func(s *natsstore.Store, user presence.User, last uint64, f func(uint64, []presence.Record) error) error {
			return s.ReplayUser(context.Background(), user, 1, last, f)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s, stop := open(t, dir, natsstore.Config{Temporary: true, MaxAge: time.Minute})
				defer stop()
				user := fillBeyondReadAhead(t, s)
				<-time.After(2 * time.Minute)
				young, err := s.Append(context.Background(), "young", storetest.Records(0, 1))
				if err != nil {
					t.Fatal(err)
				}
				next := uint64(1)
				err = read(s, user, young.Sequence, func(seq uint64, _ []presence.Record) error {
					if seq == 1 {
						if err := s.Advance(context.Background(), young.Sequence, 0); err != nil {
							t.Fatal(err)
						}
					}
					if seq != next {
						t.Errorf("got message %d, want %d or no more", seq, next)
					}
					next = seq + 1
					return nil
				})
				if !errors.Is(err, store.ErrGap) {
					t.Errorf("got %v after message %d, want ErrGap", err, next-1)
				}
			})
		})
	}
}

// fillBeyondReadAhead appends more than a reader is sent ahead, all about one user.
func fillBeyondReadAhead(t *testing.T, s store.Log) (user presence.User) {
	t.Helper()
	big := &presence.Status{}
	for i := range 28 {
		value := presence.Value{Kind: presence.KindText, Text: strings.Repeat("x", presence.MaxPropertyValue)}
		big.Properties = append(big.Properties, presence.Property{Key: fmt.Sprintf("k%02d", i), Value: value})
	}
	user = storetest.Records(0, 1)[0].User
	for i := range 10 {
		records := storetest.Records(i, store.MaxRecords)
		for j := range records {
			records[j].Kind, records[j].Status, records[j].User = presence.RecordCustom, big, user
		}
		if _, err := s.Append(context.Background(), fmt.Sprint("big", i), records); err != nil {
			t.Fatal(err)
		}
	}
	return user
}

// TestShortensWhereOthersAdvance: of several nodes one moves the checkpoint on; the
// disk of another may be the one that is full.
func TestShortensWhereOthersAdvance(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), MaxPayload: natsbus.MaxPayload, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	one := func() *natsstore.Store {
		s, stop := openOn(t, natsbus.Config{Cluster: &natsbus.Cluster{URLs: []string{srv.ClientURL()}, Replicas: 1}}, natsstore.Config{MaxBytes: 8 << 20})
		t.Cleanup(stop)
		return s
	}
	a, b := one(), one()
	fill(t, a, 64)
	if err := a.Advance(t.Context(), 40, 0); err != nil {
		t.Fatal(err)
	}
	b.Shorten(t.Context())
	if first, last := sequences(t, b); first != 33 || last != 64 {
		t.Errorf("shortened: got %d to %d, want half of 64 messages gone", first, last)
	}
	b.Shorten(t.Context())
	if first, _ := sequences(t, a); first != 40 {
		t.Errorf("shortened again: the log begins at %d, want 40, where the checkpoint is", first)
	}
}

func fill(t *testing.T, s store.Log, n int) {
	t.Helper()
	for i := range n {
		if _, err := s.Append(t.Context(), fmt.Sprint(i), storetest.Records(i, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeepsErasuresOfOtherNodes: who was erased later may be listed earlier, by
// another node, and be heard of later; he is forgotten no sooner for that.
func TestKeepsErasuresOfOtherNodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, dir, natsstore.Config{Temporary: true})
		listed := func() (at []uint64) {
			t.Helper()
			if _, err := s.Erasures(t.Context(), 0, func(e store.Erasure) error {
				at = append(at, e.Sequence)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return at
		}
		listed()
		hear := map[uint64]func(){}
		for _, sequence := range []uint64{5, 9, 8, 30} {
			var err error
			if hear[sequence], err = s.StoreErasure(t.Context(), sequence); err != nil {
				t.Fatal(err)
			}
		}
		for _, sequence := range []uint64{5, 8, 9, 30} {
			hear[sequence]()
		}
		if err := s.DropErasures(t.Context(), 9); err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"same store", "opened again"} {
			if got := listed(); !slices.Contains(got, 9) || !slices.Contains(got, 30) || slices.Contains(got, 5) {
				t.Errorf("%s: erasures at %v are left, want those at 9 and 30, and not that at 5", when, got)
			}
			stop()
			s, stop = open(t, dir, natsstore.Config{Temporary: true})
		}
		stop()
	})
}
