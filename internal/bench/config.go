package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// The phases of the standard load, in the order in which they run.
const (
	// PhaseLogin logs all users in, a bounded number at a time: session made,
	// friends subscribed, stream opened, snapshot complete.
	PhaseLogin = "login"
	// PhaseIdle measures the memory of the server with everybody connected. It
	// runs right after the login, before any load has grown buffers and heap.
	PhaseIdle = "idle"
	// PhaseUnloaded sends one change at a time and waits for all its watchers.
	PhaseUnloaded = "unloaded"
	// PhaseSaturate keeps a fixed number of changes under way.
	PhaseSaturate = "saturate"
	// PhaseHalf sends changes at random times at half of the rate that saturate
	// reached; with null servers, half of the slowest one's rate for all.
	PhaseHalf = "half"
	// PhaseSteady sends changes at random times, 20,000 deliveries per second.
	PhaseSteady = "steady"
	// PhaseStuck is steady beside watchers of many users who do not read: what
	// each of them costs, and what the others feel of it.
	PhaseStuck = "stuck"
	// PhaseStorm is saturate with ten times as many changes under way, so that
	// deep queues build up.
	PhaseStorm = "storm"
)

// Phases lists the phases of a door's load in the order in which they run.
func Phases(door string) []string {
	all := []string{PhaseLogin, PhaseIdle, PhaseUnloaded, PhaseSaturate, PhaseHalf}
	if door == DoorLive {
		all = append(all, PhaseSteady, PhaseStuck, PhaseStorm)
	}
	return all
}

// The doors that the load speaks, and DoorTopics.
const (
	DoorGRPC = "grpc"
	DoorLive = "live"
	// DoorTopics is the live door with another load: topic messages. Every user is
	// a subscriber; access tokens say so, with LoadTopic and LoadAttribute.
	DoorTopics = "topics"
)

// Doors lists them.
func Doors() []string { return []string{DoorGRPC, DoorLive, DoorTopics} }

// Bounds of a load, so that no flag can take the machine down.
const (
	maxUsers   = 100_000
	maxFriends = 2_000 // the door's own limit of explicit subscriptions
	maxSeconds = 600
	// maxSubscribers of the topic: each is told of every change.
	maxSubscribers = 10_000
)

// Start starts one server of the run in a process of its own and returns its
// loopback address, its process id and how to stop it. It returns when the
// server accepts connections, or with an error when ctx ends first. stop is
// called exactly once, also after ctx has ended, and waits for the process.
type Start func(ctx context.Context) (addr string, pid int, stop func() error, err error)

// Config says what to measure. Either Addr or Self must be given; all other
// fields have defaults.
type Config struct {
	Addr string // a server that runs already: a loopback address with port
	Self Start  // or starts the server to measure
	Null Start  // starts the null server; nil measures without ratios
	// NullEpoll starts a second null server, which coalesces (LiveNullEpoll). It
	// is measured as well; goals are ratios to Null.
	NullEpoll Start

	Door    string   // one of Doors; default DoorGRPC
	Users   int      // how many log in; default 5,000, of topics 1,000
	Friends int      // how many others each of them watches; default 50
	Phases  []string // which phases are reported; default all
	Seconds int      // of each timed phase; default 5, at most 600
	Seed    uint64   // of graph, order and timing; default 1

	// Token returns the access token of a user. It is called once for each user,
	// before anything is measured.
	Token func(user string) (string, error)

	Progress io.Writer // where the progress bar is drawn; nil draws none
	Report   func(Row) // gets each row as its phase ends; nil drops them
}

// withDefaults returns c with its zero values filled in, or what is wrong
// with it.
func (c Config) withDefaults() (Config, error) {
	if c.Door == "" {
		c.Door = DoorGRPC
	}
	if c.Users == 0 && c.Door == DoorTopics {
		c.Users = 1000
	}
	if c.Users == 0 {
		c.Users = 5000
	}
	if c.Door == DoorTopics {
		c.Friends = c.Users // who hears of a change
	}
	if c.Friends == 0 {
		c.Friends = 50
	}
	if c.Seconds == 0 {
		c.Seconds = 5
	}
	if c.Seed == 0 {
		c.Seed = 1
	}
	if len(c.Phases) == 0 {
		c.Phases = Phases(c.Door)
	}
	if c.Report == nil {
		c.Report = func(Row) {}
	}
	return c, c.check()
}

func (c Config) check() error {
	switch {
	case c.Addr == "" && c.Self == nil:
		return errors.New("bench: no server: give an address or let the bench start one")
	case c.Addr != "" && c.Self != nil:
		return errors.New("bench: give either an address or a server to start, not both")
	case c.Token == nil:
		return errors.New("bench: no way to get access tokens")
	case !slices.Contains(Doors(), c.Door):
		return fmt.Errorf("bench: door %q is not known; there are %q", c.Door, Doors())
	case c.NullEpoll != nil && c.Null == nil:
		return errors.New("bench: the second null server comes beside the first, not in its place")
	case c.Users < 2 || c.Users > maxUsers:
		return fmt.Errorf("bench: %d users; 2 to %d are possible", c.Users, maxUsers)
	case c.Door == DoorTopics && c.Users > maxSubscribers:
		return fmt.Errorf("bench: %d subscribers of a topic; %d are possible", c.Users, maxSubscribers)
	case c.Door == DoorTopics:
	case c.Friends < 1 || c.Friends > maxFriends || c.Friends >= c.Users:
		return fmt.Errorf("bench: %d friends; 1 to %d are possible, and fewer than the %d users", c.Friends, maxFriends, c.Users)
	case c.Users*c.Friends%2 != 0:
		return fmt.Errorf("bench: %d users with %d friends each cannot all be friends of each other; make one of the numbers even", c.Users, c.Friends)
	case c.Seconds < 1 || c.Seconds > maxSeconds:
		return fmt.Errorf("bench: %d seconds; 1 to %d are possible", c.Seconds, maxSeconds)
	}
	for _, p := range c.Phases {
		if !slices.Contains(Phases(c.Door), p) {
			return fmt.Errorf("bench: phase %q is not known at door %s; there are %q", p, c.Door, Phases(c.Door))
		}
	}
	if c.Addr != "" {
		if _, err := loopback(c.Addr); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) reports(phase string) bool { return slices.Contains(c.Phases, phase) }

// loopback parses addr and refuses whatever is not on this machine: the load
// would be an attack elsewhere.
func loopback(addr string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return ap, fmt.Errorf("bench: server address %q is not an IP address with a port, such as 127.0.0.1:7401", addr)
	}
	if ip := ap.Addr().Unmap(); !ip.IsLoopback() {
		return ap, fmt.Errorf("bench: server address %s is not on this machine; the load only goes to loopback addresses (127.0.0.1 or ::1)", addr)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}
