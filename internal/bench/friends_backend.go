package bench

import (
	"context"
	"fmt"
	"sync"

	"github.com/porchlight-dev/porchlight/client"
)

// backend plays the app's own backend: it writes friend lists, and the presence
// of users that need no device.
type backend struct{ *client.Backend }

func newBackend(addr, key string) (backend, error) {
	b, err := client.NewBackend(client.BackendConfig{URL: "http://" + addr, Key: key})
	return backend{b}, err
}

func (b backend) appear(ctx context.Context, user string) error {
	_, err := b.PutPresence(ctx, user, client.ServerPresence{Status: client.Status{Text: "at the bench"}, TTL: presenceLife})
	return err
}

func (b backend) disappear(ctx context.Context, user string) error {
	_, err := b.RemovePresence(ctx, user, "")
	return err
}

func (b backend) replace(ctx context.Context, user string, friends []string) error {
	_, _, err := b.SetFriends(ctx, user, friends)
	return err
}

func (b backend) forget(ctx context.Context, user string) error { return b.replace(ctx, user, nil) }

func (b backend) befriend(ctx context.Context, user, friend string, added bool) (err error) {
	if added {
		_, err = b.AddFriend(ctx, user, friend, false)
	} else {
		_, err = b.RemoveFriend(ctx, user, friend, false)
	}
	return err
}

// each calls do for every user, several at once, until one fails.
func each(ctx context.Context, users []string, atOnce int, do func(context.Context, string) error, bar *bar) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan string)
	var running sync.WaitGroup
	for range atOnce {
		running.Go(func() {
			for user := range next {
				if err := do(ctx, user); err != nil {
					cancel(fmt.Errorf("bench: %s: %w", user, err))
				}
			}
		})
	}
	for i, user := range users {
		if ctx.Err() != nil {
			break
		}
		next <- user
		bar.at(int64(i))
	}
	close(next)
	running.Wait()
	return context.Cause(ctx)
}
