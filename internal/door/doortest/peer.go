package doortest

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
)

// Opcodes of RFC 6455.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// Peer is the device's end of a WebSocket connection, made by hand: what it does
// not do, a test can do.
type Peer struct {
	Conn net.Conn

	t  testing.TB
	in *bufio.Reader

	mu     sync.Mutex // guards all below
	mute   bool       // it answers no pings
	got    []string
	over   bool
	code   int // of the close frame; 0: none came
	reason string
	wmu    sync.Mutex // held while a frame is written
}

// Handshake asks for a WebSocket on conn. Unless the server agrees, the peer is
// nil, and the answer's body says why.
func Handshake(t testing.TB, conn net.Conn, path string, header http.Header) (*Peer, *http.Response) {
	t.Helper()
	u, err := url.Parse("http://porchlight.test" + path)
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}}
	for k, v := range header {
		r.Header[http.CanonicalHeaderKey(k)] = v
	}
	if err := r.Write(conn); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	p := &Peer{Conn: conn, t: t, in: bufio.NewReader(conn)}
	answer, err := http.ReadResponse(p.in, r)
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, answer
	}
	return p, answer
}

// Header makes a header of names and values in turn.
func Header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// Say sends a text message, made as by fmt.Sprintf if there are args. The test fails
// when it cannot be sent.
func (p *Peer) Say(format string, args ...any) {
	p.t.Helper()
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	if err := p.Send(format); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// Came returns the messages that came since the last Take, once all is quiet in the
// test's bubble.
func (p *Peer) Came() []string {
	synctest.Wait()
	return p.Take()
}

// Send sends a text message.
func (p *Peer) Send(text string) error { return p.Frame(opText, []byte(text)) }

// Frame sends any frame.
func (p *Peer) Frame(op byte, payload []byte) error {
	b := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	var mask [4]byte
	rand.Read(mask[:])
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	p.wmu.Lock()
	defer p.wmu.Unlock()
	_, err := p.Conn.Write(b)
	return err
}

// Mute makes the peer answer no more pings.
func (p *Peer) Mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

// Read reads until the connection ends. It is for a goroutine of its own.
func (p *Peer) Read() {
	for p.Next() == nil {
	}
}

// Next reads one frame.
func (p *Peer) Next() error {
	op, payload, err := p.frame()
	if err != nil {
		p.mu.Lock()
		p.over = true
		p.mu.Unlock()
		return err
	}
	p.mu.Lock()
	mute := p.mute
	switch op {
	case opText:
		p.got = append(p.got, string(payload))
	case opClose:
		if p.code = 1005; len(payload) >= 2 {
			p.code, p.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
		p.over = true
	}
	p.mu.Unlock()
	switch op {
	case opPing:
		if !mute {
			return p.Frame(opPong, payload)
		}
	case opClose:
		p.Frame(opClose, payload[:min(2, len(payload))])
		p.Conn.Close()
		return io.EOF
	}
	return nil
}

func (p *Peer) frame() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0x70 != 0 || head[0]&0x80 == 0 || head[1]&0x80 != 0 {
		return 0, nil, errors.New("a server's frame is whole, not masked, and has no reserved bits")
	}
	n := uint64(head[1])
	var more [8]byte
	switch n {
	case 126:
		_, err = io.ReadFull(p.in, more[6:])
	case 127:
		_, err = io.ReadFull(p.in, more[:])
	}
	if n >= 126 {
		n = binary.BigEndian.Uint64(more[:])
	}
	if err != nil || n > 1<<24 {
		return 0, nil, fmt.Errorf("a frame of %d bytes: %w", n, err)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(p.in, payload)
	return head[0] & 0x0f, payload, err
}

// Take returns the messages that came since the last Take.
func (p *Peer) Take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

// Put makes the next Take begin with some messages.
func (p *Peer) Put(messages []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(messages, p.got...)
}

// End is the close code that came, 0 if the connection ended without; over says
// that it ended.
func (p *Peer) End() (code int, reason string, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code, p.reason, p.over
}
