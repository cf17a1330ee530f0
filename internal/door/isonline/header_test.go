package isonline

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// proxied is a connection from a trusted proxy.
type proxied struct{ net.Conn }

// RemoteAddr is the proxy's.
func (proxied) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 4711} }

// A proxy that connects and never finishes its header is cut off on both ports,
// when they cut off who does not speak at all.
func TestProxyThatStopsInItsHeader(t *testing.T) {
	t.Parallel()
	for _, row := range []string{"gRPC", "HTTP"} {
		inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
			trusted := &listen.Proxies{}
			trusted.Set([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
			network := newPipes()
			network.wrap = func(c net.Conn) net.Conn { return proxied{c} }
			port := listen.New(network, listen.Config{Now: n.wheel.Now, ProxyProtocol: true, Proxies: trusted, Logger: slog.New(slog.DiscardHandler)})
			served := make(chan error, 1)
			if row == "gRPC" {
				go func() { served <- n.door.Serve(port) }()
			} else {
				go func() { served <- n.web().server.Serve(port) }()
			}
			c, err := network.Dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := io.WriteString(c, "PROXY TCP4 203.0.113.7"); err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, c)
			if took := time.Since(began); took < 5*time.Second || took > 11*time.Second {
				t.Errorf("%s: it was cut off after %v, want about 10s", row, took)
			}
			c.Close()
			network.Close()
			<-served
		})
	}
}
