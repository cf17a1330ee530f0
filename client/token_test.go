package client

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// expired refuses every token but the given one.
func expired(good *atomic.Value) func(string) error {
	return func(line string) error {
		if !strings.HasSuffix(line, " as "+good.Load().(string)) {
			return fault(codes.Unauthenticated, ReasonJWTExpired)
		}
		return nil
	}
}

func TestTokenIsFetchedAgainWhenExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var good atomic.Value
		good.Store("t1")
		f := &fake{refuse: expired(&good), streams: []func(*feed) error{
			func(d *feed) error {
				d.connected(&isonlinev1.Connected{})
				d.hold(time.Minute)
				good.Store("t3")
				d.closing(&isonlinev1.Closing{Reason: isonlinev1.ClosingReason_CLOSING_REASON_TOKEN_EXPIRED, SessionKept: true})
				return fault(codes.Unauthenticated, ReasonJWTExpired)
			},
			steady,
		}}
		srv := f.serve(t)
		fetched := 0
		c := newClient(t, f, Config{Token: func(context.Context) (string, error) {
			fetched++
			return fmt.Sprintf("t%d", fetched), nil
		}})
		for i, want := range []string{"t1", "t1", "t2"} {
			good.Store(want)
			if _, err := c.Query(t.Context(), "bob"); err != nil || fmt.Sprint("t", fetched) != want {
				t.Errorf("query %d: got %v after %d fetches, want nil with %s", i, err, fetched, want)
			}
		}
		s := open(t, c, Options{})
		<-time.After(50 * time.Second)
		expectLinkBack(t, s)
		if at := f.times("connect"); fetched != 3 || len(at) != 2 || at[1] != time.Minute {
			t.Errorf("after TOKEN_EXPIRED: %d fetches, connects at %v; want 3 and the second at 1m0s", fetched, at)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		srv.Stop()
	})
}

func TestTokenThatStaysExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var good atomic.Value
		good.Store("another")
		f := &fake{refuse: expired(&good), streams: []func(*feed) error{steady}}
		srv := f.serve(t)
		secret := "very-secret"
		fetched := 0
		c := newClient(t, f, Config{Token: func(context.Context) (string, error) { fetched++; return secret, nil }})
		_, err := c.Query(t.Context(), "bob")
		if ReasonOf(err) != ReasonJWTExpired || fetched != 2 || len(f.journal()) != 1 {
			t.Errorf("Query: got %v after %d fetches and %d calls, want JWT_EXPIRED after 2 and 1", err, fetched, len(f.journal()))
		}
		if _, err := c.Open(t.Context(), Options{}); ReasonOf(err) != ReasonJWTExpired || strings.Contains(err.Error(), secret) {
			t.Errorf("Open: got %v, want JWT_EXPIRED without the token", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		srv.Stop()
	})
}

// Several calls may be refused with one old token, and the last of them after a
// new one was fetched.
func TestRefuseSparesANewerToken(t *testing.T) {
	t.Parallel()
	fetched := 0
	a := newAccessTokens(func(context.Context) (string, error) { fetched++; return fmt.Sprint("t", fetched), nil })
	for i, refused := range []string{"", "t1", "t1", "t1"} {
		a.refuse(refused)
		want := "t2"
		if i == 0 {
			want = "t1"
		}
		if got, err := a.get(t.Context()); err != nil || got != want {
			t.Errorf("get %d: got %q, %v, want %q", i, got, err, want)
		}
	}
	a = newAccessTokens(func(context.Context) (string, error) { return "", nil })
	if _, err := a.get(t.Context()); err == nil {
		t.Error("an empty token is taken for one")
	}
}
