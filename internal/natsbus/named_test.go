package natsbus

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// says is a peer that says one line to whoever comes.
func says(t *testing.T, line string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, line)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// A node whose name another one has that runs ends before its engine begins: the
// other one says nothing to it but its name.
func TestNameThatRuns(t *testing.T) {
	t.Parallel()
	addrs := natsbustest.Addresses(t, 2)
	there := says(t, `INFO {"server_id":"X","server_name":"n1","cluster":"porchlight-pl"}`+"\r\n")
	b, err := New(Config{Dir: filepath.Join(t.TempDir(), "data"), Peers: &Peers{Name: "n1", Listen: addrs[0], Peers: []string{addrs[1], there}, Password: "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), natsbustest.Up)
	defer cancel()
	err = b.Start(ctx)
	if ctx.Err() != nil || err == nil || !strings.Contains(err.Error(), `another node with the name "n1" is running, at `+there) {
		t.Errorf("got %v, want an error that says where the other one is", err)
	}
}

// Whoever has another name, says something else or does not answer stops nobody.
func TestNamesThatMayRun(t *testing.T) {
	t.Parallel()
	p := &Peers{Name: "n1", Listen: "127.0.0.1:1", Peers: []string{
		says(t, `INFO {"server_name":"n2"}`+"\r\n"), says(t, `INFO {"server_name":`+"\r\n"), says(t, "n1\r\n"), says(t, `INFO {"server_name":"n1"}`), // no end of the line
		natsbustest.Addresses(t, 1)[0],
	}}
	if err := p.checkOthers(t.Context()); err != nil {
		t.Error(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if o := p.ask(t.Context(), silent.Addr().String()); o != (other{}) {
		t.Errorf("who says nothing is %+v", o)
	}
}

// Peers that speak TLS wait for a node without it to begin: it ends, and asks for
// nothing else.
func TestPeersThatSpeakTLS(t *testing.T) {
	t.Parallel()
	cert, key := listentest.Certificate(t, 1, time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, most := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: most})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					_, _ = c.Read(make([]byte, 1)) // which shakes hands first
				}()
			}
		}()
		p := &Peers{Name: "n1", Listen: "127.0.0.1:1", Peers: []string{l.Addr().String()}}
		if err := p.checkOthers(t.Context()); err == nil || !strings.Contains(err.Error(), l.Addr().String()+" speaks TLS") {
			t.Errorf("TLS %x: got %v, want an error that says who speaks TLS", most, err)
		}
	}
}

// FuzzNameIn: whatever a peer says first, it is a name or none.
func FuzzNameIn(f *testing.F) {
	f.Add(`INFO {"server_name":"n1"}` + "\r\n")
	f.Add(`INFO {"server_name":7}`)
	f.Add("+OK\r\n")
	f.Fuzz(func(t *testing.T, line string) {
		if name := nameIn(line); name != "" && !strings.HasPrefix(line, "INFO {") && !strings.HasPrefix(strings.TrimLeft(strings.TrimPrefix(line, "INFO "), " \t\r\n"), "{") {
			t.Errorf("%q has the name %q", line, name)
		}
	})
}
