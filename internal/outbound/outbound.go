// Package outbound is the HTTP client for addresses that are not ours: those an
// operator or a customer configured, which may lead anywhere. It refuses to
// connect to private networks unless it was told to, follows no redirect, uses
// no proxy of the environment, and bounds what an answer may take of time and
// memory. It knows nothing of what is sent; it does not sign and does not retry.
//
// The guard looks at the address of each connection, after names were resolved,
// so a name that changes its mind between a check and the call gains nothing.
package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

const (
	defaultTimeout   = 5 * time.Second
	defaultMaxAnswer = 1 << 20
	maxHeader        = 64 << 10
	// maxConns is how many connections one client has to one host: more waiting
	// users must not become more load on a host that is slow already.
	maxConns     = 128
	idleConns    = 32
	idleLimit    = 90 * time.Second
	keepAlive    = 30 * time.Second
	hasteTLS     = 5 * time.Second
	dialFallback = 300 * time.Millisecond
	httpsPort    = 443
)

// Errors that callers tell apart.
var (
	// ErrAddress: the host's address is in a network that may not be called.
	ErrAddress = errors.New("its address is private, loopback, link-local or reserved, and such are called only with allow_private, some never")
	// ErrTooLarge: the answer was longer than Config.MaxAnswer.
	ErrTooLarge = errors.New("the answer is too large")
)

// Config says what a client may do. The zero value is strict.
type Config struct {
	// Timeout bounds a call from the resolving of the name to the last byte of
	// the answer; 5 s if zero.
	Timeout time.Duration
	// MaxAnswer bounds the body of an answer in bytes; 1 MB if zero.
	MaxAnswer int64
	// AllowPrivate lets it call private networks and this machine. Where clouds
	// keep the secrets of their machines (link-local addresses, and some that are
	// private) is refused all the same.
	AllowPrivate bool
}

// Client calls addresses that are not ours. Make it with New. It may be used by
// several goroutines.
type Client struct {
	cfg  Config
	http *http.Client
}

// privateV4 and privateV6 are what AllowPrivate adds.
func privateV4() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	}
}

func privateV6() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7")}
}

// metadata are the addresses inside private networks where clouds give their
// machines' secrets to whoever calls: Amazon, Google, Alibaba.
func metadata() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("100.100.100.200"),
	}
}

// guard says of each address, once names are resolved, whether to connect to it.
func guard(allowPrivate bool) func(network, address string, c syscall.RawConn) error {
	rules := []ssrf.Option{ssrf.WithAnyPort()}
	if allowPrivate {
		rules = append(rules, ssrf.WithAllowedV4Prefixes(privateV4()...), ssrf.WithAllowedV6Prefixes(privateV6()...))
	}
	safe, secrets := ssrf.New(rules...).Safe, metadata()
	return func(network, address string, c syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err == nil && slices.Contains(secrets, at.Addr().Unmap().WithZone("")) {
			return ErrAddress
		}
		return safe(network, address, c)
	}
}

// CheckHost returns ErrAddress when a host is an address, or this machine's own
// name, that a client would refuse to connect to. Other names are good until
// they are resolved.
func CheckHost(host string, allowPrivate bool) error {
	if name := strings.ToLower(strings.TrimSuffix(host, ".")); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	network := "tcp6"
	if addr = addr.Unmap(); addr.Is4() {
		network = "tcp4"
	}
	if guard(allowPrivate)(network, netip.AddrPortFrom(addr, httpsPort).String(), nil) != nil {
		return ErrAddress
	}
	return nil
}

// New returns a client.
func New(cfg Config) *Client {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.MaxAnswer <= 0 {
		cfg.MaxAnswer = defaultMaxAnswer
	}
	dialer := &net.Dialer{Control: guard(cfg.AllowPrivate), KeepAlive: keepAlive, FallbackDelay: dialFallback}
	return &Client{cfg: cfg, http: &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // one of the environment would go round the guard
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    hasteTLS,
			MaxConnsPerHost:        maxConns,
			MaxIdleConnsPerHost:    idleConns,
			IdleConnTimeout:        idleLimit,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true, // what is bounded is what comes over the wire
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Answer is what came back, whatever its status.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Post sends body to address and reads the whole answer. An answer of any
// status is no error, a redirect neither. The errors name the host and never
// the rest of the address, the headers or a body; they may wrap ErrAddress,
// ErrTooLarge, context.DeadlineExceeded and context.Canceled.
func (c *Client) Post(ctx context.Context, address string, header http.Header, body []byte) (Answer, error) {
	return c.call(ctx, http.MethodPost, address, call{header, bytes.NewReader(body)})
}

// Get reads what is at address; everything is as with Post.
func (c *Client) Get(ctx context.Context, address string, header http.Header) (Answer, error) {
	return c.call(ctx, http.MethodGet, address, call{header, nil})
}

// call is what a request has beside its address.
type call struct {
	header http.Header
	body   io.Reader
}

func (c *Client) call(ctx context.Context, method, address string, send call) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, send.body)
	if err != nil || req.URL.Host == "" {
		return Answer{}, errors.New("the address to call is not a URL with a host")
	}
	if send.header != nil {
		req.Header = send.header.Clone()
	}
	answer, err := c.do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	return answer, nil
}

func (c *Client) do(req *http.Request) (Answer, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, refine(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, refine(err)
	case int64(len(b)) > c.cfg.MaxAnswer:
		return Answer{}, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, c.cfg.MaxAnswer)
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: b}, nil
}

// refine takes the address out of an error, and says what the guard means.
func refine(err error) error {
	var whole *url.Error
	if errors.As(err, &whole) {
		err = whole.Err
	}
	for _, guarded := range []error{ErrAddress, ssrf.ErrProhibitedIP, ssrf.ErrProhibitedNetwork, ssrf.ErrInvalidHostPort, ssrf.ErrProhibitedPort} {
		if errors.Is(err, guarded) {
			return ErrAddress
		}
	}
	return err
}

// Close lets go of connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }
