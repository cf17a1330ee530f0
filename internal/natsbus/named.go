package natsbus

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of asking who is at an address: one that is away costs a start twice the
// first, and what an engine says of itself first is far below the other.
const (
	nameAnswers = time.Second
	nameBytes   = 64 << 10
)

// other is who answered at another node's address.
type other struct {
	name string
	tls  bool // it speaks TLS, and this node does not
}

// checkOthers asks who is at the other addresses. An engine of this node's name
// would cut this one's connections without a word to it, while the others take it
// for the one that they know: both would be lost. One that speaks TLS would wait
// in silence for this one to begin.
func (p *Peers) checkOthers(ctx context.Context) error {
	addrs := slices.DeleteFunc(p.all(), func(a string) bool { return a == p.Listen })
	others := make([]other, len(addrs))
	var asking sync.WaitGroup
	for i, addr := range addrs {
		asking.Go(func() { others[i] = p.ask(ctx, addr) })
	}
	asking.Wait()
	for i, o := range others {
		switch {
		case o.name == p.Name:
			return fmt.Errorf("natsbus: another node with the name %q is running, at %s: give each node a name of its own (node, --node)", p.Name, addrs[i])
		case o.tls:
			return fmt.Errorf("natsbus: %s speaks TLS with its peers, and this node does not: give all nodes peers.tls with ca, cert and key, or none of them", addrs[i])
		}
	}
	return nil
}

// ask asks who is at an address; nobody when no engine says so.
func (p *Peers) ask(ctx context.Context, addr string) other {
	line, err := hear(ctx, addr, p.routeTLS())
	if err == nil {
		return other{name: nameIn(line)}
	}
	if p.TLS != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return other{} // away, or not there yet
	}
	// Not to be believed, but nothing is told to it: what counts is whether it knows TLS.
	_, err = hear(ctx, addr, &tls.Config{InsecureSkipVerify: true})
	return other{tls: err == nil || isTLSAlert(err)}
}

// isTLSAlert reports whether the other end refused us in TLS.
func isTLSAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// hear is the first line that an engine says, which is about itself, before it is
// told anything.
func hear(ctx context.Context, addr string, over *tls.Config) (line string, err error) {
	ctx, cancel := context.WithTimeout(ctx, nameAnswers)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	by, _ := ctx.Deadline()
	if err := conn.SetDeadline(by); err != nil {
		return "", err
	}
	if over != nil {
		over.ServerName, _, _ = net.SplitHostPort(addr)
		conn = tls.Client(conn, over)
	}
	return bufio.NewReader(io.LimitReader(conn, nameBytes)).ReadString('\n')
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
