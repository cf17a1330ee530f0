package tracker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// TestWhoseLogWasCutIsGivenUp: a node that was away for so long that the log was cut
// behind it says that it must be started anew, and puts nothing into the checkpoint
// meanwhile that lacks what it has not read.
func TestWhoseLogWasCutIsGivenUp(t *testing.T) {
	if testing.Short() {
		t.Skip("six minutes of three nodes take long under the race detector")
	}
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		at, late := c.all[1], c.all[0]
		users := make([]presence.User, 12)
		put := func(name string) {
			t.Helper()
			for i := range users {
				users[i] = presence.User{App: app, ID: presence.UserID(fmt.Sprint("u", i))}
				if _, err := at.tr.PutPresence(context.Background(), PutParams{User: users[i], Name: name, Status: &presence.Status{}, TTL: time.Hour}); err != nil {
					t.Fatalf("PutPresence: %v", err)
				}
			}
		}
		c.isolate(late)
		at.open(presence.Device{})
		wait(20 * time.Second) // late stands before that
		put("desk")
		wait(3 * time.Minute)
		put("bot")
		_, next, err := c.mem.Ends(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c.mem.Forget(next)
		c.heal(late, false)
		wait(2 * time.Minute)
		select {
		case err := <-late.tr.Failed():
			if !errors.Is(err, store.ErrGap) || !strings.Contains(err.Error(), "start it anew") {
				t.Errorf("got %v", err)
			}
		default:
			t.Error("the node that misses a part of the log goes on")
		}
		for _, n := range slices.Clone(c.all) {
			c.kill(n)
		}
		wait(time.Minute)
		fresh := c.start(0)
		for _, u := range users {
			if got := fresh.looks(u); got != "[online online] [online online]" {
				t.Errorf("after a start of all, %s is %s", u.ID, got)
			}
		}
	})
}

// A node that starts has read the checkpoint when others move it on and cut the log
// behind it: it reads the newer one, and misses nothing.
func TestTheLogIsCutWhileANodeStarts(t *testing.T) {
	if testing.Short() {
		t.Skip("ten minutes of three nodes take long under the race detector")
	}
	inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
		at := c.all[0]
		put := func(name string) {
			t.Helper()
			for i := range 12 {
				user := presence.User{App: app, ID: presence.UserID(fmt.Sprint("u", i))}
				if _, err := at.tr.PutPresence(context.Background(), PutParams{User: user, Name: name, Status: &presence.Status{}, TTL: time.Hour}); err != nil {
					t.Fatalf("PutPresence: %v", err)
				}
			}
		}
		put("desk")
		wait(5 * time.Minute)
		reads := 0
		c.loaded = func() {
			if reads++; reads > 1 {
				return
			}
			put("bot")
			wait(5 * time.Minute)
			at.open(presence.Device{})
			_, next, err := c.mem.Ends(context.Background())
			if err != nil {
				t.Error(err)
			}
			c.mem.Forget(next)
		}
		fresh := c.start(2)
		if reads != 2 {
			t.Errorf("it read the checkpoint %d times, want twice", reads)
		}
		for i := range 12 {
			user := presence.User{App: app, ID: presence.UserID(fmt.Sprint("u", i))}
			if got, want := fresh.tr.shard(user).user(user).folded.Seq, at.tr.shard(user).user(user).folded.Seq; got != want {
				t.Errorf("%s: it knows of %d changes, want %d", user.ID, got, want)
			}
		}
	})
}
