package natsstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// Readers begin at the bases that are there while another one is written, which
// takes long when there are many users.
func TestBasesAreReadWhileOneIsWritten(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a reader that waits would wait for ever
	defer cancel()
	s, stop := open(t, t.TempDir(), natsstore.Config{Temporary: true})
	defer stop()
	record := presence.Record{Kind: presence.RecordOpened, User: presence.User{App: "demo", ID: "alice"}, Session: presence.SessionID{1}, Time: 1, Reason: presence.ReasonOpened}
	pos, err := s.Append(ctx, "m1", []presence.Record{record})
	if err == nil {
		err = s.Advance(ctx, pos.Sequence, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	base, err := s.SaveBase(ctx)
	if err != nil {
		t.Fatal(err)
	}
	let := s.HoldBases()
	read := make(chan error, 1)
	go func() {
		all, err := s.Bases(ctx)
		if err == nil && (len(all) != 1 || all[0] != base) {
			err = errors.New("not the base that there is")
		}
		if err == nil {
			err = s.ReadBase(ctx, base.Position, 0, store.Shards-1, func(int, uint64, []byte) error { return nil })
		}
		read <- err
	}()
	select {
	case err = <-read:
	case <-time.After(5 * time.Second):
		err = errors.New("it waits")
	}
	let()
	if err != nil {
		t.Errorf("reading a base: %v", err)
	}
}
