package natsbus

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// refusedFor is how long the words of a peer that refused us count: it is asked
// again each second.
const refusedFor = 10 * time.Second

// said keeps what the engine and the connections last complained about, for the
// errors of those who wait in vain.
type said struct {
	mu       sync.Mutex
	last     string
	denied   string
	twice    string // the name that another server has too
	refusals map[string]refusal
}

// refusal is why an address did not let us in, and when it said so.
type refusal struct {
	why string
	at  time.Time
}

// trouble keeps an error that no caller got.
func (b *Bus) trouble(err error) {
	if err == nil {
		return
	}
	b.said.mu.Lock()
	defer b.said.mu.Unlock()
	b.said.last = err.Error()
	if errors.Is(err, nats.ErrPermissionViolation) {
		b.said.denied = strings.TrimPrefix(err.Error(), "nats: ")
	}
}

// keep reads a line of the embedded server, which says what peers think of it
// nowhere else: "10.0.0.2:7402 - rid:60 - Route Error 'Authorization Violation'".
func (s *said) keep(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = line
	addr, rest, ok := strings.Cut(line, " - rid:")
	if !ok {
		return
	}
	if _, name, ok := strings.Cut(rest, "Remote server has a duplicate name: "); ok {
		s.twice = strings.Trim(name, `"`)
		return
	}
	why := ""
	switch {
	case strings.Contains(rest, "Route Error 'Authorization Violation'"):
		why = "does not take this node's password"
	case strings.Contains(rest, "TLS route handshake error: "):
		_, said, _ := strings.Cut(rest, "TLS route handshake error: ")
		if !strings.Contains(said, "tls:") && !strings.Contains(said, "x509:") {
			return // it broke off
		}
		why = "cannot speak TLS with this node (" + strings.TrimPrefix(said, "tls: ") + ")"
	default:
		return
	}
	if len(s.refusals) > 100 || s.refusals == nil {
		s.refusals = map[string]refusal{}
	}
	s.refusals[addr] = refusal{why, time.Now()}
}

// refused returns why this node cannot join its peers, or nil: so many refuse it
// that no majority is left, or one has its name.
func (b *Bus) refused() error {
	p := b.cfg.Peers
	if p == nil {
		return nil
	}
	b.said.mu.Lock()
	defer b.said.mu.Unlock()
	if err := b.namedTwice(); err != nil {
		return err
	}
	all := p.all()
	whys := map[string][]string{}
	count := 0
	for addr, r := range b.said.refusals {
		// Who dialled us comes from any port.
		if time.Since(r.at) < refusedFor && slices.ContainsFunc(all, func(peer string) bool { return samePort(peer, addr) }) {
			whys[r.why] = append(whys[r.why], addr)
			count++
		}
	}
	if others := len(all) - 1; others-count >= len(all)/2 {
		return nil
	}
	var said []string
	for why, addrs := range whys {
		slices.Sort(addrs)
		said = append(said, strings.Join(addrs, ", ")+" "+why)
	}
	slices.Sort(said)
	return fmt.Errorf("natsbus: the peers refuse this node: %s: all nodes need the same peers.password, and with peers.tls certificates that are valid, "+
		"for their address, and signed by the same ca", strings.Join(said, "; "))
}

// namedTwice returns an error if a peer said that it has this node's name. mu is
// held.
func (b *Bus) namedTwice() error {
	if p := b.cfg.Peers; p != nil && b.said.twice == p.Name {
		return fmt.Errorf("natsbus: another node with the name %q is running: give each node a name of its own (node, --node)", p.Name)
	}
	return nil
}

func samePort(a, b string) bool {
	_, x, _ := net.SplitHostPort(a)
	_, y, _ := net.SplitHostPort(b)
	return x == y
}

func (b *Bus) lastTrouble() string {
	b.said.mu.Lock()
	defer b.said.mu.Unlock()
	return b.said.last
}
