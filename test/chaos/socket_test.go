package chaos

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Opcodes of RFC 6455.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// mostFrame is more than the server may send in one frame.
const mostFrame = 1 << 20

// socket is the device's end of a WebSocket, as cheap as it can be: one goroutine
// reads, frames are written by whoever has one.
type socket struct {
	conn net.Conn
	in   *bufio.Reader
	done chan struct{} // closed when it ended

	wrote atomic.Int64 // when bytes last left, in Unix ns
	end   atomic.Int64 // when it ended, in Unix ns; 0: it has not
	stuck atomic.Bool  // reads nothing for now

	writing sync.Mutex // held while a frame is written
	quit    chan struct{}
	once    sync.Once // of closing quit
}

// dialSocket connects to the HTTP port of a node.
func dialSocket(ctx context.Context, addr, path string, header http.Header) (*socket, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: "http", Host: addr, Path: path}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: addr, Header: http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}}
	for k, v := range header {
		r.Header[k] = v
	}
	s := &socket{conn: conn, in: bufio.NewReaderSize(conn, 2048), done: make(chan struct{}), quit: make(chan struct{})}
	if err = conn.SetDeadline(time.Now().Add(callLimit)); err == nil {
		err = r.Write(conn)
	}
	var answer *http.Response
	if err == nil {
		answer, err = http.ReadResponse(s.in, r)
	}
	if err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
		b, _ := io.ReadAll(io.LimitReader(answer.Body, 512))
		err = fmt.Errorf("the handshake was answered %s: %s", answer.Status, b)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	s.wrote.Store(time.Now().UnixNano())
	return s, nil
}

// read hears until the connection ends; nothing is heard after done is closed.
func (s *socket) read(hear func(text []byte)) {
	defer close(s.done)
	var numb, woke time.Time // when it stopped reading, and read again
	defer func() {
		at := time.Now()
		if at.Sub(woke) < time.Second {
			at = numb // it may have ended at any time since
		}
		s.end.Store(at.UnixNano())
	}()
	defer s.conn.Close()
	for {
		op, payload, err := s.frame()
		if err != nil {
			return
		}
		if s.stuck.Load() { // it reads no more, and writes
			numb = time.Now()
			for s.stuck.Load() && pause(s.quit, 50*time.Millisecond) {
				continue
			}
			woke = time.Now()
		}
		switch op {
		case opText:
			hear(payload)
		case opPing:
			if s.send(opPong, payload) != nil {
				return
			}
		case opClose:
			return
		}
	}
}

// frame reads one frame.
func (s *socket) frame() (op byte, payload []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(s.in, head[:2]); err != nil {
		return 0, nil, err
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, nil, errors.New("a server's frame is whole, not masked, and has no reserved bits")
	}
	op = head[0] & 0xf
	n := uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(s.in, head[:2])
		n = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, err = io.ReadFull(s.in, head[:8])
		n = binary.BigEndian.Uint64(head[:8])
	}
	if err != nil || n > mostFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes: %w", n, err)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(s.in, payload)
	return op, payload, err
}

// say sends a text.
func (s *socket) say(text []byte) error { return s.send(opText, text) }

func (s *socket) send(op byte, payload []byte) error {
	b := make([]byte, 0, len(payload)+14)
	b = append(b, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(callLimit)); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	if err == nil {
		s.wrote.Store(time.Now().UnixNano())
	}
	return err
}

// cut ends the connection without a word and waits until it has ended.
func (s *socket) cut() {
	s.once.Do(func() { close(s.quit) })
	s.conn.Close()
	<-s.done
}

func (s *socket) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// endedAt is when it ended; zero: it has not.
func (s *socket) endedAt() time.Time {
	if n := s.end.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// lastWord is when bytes last left.
func (s *socket) lastWord() time.Time { return time.Unix(0, s.wrote.Load()) }
