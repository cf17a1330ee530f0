package porchlight_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/client"
)

// Run a node inside a program, watch a user, and stop.
func Example() {
	ctx := context.Background()
	srv, err := porchlight.New(porchlight.Options{HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Stop(ctx)
	if err := srv.Start(ctx); err != nil {
		log.Fatal(err)
	}

	as := func(user string) *client.Client {
		c, err := client.New(client.Config{
			Addr:  srv.GRPCAddr().String(),
			Token: func(context.Context) (string, error) { return srv.Token("demo", user, time.Hour) },
		})
		if err != nil {
			log.Fatal(err)
		}
		return c
	}
	alice, bob := as("alice"), as("bob")
	defer alice.Close()
	defer bob.Close()

	if _, err := bob.Open(ctx, client.Options{Status: client.Status{Show: client.Busy, Text: "in a call"}}); err != nil {
		log.Fatal(err)
	}
	watch, err := alice.Open(ctx, client.Options{Watch: []string{"bob"}})
	if err != nil {
		log.Fatal(err)
	}
	change := <-watch.Changes()
	session := change.Presence.Sessions[0]
	fmt.Println(change.User, session.Show, session.Text)
	// Output: bob busy in a call
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
