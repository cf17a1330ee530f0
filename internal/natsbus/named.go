package natsbus

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of asking who is at an address: one that is away costs a start so long,
// and what an engine says of itself first is far below the other.
const (
	nameAnswers = 2 * time.Second
	nameBytes   = 64 << 10
)

// checkName sees whether one of the other addresses has an engine of this node's
// name. That one would cut this one's connections without a word to it, while
// the others take it for the one that they know: both would be lost.
func (p *Peers) checkName(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, nameAnswers)
	defer cancel()
	others := slices.DeleteFunc(p.all(), func(a string) bool { return a == p.Listen })
	names := make([]string, len(others))
	var asking sync.WaitGroup
	for i, addr := range others {
		asking.Go(func() { names[i] = p.nameAt(ctx, addr) })
	}
	asking.Wait()
	if i := slices.Index(names, p.Name); i >= 0 {
		return fmt.Errorf("natsbus: another node with the name %q is running, at %s: give each node a name of its own (node, --node)", p.Name, others[i])
	}
	return nil
}

// nameAt asks who is at an address; "" when nobody says so. An engine names itself
// before it is told anything.
func (p *Peers) nameAt(ctx context.Context, addr string) string {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "" // away, or not there yet
	}
	defer conn.Close()
	if by, ok := ctx.Deadline(); ok && conn.SetDeadline(by) != nil {
		return ""
	}
	if t := p.routeTLS(); t != nil {
		t.ServerName, _, _ = net.SplitHostPort(addr)
		conn = tls.Client(conn, t)
	}
	line, err := bufio.NewReader(io.LimitReader(conn, nameBytes)).ReadString('\n')
	if err != nil {
		return ""
	}
	return nameIn(line)
}

// nameIn is the name in the first line of an engine: INFO {"server_name":"n1",…}.
func nameIn(line string) string {
	text, ok := strings.CutPrefix(line, "INFO ")
	var info struct {
		Name string `json:"server_name"`
	}
	if !ok || json.Unmarshal([]byte(text), &info) != nil {
		return ""
	}
	return info.Name
}
