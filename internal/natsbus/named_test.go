package natsbus

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	if err := p.checkName(t.Context()); err != nil {
		t.Error(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if name := p.nameAt(ctx, silent.Addr().String()); name != "" {
		t.Errorf("who says nothing is called %q", name)
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
