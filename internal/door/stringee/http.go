package stringee

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/socket"
)

// Segments are the first segments of the paths that the door answers; the socket
// is at "/".
func Segments() []string { return []string{"v1", "v2"} }

// maxBody is the longest body: 64 attributes of 4 KiB, with room for spaces.
const maxBody = 512 << 10

// IsSocket reports that a request asks for the socket. Without an Upgrade "/" is a
// page.
func IsSocket(r *http.Request) bool {
	return r.URL.Path == "/" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// ServeHTTP answers the socket's handshake, what stands below /v1 and /v2, and says
// what this is at "/". The peer's address is r.RemoteAddr.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case IsSocket(r):
		d.upgrade(w, r)
	case r.URL.Path == "/":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "Porchlight is running. Stringee's client connects here by WebSocket; its REST calls are below /v1 and /v2.\n")
	default:
		d.rest(w, r)
	}
}

// upgrade takes a handshake. A page's token comes later, so it is let in by its
// origin alone here.
func (d *Door) upgrade(w http.ResponseWriter, r *http.Request) {
	c := &conn{door: d, addr: strings.Clone(r.RemoteAddr)}
	c.timer.Fire = c.fire
	if origin := r.Header.Get("Origin"); origin != "" && !admit.SameOrigin(origin, r.Host) {
		if why := d.cfg.Gate.RefusesOrigin(origin); why != "" {
			d.called("connection", "ORIGIN_REFUSED", noTime)
			http.Error(w, why, http.StatusForbidden)
			return
		}
		c.origin = strings.Clone(origin)
	}
	if c.from = admit.PlaceOf(c.addr); !d.from.Enter(c.from, d.limits.Load().PerAddress) {
		d.called("connection", "TOO_MANY_CONNECTIONS", noTime)
		w.Header().Set("Retry-After", "5")
		http.Error(w, "there are too many connections from this address", http.StatusTooManyRequests)
		return
	}
	err := d.loop.Upgrade(w, r, socket.Options{CheckOrigin: func(*http.Request) bool { return true }}, func(s *socket.Conn) socket.Door {
		c.sock = s
		d.cfg.Wheel.Set(&c.timer, AuthenLimit)
		return c
	})
	if err != nil { // the peer was told
		d.from.Leave(c.from)
	}
}

// call is one REST call under way.
type call struct {
	d    *Door
	r    *http.Request
	now  time.Time
	path []string // the segments behind the version, unescaped
	b    *bearer
}

// route is one of the calls there are.
type route struct {
	name, method string
	client       bool // a client's token will do
	do           func(*call) (any, *refusal)
}

// routeOf finds it; the path is that of the document.
func routeOf(version string, path []string) *route {
	first := ""
	if len(path) > 0 {
		first = path[0]
	}
	switch {
	case version == "v1" && first == "users" && len(path) == 1:
		return &route{"users", http.MethodGet, false, (*call).list}
	case version == "v1" && first == "users" && len(path) == 2:
		return &route{"user", http.MethodGet, false, (*call).user}
	case version == "v1" && first == "users" && len(path) == 3 && path[2] == "attributes":
		return &route{"attributes", http.MethodPut, false, (*call).attributes}
	case version == "v1" && first == "calls" && len(path) == 2:
		return &route{"calls", http.MethodPut, false, (*call).call}
	case version == "v2" && first == "getStringeeServerAddress" && len(path) == 1:
		return &route{"getStringeeServerAddress", http.MethodGet, true, (*call).address}
	}
	return nil
}

// rest answers one call, in JSON whatever it is.
func (d *Door) rest(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	name, code := "unknown", codeInternal
	defer func() { d.called(name, strconv.Itoa(code), time.Since(began)) }()
	defer d.recovered("rest", func() { fail(w, r, refuse(codeInternal, internalMessage)) })
	c := &call{d: d, r: r, now: began}
	origin, done := d.crossOrigin(w, r)
	if done {
		code = codeOK
		return
	}
	answer, no := c.answer(origin, &name)
	if no != nil {
		code = no.code
		fail(w, r, no)
		return
	}
	code = codeOK
	write(w, r, http.StatusOK, answer)
}

// crossOrigin lets pages of other hosts read the answer, if their origin is one of
// any app's; a preflight is done with that.
func (d *Door) crossOrigin(w http.ResponseWriter, r *http.Request) (origin string, done bool) {
	w.Header().Add("Vary", "Origin")
	origin = r.Header.Get("Origin")
	if origin == "" || admit.SameOrigin(origin, r.Host) {
		return "", false
	}
	if d.cfg.Gate.RefusesOrigin(origin) != "" {
		return origin, false // the call says so, to who can read it
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return origin, false
	}
	w.Header().Set("Access-Control-Allow-Methods", "GET, PUT")
	w.Header().Set("Access-Control-Allow-Headers", "Content-Type, X-STRINGEE-AUTH")
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return origin, true
}

// answer does the call. It writes the call's name for the metrics.
func (c *call) answer(origin string, name *string) (any, *refusal) {
	version, rest, _ := strings.Cut(strings.TrimPrefix(c.r.URL.EscapedPath(), "/"), "/")
	for s := range strings.SplitSeq(rest, "/") {
		one, err := url.PathUnescape(s)
		if err != nil {
			return nil, refuse(codeNotFound, "the path is not escaped as a URL is")
		}
		c.path = append(c.path, one)
	}
	to := routeOf(version, c.path)
	if to == nil {
		return nil, refuse(codeNotFound, "there is nothing at this path")
	}
	*name = to.name
	if c.r.Method != to.method && !(to.method == http.MethodGet && c.r.Method == http.MethodHead) {
		return nil, refuse(codeMethod, "this call takes %s, not %.16q", to.method, c.r.Method)
	}
	if no := c.admit(origin, to); no != nil {
		return nil, no
	}
	return to.do(c)
}

// admit checks who calls, and takes a call of the app's rate.
func (c *call) admit(origin string, to *route) *refusal {
	raw := c.r.Header.Get("X-STRINGEE-AUTH")
	if raw == "" {
		raw = c.r.URL.Query().Get("access_token")
	}
	b, no := c.d.bear(raw, c.now)
	if no != nil {
		if no.code == codeEmpty {
			no.message = "the token is missing; send it in the header X-STRINGEE-AUTH, or as access_token"
		}
		return no
	}
	if !b.rest && !to.client {
		return refuse(codePayload, "this is a client's token; REST calls take one with rest_api: true and no userId")
	}
	if !b.rest { // a server's token is of no user who could be revoked
		if err := c.d.cfg.Gate.Still(b.access, c.now); err != nil {
			return c.d.refusalOf(to.name, err, nil)
		}
	} else if c.d.cfg.Tracker.Policy(b.access.App) == nil {
		return refuse(codeProject, "the token's app is not served here")
	}
	if origin != "" {
		if why := c.d.cfg.Gate.RefusesOriginFor(b.access.App, origin); why != "" {
			return refuse(codeForbidden, "%s", why)
		}
	}
	if !b.app.limit.AllowN(c.now, 1) {
		no := refuse(codeTooMany, "more than %d calls a second; try again", callsPerSecond)
		no.retryAfter = time.Second
		return no
	}
	c.b = b
	return nil
}

// body reads that of a call.
func (c *call) body() ([]byte, *refusal) {
	b, err := io.ReadAll(http.MaxBytesReader(nil, c.r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refuse(codeTooLong, "the body is longer than %d bytes", maxBody)
	case err != nil:
		return nil, refuse(codeBad, "the body did not arrive whole")
	}
	return b, nil
}

// wrong is an answer that is not 0. Its message stands under both names: the
// vendor's interfaces differ.
type wrong struct {
	R       int    `json:"r"`
	Message string `json:"message"`
	Msg     string `json:"msg"`
}

func fail(w http.ResponseWriter, r *http.Request, no *refusal) {
	if no.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((no.retryAfter+time.Second-1)/time.Second)))
	}
	write(w, r, statusOf(no.code), wrong{no.code, no.message, no.message})
}

func write(w http.ResponseWriter, r *http.Request, status int, answer any) {
	b, err := marshal(answer)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"r":500,"message":"internal error","msg":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(b)
	}
}
