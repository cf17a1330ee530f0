package bench

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func friendsConfig() FriendsConfig {
	return FriendsConfig{
		GRPC: "127.0.0.1:7401", HTTP: "127.0.0.1:7400", Key: "k",
		Token: func(string, time.Duration) (string, error) { return "t", nil },
	}
}

func TestFriendsRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*FriendsConfig)
		want   string
	}{
		{"no server", func(c *FriendsConfig) { c.GRPC = "" }, "no server"},
		{"half a server", func(c *FriendsConfig) { c.HTTP = "" }, "both its addresses"},
		{"two servers", func(c *FriendsConfig) { c.Self = nullHere }, "not both"},
		{"no key", func(c *FriendsConfig) { c.Key = "" }, "server key"},
		{"no tokens", func(c *FriendsConfig) { c.Token = nil }, "access tokens"},
		{"too many friends", func(c *FriendsConfig) { c.Sizes = []int{50, 10_001} }, "10001"},
		{"none", func(c *FriendsConfig) { c.Sizes = []int{0} }, "list of 0"},
		{"elsewhere", func(c *FriendsConfig) { c.GRPC = "192.0.2.1:7401" }, "not on this machine"},
		{"backend elsewhere", func(c *FriendsConfig) { c.HTTP = "192.0.2.1:7400" }, "not on this machine"},
		{"one address of two", func(c *FriendsConfig) { c.GRPC, c.HTTP, c.Self = "", "", nullHere }, "two addresses"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := friendsConfig()
			c.change(&cfg)
			if err := Friends(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestFriendsTellsABadEnd: a server that ends badly is an error, whatever else
// went wrong.
func TestFriendsTellsABadEnd(t *testing.T) {
	t.Parallel()
	bad := errors.New("the server ended badly")
	cfg := friendsConfig()
	cfg.GRPC, cfg.HTTP = "", ""
	cfg.Self = func(context.Context) (string, int, func() error, error) {
		return "nothing", 0, func() error { return bad }, nil
	}
	if err := Friends(t.Context(), cfg); !errors.Is(err, bad) || !strings.Contains(err.Error(), "two addresses") {
		t.Errorf("got %v, want both what was wrong and the bad end", err)
	}
}

// TestFriendLists: each list has its length, no user twice, and the share that
// is online.
func TestFriendLists(t *testing.T) {
	t.Parallel()
	f := &friends{}
	for i := range onlineUsers {
		f.online = append(f.online, strings.Repeat("x", i+1))
	}
	for _, size := range FriendSizes() {
		seen := map[string]bool{}
		there := 0
		for _, id := range f.list(3, size) {
			seen[id] = true
			if !strings.HasPrefix(id, "bench-offline") {
				there++
			}
		}
		if want := min(size/2, onlineUsers); len(seen) != size || there != want {
			t.Errorf("a list of %d: %d different users, %d of them online, want %d", size, len(seen), there, want)
		}
	}
}

func TestFriendsTable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := FriendsTable(&b, []FriendsRow{
		{Phase: PhaseFriends, Friends: 50, Count: 100, CPU: 0.3, P50: 0.5, P99: 1.6},
		{Phase: PhaseListChange, Friends: 500, Count: 500, P50: 0.7, P99: 5.1},
		{Phase: PhaseBatchQuery, Users: 200, Count: 1000, P50: 0.4, P99: 5.4},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"subscribe to 50 friends", "0.3", "p99 ≤ 5  missed", "p50 ≤ 1  met"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, b.String())
		}
	}
}
