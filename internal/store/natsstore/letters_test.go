package natsstore_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

func TestLettersGoWithTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, e := context.Background(), store.Endpoint{App: "demo", Name: "main"}
		s, stop := open(t, t.TempDir(), natsstore.Config{Temporary: true})
		defer stop()
		for _, id := range []presence.UserID{"early", "early too", "late"} {
			if err := s.AddLetters(ctx, e, []store.Letter{{User: presence.User{App: "demo", ID: id}}}); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Minute)
		}
		s.ExpireLetters(ctx, time.Hour)
		if n, err := s.CountLetters(ctx, e); n != 3 || err != nil {
			t.Errorf("none is too old: got %d, %v, want 3", n, err)
		}
		s.ExpireLetters(ctx, 90*time.Second)
		left, _, err := s.ListLetters(ctx, e, store.LetterFilter{}, store.LetterPage{Limit: 9})
		if err != nil || len(left) != 1 || left[0].User.ID != "late" {
			t.Errorf("two are too old: got %v, %v, want the late one", left, err)
		}
		s.ExpireLetters(ctx, time.Second)
		if n, err := s.CountLetters(ctx, e); n != 0 || err != nil {
			t.Errorf("all are too old: got %d, %v, want none", n, err)
		}
	})
}
