package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// Config says which server to speak to, as whom, and from what device. Addr
// and Token are needed; every other zero value works.
type Config struct {
	// Addr is the server's host:port for gRPC. With a scheme it is the live door,
	// which passes wherever web pages do: ws://host:port or, with TLS,
	// wss://host:port, and a path if it is not /live.
	Addr string
	// More are addresses of further nodes of the same cluster, of the same kind as
	// Addr. When one takes no connection or no session, the next is tried, in turn;
	// whoever has a balancer before its nodes needs none.
	More []string
	// TLS is how to secure the connection. Nil is plaintext, which is refused
	// for any address but this machine's own, because the access token would
	// be readable on the way; with wss:// nil is TLS as the system has it.
	TLS *tls.Config
	// Insecure allows plaintext to other machines.
	Insecure bool
	// Token returns the access token (JWT) of the user. It is called before
	// the first call, and again only when the server said that the last one
	// expired or is invalid; never twice at the same time.
	Token func(ctx context.Context) (string, error)
	// Device is what the user holds. Its Locale decides the language of texts.
	Device Device
	// OnNotification is called with each live notification for the user, one at a
	// time, while a session is open; nil takes none, and leaves them to others. It
	// must return soon, for nothing else is read meanwhile. Only at the live door.
	OnNotification func(LiveNotification)
	// OnTopic is called with each message of the topics that the access token
	// names, as OnNotification is; nil subscribes to none. What is told while the
	// link is down is lost; TopicMessage.Missed says so when it is back.
	OnTopic func(TopicMessage)
	// Logger gets link losses and returns; nil is silence. It never gets tokens.
	Logger *slog.Logger
	// Backoff sets the pauses between attempts to get a lost link back.
	Backoff Backoff
	// Dialer replaces the way connections are made (a Unix socket, a network
	// in memory). It gets Addr, without scheme and path. Nil dials TCP.
	Dialer func(ctx context.Context, addr string) (net.Conn, error)
}

// Device is what the user holds; every field may be empty.
type Device struct {
	Platform string // such as "ios", "android", "web", "linux"
	Product  string // which product of the app
	Locale   string // BCP 47, such as "en-US"
	// ID is the same for every start on this device. A new session of a device
	// ends the older session with the same non-empty ID.
	ID      string
	Version string // of the program
}

// Backoff is how long to pause after failed attempts: between half of and the
// whole of First, doubled with each further failure up to Max. A pause that the
// server asks for is kept to the millisecond, or lengthened to the above from
// the second failure on.
type Backoff struct {
	First   time.Duration // default 1 s
	Max     time.Duration // default 30 s
	Healthy time.Duration // a link that held so long starts over from First; default 30 s; one that a node ended in order, as long as First
}

// withDefaults fills in zero fields.
func (b Backoff) withDefaults() Backoff {
	if b.First <= 0 {
		b.First = time.Second
	}
	if b.Max <= 0 {
		b.Max = 30 * time.Second
	}
	b.Max = max(b.Max, b.First)
	if b.Healthy <= 0 {
		b.Healthy = 30 * time.Second
	}
	return b
}

// pause returns how long to wait after the given number of failures in a row
// (1 or more), where the server asked for asked (0: it did not).
func (b Backoff) pause(failures int, asked time.Duration) time.Duration {
	if asked > 0 && failures <= 1 {
		return asked
	}
	d := b.First
	for range failures - 1 {
		if d *= 2; d >= b.Max {
			d = b.Max
			break
		}
	}
	// Half of it is random, so that the clients of a restarted server do not
	// all come back in the same moment.
	return max(d/2+rand.N(d/2+1), asked)
}

// enough is how long a link that ended with err must have held to start over. An
// ordered goodbye is no failure: where nodes are restarted one after the other, the
// pauses would else grow until others see the session go.
func (b Backoff) enough(err error) time.Duration {
	if ReasonOf(err) == ReasonDraining {
		return min(b.First, b.Healthy)
	}
	return b.Healthy
}

// check refuses a Config that cannot work or would leak the token.
func (c *Config) check() error {
	if c.Token == nil {
		return errors.New("porchlight: Config.Token is missing: a function that returns the user's access token")
	}
	for i, addr := range c.More {
		one := *c
		one.Addr, one.More = addr, nil
		if one.live() != c.live() {
			return fmt.Errorf("porchlight: Config.More[%d]: address %q is of another kind than %q: give gRPC addresses alone, or those of live doors alone", i, addr, c.Addr)
		}
		if err := one.check(); err != nil {
			return fmt.Errorf("porchlight: Config.More[%d]: %s", i, strings.TrimPrefix(err.Error(), "porchlight: "))
		}
	}
	if c.live() {
		host, err := liveAddress(c.Addr, c.TLS != nil)
		if err == nil && host != "" && !c.Insecure && !loopback(host) {
			err = fmt.Errorf("porchlight: plaintext to %q would show the access token on the way: use wss:// (or Config.Insecure to allow it)", host)
		}
		return err
	}
	if c.OnNotification != nil || c.OnTopic != nil {
		return fmt.Errorf("porchlight: Config.OnNotification and OnTopic are for the live door, and address %q is that of gRPC: use ws:// or wss://", c.Addr)
	}
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("porchlight: address %q: want host:port: %w", c.Addr, err)
	}
	if c.TLS == nil && !c.Insecure && !loopback(host) {
		return fmt.Errorf("porchlight: plaintext to %q would show the access token on the way: set Config.TLS (or Config.Insecure to allow it)", host)
	}
	return nil
}

// live reports whether Addr is that of a live door.
func (c *Config) live() bool { return strings.Contains(c.Addr, "://") }

// loopback reports whether host names this machine without asking a resolver.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
