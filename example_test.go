package porchlight_test

import (
	"context"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/client"
)

// Run a node inside a program, watch a user, and stop.
func Example() {
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: bob busy in a call
}

func run(ctx context.Context) error {
	srv, err := porchlight.New(porchlight.Options{HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer srv.Stop(ctx)
	if err := srv.Start(ctx); err != nil {
		return err
	}

	bob, err := signIn(srv, "bob")
	if err != nil {
		return err
	}
	defer bob.Close()
	if _, err := bob.Open(ctx, client.Options{Status: client.Status{Show: client.Busy, Text: "in a call"}}); err != nil {
		return err
	}

	alice, err := signIn(srv, "alice")
	if err != nil {
		return err
	}
	defer alice.Close()
	session, err := alice.Open(ctx, client.Options{Watch: []string{"bob"}})
	if err != nil {
		return err
	}
	change := <-session.Changes()
	seen := change.Presence.Sessions[0]
	fmt.Println(change.User, seen.Show, seen.Text)
	return nil
}

// signIn gives a client with tokens of the development key; products have theirs
// from an identity provider.
func signIn(srv *porchlight.Server, user string) (*client.Client, error) {
	return client.New(client.Config{
		Addr:  srv.GRPCAddr().String(),
		Token: func(context.Context) (string, error) { return srv.Token("demo", user, time.Hour) },
	})
}

// A configuration of one's own by value: two products that know nothing of each
// other, the data in a directory that stays.
func ExampleNew() {
	srv, err := porchlight.New(porchlight.Options{
		Config: []byte(`
apps:
  shop:
    jwt: {issuer: https://id.shop.example, keys: [{id: k1, secret: a-secret-of-the-shop-32-bytes-at-least}]}
    policy: {grace: 10s, multi_device: one_per_platform}
  game:
    jwt: {issuer: https://id.game.example, keys: [{id: k1, secret: a-secret-of-the-game-32-bytes-at-least}]}
listen: {http: 127.0.0.1:0, grpc: 127.0.0.1:0}
data: /var/lib/porchlight
`),
		Environ: []string{"PORCHLIGHT_APPS_GAME_LIMITS_SESSIONS=4"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := srv.Token("shop", "alice", time.Hour)
	fmt.Println(len(token) > 0, err)
	// Output: true <nil>
}
