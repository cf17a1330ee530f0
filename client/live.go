package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// liveProtocol is the sub-protocol of the live door, and livePath where it
	// is when the address names no path.
	liveProtocol = "porchlight.v1"
	livePath     = "/live"
	// writeTimeout ends a connection that takes nothing for so long.
	writeTimeout = 10 * time.Second
)

// liveDoor speaks to the server's live door: one WebSocket for each session,
// which carries the stream and the calls.
//
//	client                                  server
//	{"t":"hello","token":…,"status":…}  ──▶
//	                                    ◀──  {"t":"welcome","resume":…}
//	{"t":"watch","id":1,"users":[…]}    ──▶
//	                                    ◀──  {"t":"ok","id":1}  {"t":"n","q":…,"n":[…]}
//
// What a session is called between the door and what is above it is a name of
// our own: the server gives a new resume token with each connection.
type liveDoor struct {
	addrs  *addresses
	opts   websocket.DialOptions
	tokens *accessTokens
	locale string
	device Device
	notes  notifications
	topics topics

	work sync.WaitGroup // the readers of links

	mu       sync.Mutex // guards all below
	links    map[*liveLink]struct{}
	sessions map[string]*liveSession
	made     uint64 // sessions made so far; names the next one
	closed   bool
}

// liveSession is what the door knows of a session.
type liveSession struct {
	resume string    // the newest token
	link   *liveLink // the newest connection
	fresh  bool      // connect was not called since link was made
}

var (
	_ door   = (*liveDoor)(nil)
	_ stream = (*liveLink)(nil)
)

// newLiveDoor does not connect yet.
func newLiveDoor(cfg *Config) *liveDoor {
	form := func(addr string) string {
		u, _ := url.Parse(addr) // checked before
		if u.Path == "" {
			u.Path = livePath
		}
		return u.String()
	}
	transport := &http.Transport{TLSClientConfig: cfg.TLS.Clone(), TLSHandshakeTimeout: dialTimeout, DisableCompression: true}
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if dial := cfg.Dialer; dial != nil {
		transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) }
	}
	return &liveDoor{
		addrs: newAddresses(cfg, form), tokens: newAccessTokens(cfg.Token), locale: cfg.Device.Locale, device: cfg.Device,
		opts: websocket.DialOptions{
			Subprotocols: []string{liveProtocol},
			HTTPHeader:   http.Header{"User-Agent": {"porchlight-client"}},
			HTTPClient: &http.Client{
				Transport: transport,
				// Where the token goes is the program's decision, not the server's.
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			},
		},
		notes: notifications{tell: cfg.OnNotification}, topics: topics{tell: cfg.OnTopic},
		links: map[*liveLink]struct{}{}, sessions: map[string]*liveSession{},
	}
}

func (d *liveDoor) close() error {
	d.mu.Lock()
	d.closed = true
	for l := range d.links {
		l.end(ErrClosed)
	}
	d.mu.Unlock()
	d.work.Wait()
	return nil
}

// make connects, because a session of this door begins with its connection.
func (d *liveDoor) make(ctx context.Context, dev Device, _ string, status Status) (made, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	says := toLiveStatus(status)
	link, err := d.open(ctx, liveRequest{T: "hello", Device: toLiveDevice(dev), Status: &says, Notifications: d.notes.tell != nil, Topics: d.topics.tell != nil})
	if err != nil {
		return made{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made++
	name := strconv.FormatUint(d.made, 10)
	d.sessions[name] = &liveSession{resume: link.welcome.Resume, link: link, fresh: true}
	w := link.welcome
	return made{token: name, heartbeat: ms(w.Heartbeat), batch: w.Limits.Batch}, nil
}

// connect gives the connection that make opened, or opens another.
func (d *liveDoor) connect(ctx context.Context, session string, status Status, after uint64) (stream, frame, error) {
	d.mu.Lock()
	s := d.sessions[session]
	if s == nil {
		d.mu.Unlock()
		return nil, frame{}, errSessionUnknown
	}
	link, fresh, resume := s.link, s.fresh, s.resume
	s.fresh = false
	d.mu.Unlock()
	if !fresh {
		link.end(errReplacedHere)
		says := toLiveStatus(status)
		hello := liveRequest{T: "hello", Resume: resume, Device: toLiveDevice(d.device), Status: &says, Notifications: d.notes.tell != nil, Topics: d.topics.tell != nil}
		if after > 0 {
			hello.After = &after
		}
		var err error
		if link, err = d.open(ctx, hello); err != nil {
			return nil, frame{}, err
		}
		d.mu.Lock()
		s.link, s.resume = link, link.welcome.Resume
		d.mu.Unlock()
	}
	context.AfterFunc(ctx, func() { link.end(fromLiveEnd(ctx, context.Cause(ctx))) })
	w := link.welcome
	return link, frame{sequence: w.Q, connected: &connected{id: w.Session, resumed: w.Resumed, resync: w.Resync}}, nil
}

// forget closes the connection of a session, if there is one.
func (d *liveDoor) forget(session string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sessions[session]; s != nil {
		delete(d.sessions, session)
		s.link.end(ErrClosed)
	}
}

// open connects and says hello. When the server refuses the access token, it
// tries once more with a fresh one.
func (d *liveDoor) open(ctx context.Context, hello liveRequest) (*liveLink, error) {
	var refused *Error
	elsewhere := len(d.addrs.list) - 1 // tries that are left where nobody answers
	for {
		token, err := d.tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		if token == hello.Token && refused != nil {
			d.tokens.refuse(token)
			refused.Detail += "; there is no fresher one"
			return nil, refused
		}
		hello.Token = token
		addr := d.addrs.now()
		link, err := d.dial(ctx, addr)
		if err != nil {
			d.addrs.failed(addr)
			if elsewhere > 0 && ctx.Err() == nil {
				elsewhere--
				continue
			}
			return nil, err
		}
		if err = link.greet(ctx, hello); err == nil {
			return link, nil
		}
		link.end(err)
		e := fromLiveEnd(ctx, err)
		if e.Code == CodeUnavailable {
			d.addrs.failed(addr)
		}
		if e.Reason != ReasonJWTExpired && e.Reason != ReasonJWTInvalid {
			return nil, e
		}
		d.tokens.refuse(token)
		if refused != nil {
			return nil, e
		}
		refused = e
	}
}

// dial makes a connection and starts its reader.
func (d *liveDoor) dial(ctx context.Context, addr string) (*liveLink, error) {
	l := newLiveLink(ctx, d)
	l.addr = addr
	opts := d.opts
	opts.OnPingReceived = func(context.Context, []byte) bool { l.push(frame{}); return true }
	conn, resp, err := websocket.Dial(ctx, addr, &opts)
	if err != nil {
		l.cancel()
		return nil, fromHandshake(ctx, resp, err)
	}
	if conn.Subprotocol() != liveProtocol {
		l.cancel()
		_ = conn.CloseNow()
		return nil, &Error{Code: CodeUnimplemented, Detail: fmt.Sprintf("%s does not speak %s", addr, liveProtocol)}
	}
	conn.SetReadLimit(maxMessage)
	l.conn = conn
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		l.cancel()
		_ = conn.CloseNow()
		return nil, ErrClosed
	}
	d.links[l] = struct{}{}
	d.work.Go(func() {
		l.read()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.links, l)
	})
	return l, nil
}

// current returns the connection of a session.
func (d *liveDoor) current(session string) (*liveLink, error) {
	s, err := d.find(session)
	switch {
	case err != nil:
		return nil, err
	case s.link.over():
		return nil, errLinkDown
	}
	return s.link, nil
}

// find returns a session as it is now; it may be forgotten at any time.
func (d *liveDoor) find(session string) (liveSession, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sessions[session]
	switch {
	case d.closed:
		return liveSession{}, ErrClosed
	case s == nil:
		return liveSession{}, errSessionUnknown
	}
	return *s, nil
}

var (
	errLinkDown       = &Error{Code: CodeUnavailable, Detail: "the link is down"}
	errSessionUnknown = &Error{Code: CodeNotFound, Reason: ReasonSessionGone, Detail: "the session was forgotten here"}
	errReplacedHere   = &Error{Code: CodeUnavailable, Detail: "a newer connection took its place"}
)

// liveAddress checks an address with a scheme.
func liveAddress(addr string, secure bool) (host string, err error) {
	u, err := url.Parse(addr)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return "", fmt.Errorf("porchlight: address %q: want ws://host:port or wss://host:port, with the path of the live door unless it is %s", addr, livePath)
	case u.Scheme != "ws" && u.Scheme != "wss":
		return "", fmt.Errorf("porchlight: address %q: the scheme is ws or wss for the live door, and none for gRPC", addr)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("porchlight: address %q: give host, port and path only; the access token comes from Config.Token", u.Redacted())
	case u.Scheme == "ws" && secure:
		return "", fmt.Errorf("porchlight: address %q is plaintext and Config.TLS is set: write wss://%s", addr, strings.TrimPrefix(addr, "ws://"))
	case u.Scheme == "wss":
		return "", nil
	}
	return u.Hostname(), nil
}
