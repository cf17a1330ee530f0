package bench

import (
	"strings"
	"testing"
)

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := Config{Addr: "127.0.0.1:7401", Token: testToken}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if c.Door != DoorGRPC || c.Users != 5000 || c.Friends != 50 || c.Seconds != 5 || len(c.Phases) != 5 || c.Seed != 1 || c.Report == nil {
		t.Errorf("got %+v, want the standard load", c)
	}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no server", func(c *Config) { c.Addr = "" }, "no server"},
		{"two servers", func(c *Config) { c.Self = nullHere }, "not both"},
		{"no tokens", func(c *Config) { c.Token = nil }, "access tokens"},
		{"another door", func(c *Config) { c.Door = "fax" }, `door "fax"`},
		{"another phase", func(c *Config) { c.Phases = []string{"login", "warm"} }, `phase "warm"`},
		{"one user", func(c *Config) { c.Users = 1 }, "1 users"},
		{"negative users", func(c *Config) { c.Users = -5 }, "-5 users"},
		{"too many users", func(c *Config) { c.Users = 1 << 40 }, "possible"},
		{"too many friends", func(c *Config) { c.Users, c.Friends = 50, 50 }, "50 friends"},
		{"too many subscribers", func(c *Config) { c.Door, c.Users = DoorTopics, 10_001 }, "10001 subscribers"},
		{"odd", func(c *Config) { c.Users, c.Friends = 51, 5 }, "even"},
		{"too long", func(c *Config) { c.Seconds = 3600 }, "3600 seconds"},
		{"elsewhere", func(c *Config) { c.Addr = "192.0.2.1:7401" }, "not on this machine"},
		{"all addresses", func(c *Config) { c.Addr = "0.0.0.0:7401" }, "not on this machine"},
		{"name", func(c *Config) { c.Addr = "localhost:7401" }, "not an IP address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Addr: "127.0.0.1:7401", Token: testToken}
			c.change(&cfg)
			if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
