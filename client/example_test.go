package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

// config is for a server on this machine; see `porchlight dev`.
func config() client.Config {
	return client.Config{
		Addr:   "127.0.0.1:7401",
		Token:  func(context.Context) (string, error) { return os.Getenv("PORCHLIGHT_TOKEN"), nil },
		Device: client.Device{Platform: "linux", Locale: "en-US"},
	}
}

// Watch two users and print what happens to them.
func ExampleClient_Open() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	s, err := c.Open(ctx, client.Options{Watch: []string{"bob", "carol"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for change := range s.Changes() {
		switch change.Kind {
		case client.ChangePresence:
			fmt.Println(change.User, "available:", change.Presence.Available)
			for _, step := range change.Sessions {
				fmt.Println(" ", step.Kind, step.Session.Platform, step.Session.Show, step.Session.Text)
			}
		case client.ChangeLinkDown:
			fmt.Println("link lost, what is shown may be old:", change.Err)
		case client.ChangeLinkUp:
			fmt.Println("link back")
		}
	}
	fmt.Println(s.Err())
}

// Be busy for a while, then leave.
func ExampleSession_Set() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	s, err := c.Open(ctx, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = s.Set(ctx, client.Status{Show: client.Busy, Text: "in a match", Properties: map[string]any{"map": "dust", "level": 7}})
	var e *client.Error
	switch {
	case errors.As(err, &e) && e.Temporary():
		fmt.Println("will be told when the link is back:", err)
	case err != nil:
		fmt.Println("refused:", err)
	}
	if err := s.Leave(ctx); err != nil {
		fmt.Println(err)
	}
}

// Ask once, without being online.
func ExampleClient_Query() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := client.New(config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	people, err := c.Query(ctx, "bob", "carol")
	if err != nil {
		fmt.Println(err, client.ReasonOf(err))
		return
	}
	for _, p := range people {
		fmt.Println(p.User, p.Available, len(p.Sessions), p.LastSeen)
	}
}

// Show a friend list, whoever is on it, and follow it.
func ExampleSession_WatchFriends() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	s, err := c.Open(ctx, client.Options{Friends: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for change := range s.Changes() {
		switch change.Kind {
		case client.ChangePresence:
			fmt.Println(change.User, "available:", change.Presence.Available)
		case client.ChangeUnwatched:
			fmt.Println(change.User, "is no friend any more; left:", s.Known())
		case client.ChangeFriendsDown:
			fmt.Println("the list cannot be read, it is tried again:", change.Err)
		}
	}
}

// Keep a list of people on the screen, over the live door.
func ExampleNewStore() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cfg := config()
	cfg.Addr = "ws://127.0.0.1:7400"
	c, err := client.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	s, err := c.Open(ctx, client.Options{Friends: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	people := client.NewStore(s)
	stop := people.OnChange(func(change client.StoreChange) {
		switch change.Kind {
		case client.StoreJoined:
			fmt.Println(change.User, "is here")
		case client.StoreLeft:
			fmt.Println(change.User, "has left, last seen", change.Now.LastSeen)
		default:
			fmt.Println(len(people.All()), "people are known")
		}
	})
	defer stop()
	<-people.Done()
	fmt.Println(s.Err())
}
