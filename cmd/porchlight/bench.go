package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/internal/bench"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// benchRole is the environment variable by which bench starts this program
// again as one of its servers.
const benchRole = "PORCHLIGHT_BENCH_ROLE"

// The roles of a child.
const (
	roleSelf = "self"
	roleNull = "null"
	// roleBoth is self that tells both its addresses, roleHTTP the one of HTTP.
	roleBoth = "both"
	roleHTTP = "http"
	// roleConfig is a server with the configuration file that benchConfig names.
	roleConfig = "config"
	// roleNode is one of several nodes, at the place that benchPlace says.
	roleNode = "node"
	// The null servers of the live door.
	roleNullLive  = "null-live"
	roleNullEpoll = "null-epoll"
)

// benchCommand measures a server.
type benchCommand struct {
	GRPC    string `name:"grpc" placeholder:"ADDR" help:"Measure the development node at this loopback address."`
	Self    bool   `help:"Start the server to measure as a child process (default without --grpc)."`
	Door    string `default:"grpc" help:"Interface to measure: grpc or live. Default: ${default}."`
	Users   *int   `placeholder:"N" help:"How many users log in. Default: 5000, of topics 1000."`
	Friends int    `default:"50" help:"How many others each watches. Default: ${default}."`
	Phase   string `placeholder:"P,…" help:"Phases to report: login, idle, unloaded, saturate, half; with --door live also steady, stuck, storm. Default: all. Or topics, alone: topic messages to subscribers at the live door. Or webhook, alone: the way of changes to a receiver, over servers of its own. Or notifications, alone: live notifications, over a server of its own."`
	Seconds int    `default:"5" help:"Length of each timed phase. Default: ${default}."`
	Null    bool   `help:"Measure null servers in the same run, and give ratios: one write for each delivery; with --door live also one on epoll."`
	JSON    bool   `name:"json" help:"One JSON object per phase and line."`

	Nodes    int `placeholder:"N" help:"Measure so many nodes instead, 3 to 7, that form a cluster on this machine. Phases: across (changes to watchers at other nodes), replicate (what all nodes take of each other), million (memory, a node that starts again, a node that dies). Default: all."`
	Sessions int `placeholder:"N" default:"1000000" help:"With --nodes, how many sessions the phase million opens. Default: ${default}."`

	FriendsSubscription bool   `help:"Measure friend lists instead: subscribing to 50, 500 and 10,000 friends, changes of a list, queries of 200 users. With --grpc, give --http too."`
	HTTP                string `name:"http" placeholder:"ADDR" help:"With --door live: measure the development node at this loopback address. With --friends-subscription and --grpc: HTTP address of the same node."`
}

// Help shows an example.
func (benchCommand) Help() string {
	return "Example:\n\n  porchlight bench --self --null --users 2000 --phase saturate,half\n  porchlight bench --door live --null\n  porchlight bench --nodes 3 --phase across,million"
}

// Run measures and prints.
func (b benchCommand) Run(ctx context.Context, c console) error {
	if b.Nodes != 0 {
		return b.several(ctx, c)
	}
	if b.Phase == bench.DoorTopics {
		b.Phase, b.Door = "", bench.DoorTopics
	}
	addr, flag := b.GRPC, "--grpc"
	if b.live() {
		addr, flag = b.HTTP, "--http"
		if b.GRPC != "" {
			return errors.New("the live door has its address at --http, not at --grpc")
		}
	}
	if b.Self && addr != "" {
		return fmt.Errorf("give either %s or --self", flag)
	}
	if b.Users != nil && *b.Users < 1 || b.Friends < 1 || b.Seconds < 1 {
		return errors.New("--users, --friends and --seconds are 1 or more")
	}
	if b.FriendsSubscription {
		return b.friends(ctx, c)
	}
	if b.Phase == bench.PhaseWebhook {
		return b.hooks(ctx, c)
	}
	if b.Phase == bench.PhaseNotifications {
		return b.notifications(ctx, c)
	}
	self, err := itself()
	if err != nil {
		return err
	}
	cfg := bench.Config{
		Addr: addr, Door: b.Door, Users: b.users(), Friends: b.Friends, Seconds: b.Seconds,
		Token: func(user string) (string, error) {
			p := config.TokenParams{App: "demo", User: user, TTL: 12 * time.Hour}
			if b.Door == bench.DoorTopics {
				p.Topics = &config.TokenTopics{
					Subscribe: []string{bench.LoadTopic}, Attributes: []config.TokenPublication{{Attribute: bench.LoadAttribute, Topic: bench.LoadTopic}},
				}
			}
			return config.Token(p)
		},
	}
	if b.Phase != "" {
		cfg.Phases = strings.Split(b.Phase, ",")
	}
	b.servers(&cfg, func(role string, env ...string) bench.Start {
		return bench.Child([]string{self}, append(env, benchRole+"="+role)...)
	})
	return report(b, c, func(bar io.Writer, row func(bench.Row)) error {
		cfg.Progress, cfg.Report = bar, row
		return bench.Run(ctx, cfg)
	}, bench.Table)
}

// users is how many log in, 0 for as many as the load thinks right.
func (b benchCommand) users() int {
	if b.Users == nil {
		return 0
	}
	return *b.Users
}

// live says whether the load speaks the live door's dialect.
func (b benchCommand) live() bool { return b.Door == bench.DoorLive || b.Door == bench.DoorTopics }

// servers sets the servers that are started for a run.
func (b benchCommand) servers(cfg *bench.Config, child func(role string, env ...string) bench.Start) {
	const unprofiled = "PORCHLIGHT_CPUPROFILE="
	self, null := roleSelf, roleNull
	if b.live() {
		self, null = roleHTTP, roleNullLive
	}
	if cfg.Addr == "" {
		cfg.Self = child(self)
	}
	if b.Null {
		cfg.Null = child(null, unprofiled)
		if b.live() {
			cfg.NullEpoll = child(roleNullEpoll, unprofiled)
		}
	}
}

// friends measures friend lists and prints.
func (b benchCommand) friends(ctx context.Context, c console) error {
	cfg := bench.FriendsConfig{
		GRPC: b.GRPC, HTTP: b.HTTP, Key: config.DevelopmentServerKey,
		Token: func(user string, life time.Duration) (string, error) {
			return config.Token(config.TokenParams{App: "demo", User: user, TTL: life})
		},
	}
	if b.GRPC == "" {
		self, err := itself()
		if err != nil {
			return err
		}
		cfg.Self = bench.Child([]string{self}, benchRole+"="+roleBoth)
	}
	return report(b, c, func(bar io.Writer, row func(bench.FriendsRow)) error {
		cfg.Progress, cfg.Report = bar, row
		return bench.Friends(ctx, cfg)
	}, bench.FriendsTable)
}

// benchChild is the child's side: a server that ends with its standard input.
func benchChild(ctx context.Context, c console, role string) int {
	if role == roleNode { // it reads its orders there
		return ended(c, benchNode(ctx, c))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	const anyPort = "127.0.0.1:0" // the system's choice
	ready := func(addr string) error { return bench.Ready(c.out, addr) }
	var err error
	switch role {
	case roleNull:
		err = bench.NullServer(ctx, anyPort, ready)
	case roleNullLive:
		err = bench.LiveNullServer(ctx, anyPort, ready)
	case roleNullEpoll:
		err = bench.LiveNullEpoll(ctx, anyPort, ready)
	case roleSelf, roleBoth, roleHTTP:
		o := porchlight.Options{HTTP: anyPort, GRPC: anyPort, Logger: logger(c)}
		err = hold(ctx, node{Options: o}, func(srv *porchlight.Server) error {
			grpc, http := srv.GRPCAddr().String(), srv.HTTPAddr().String()
			switch role {
			case roleBoth:
				return ready(grpc + " " + http)
			case roleHTTP:
				return ready(http)
			}
			return ready(grpc)
		})
	case roleConfig:
		err = benchConfigured(ctx, c, ready)
	default:
		err = fmt.Errorf("%s=%s is not known", benchRole, role)
	}
	return ended(c, err)
}

// ended is how a child ends.
func ended(c console, err error) int {
	if err != nil {
		fmt.Fprintln(c.err, "porchlight:", err)
		return 1
	}
	return 0
}
