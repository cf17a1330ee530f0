package socket

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/porchlight-dev/porchlight/internal/listen"
)

// Options are one door's wishes for a connection. Zero values mean the Config's.
type Options struct {
	// Protocols are the sub-protocols that the door speaks; the first that the
	// peer offers and is among them is agreed on. A peer that offers none of them gets
	// none, and Conn.Protocol is "".
	Protocols []string
	// CheckOrigin reports whether a page of that origin may connect; nil accepts
	// pages of the server's own host, and peers that are no browsers.
	CheckOrigin func(r *http.Request) bool
	// Header is added to the answer.
	Header http.Header

	MaxMessage int           // bytes of a message of the peer
	Ping       time.Duration // silence before a ping; negative: none
	Silence    time.Duration // silence that ends the connection; 0: none does
}

// Errors of Upgrade. The peer has been told.
var (
	// ErrNoHandshake says that the request was no WebSocket handshake.
	ErrNoHandshake = errors.New("the request is no WebSocket handshake")
	// ErrOrigin says that the page may not connect.
	ErrOrigin = errors.New("pages of this origin may not connect")
	// ErrNotRunning says that the loop has not started or is stopping.
	ErrNotRunning = errors.New("no WebSocket connections are taken now")
)

// Upgrade answers a handshake and makes a connection of it. open is called before the
// first message is read and returns the door of the connection; it may call the methods
// of c. The HTTP handler should return then: nothing of the request is held. On an
// error the peer was answered, and open was not called.
func (l *Loop) Upgrade(w http.ResponseWriter, r *http.Request, o Options, open func(c *Conn) Door) error {
	if !isHandshake(r) {
		if r.ProtoMajor == 1 { // in HTTP/2 these headers make the answer a broken one
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
		}
		http.Error(w, "this address is for WebSocket connections, over HTTP/1.1", http.StatusUpgradeRequired)
		return ErrNoHandshake
	}
	check := o.CheckOrigin
	if check == nil {
		check = sameOrigin
	}
	if !check(r) {
		http.Error(w, ErrOrigin.Error(), http.StatusForbidden)
		return ErrOrigin
	}
	if !l.enter() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, ErrNotRunning.Error(), http.StatusServiceUnavailable)
		return ErrNotRunning
	}
	upgrader := ws.HTTPUpgrader{
		Timeout: l.cfg.HandshakeLimit, Header: o.Header,
		Protocol: func(p string) bool { return slices.Contains(o.Protocols, p) },
	}
	link, buffered, hs, err := upgrader.Upgrade(r, w)
	if err != nil {
		if link != nil {
			link.Close()
		}
		l.gone.Done()
		return fmt.Errorf("WebSocket handshake: %w", err)
	}
	c := l.make(link, &o)
	if i := slices.Index(o.Protocols, hs.Protocol); i >= 0 {
		c.protocol = o.Protocols[i] // the other one holds on to the request
	}
	c.door = open(c)
	l.begin(c, earlyBytes(buffered.Reader))
	return nil
}

func isHandshake(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// earlyBytes is what came behind the handshake.
func earlyBytes(r *bufio.Reader) []byte {
	n := r.Buffered()
	if n == 0 {
		return nil
	}
	b, _ := r.Peek(n)
	return slices.Clone(b)
}

// make returns a connection that nobody reads yet and that holds back what is
// to be written.
func (l *Loop) make(link net.Conn, o *Options) *Conn {
	link.SetDeadline(time.Time{})
	c := &Conn{
		loop: l, link: link, counted: listen.Of(link),
		most: int32(l.cfg.MaxMessage), ping: lengthOf(l.cfg.Ping), silence: lengthOf(o.Silence),
		users: 1, reads: true,
	}
	if c.counted == nil {
		c.counted = listen.Count(beneath(link), l.cfg.Wheel.Now)
	}
	if o.MaxMessage > 0 {
		c.most = int32(o.MaxMessage)
	}
	if o.Ping != 0 {
		c.ping = lengthOf(o.Ping)
	}
	c.turn.Store(held)
	l.place(c)
	l.tableOf(c).add(c, 0)
	return c
}

// lengthOf is a length of time; none when it is negative.
func lengthOf(d time.Duration) moment {
	if d <= 0 {
		return 0
	}
	return momentOf(d)
}

// beneath is the connection under TLS.
func beneath(link net.Conn) net.Conn {
	if outer, ok := link.(interface{ NetConn() net.Conn }); ok {
		return outer.NetConn()
	}
	return link
}

// begin lets c be read and written.
func (l *Loop) begin(c *Conn, early []byte) {
	if !l.runs() { // Stop may have missed it
		c.Close(CodeGoingAway, goingAway)
	}
	if c.poll == nil {
		c.letGo(nil)
		go c.readAlone(early) // and releases
		return
	}
	c.poll.begin(c, early)
	c.letGo(nil)
	c.release()
}
