package app

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/demo"
	"github.com/porchlight-dev/porchlight/internal/door/live"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence/pages"
	"github.com/porchlight-dev/porchlight/internal/door/rongcloud"
	"github.com/porchlight-dev/porchlight/internal/door/stringee"
	"github.com/porchlight-dev/porchlight/internal/door/tencentim"
	grants "github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// routes is what the HTTP port answers: the first segment of a path decides
// whose it is (design §7). Each door has a mux of its own behind its segment,
// for one mux of them all would panic where their wildcards overlap.
func (a *App) routes() dispatcher {
	d := dispatcher{
		"":        {sockets: true, to: http.HandlerFunc(a.root)},
		"healthz": {exact: true, to: http.HandlerFunc(healthz)},
		"readyz":  {exact: true, to: http.HandlerFunc(a.readyz)},
		"metrics": {exact: true, to: a.metrics.Handler()},

		"api":          {to: a.api},
		"openapi.json": {exact: true, to: a.api},

		rongcloud.Segment: {to: a.foreign.rongcloud},
		tencentim.Segment: {to: a.foreign.tencentim},

		isonlinev1.IsOnlineService_ServiceDesc.ServiceName: {to: a.door.Web(), streams: true},
		live.Name: {to: a.live, sockets: true},
	}
	for _, segment := range stringee.Segments() {
		d[segment] = mount{to: a.foreign.stringee.Load()}
	}
	if a.p.Demo {
		d["demo"] = mount{to: demo.New(demo.Config{Token: a.token, Friends: a.roster, Notify: a.nudge, Logger: a.log})}
	}
	d[mozpresence.SegmentDevices] = mount{to: a.foreign.mozpresence, sockets: true}
	d[mozpresence.SegmentPublishers] = mount{to: a.foreign.mozpresence, sockets: true}
	for _, segment := range pages.Segments() {
		d[segment] = mount{to: a.foreign.mozpresence}
	}
	return d
}

// token makes an access token with the newest configuration.
func (a *App) token(app, user string, ttl time.Duration) (string, error) {
	return a.config.Load().Token(app, user, ttl)
}

// mount is who answers below one segment. With exact, only the segment itself
// is answered, to GET and HEAD. With streams, the mount itself sees to peers that
// do not read; with sockets, it does so for requests with an Upgrade alone.
type mount struct {
	to                      http.Handler
	exact, streams, sockets bool
}

// answerLimit is how long a peer may take to read an answer.
const answerLimit = 30 * time.Second

// bodyLimit is how long a peer may take to send a body, also one that nobody
// reads: net/http reads a bit of it before it answers. Who has read it takes the
// limit back, or it would end a call that takes longer.
const bodyLimit = 10 * time.Second

// answering begins the time for reading an answer with its first byte: until then a
// call may take as long as it does. The whole server has no such limit, which
// would end streams.
type answering struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader begins the answer.
func (a *answering) WriteHeader(code int) {
	a.begin()
	a.ResponseWriter.WriteHeader(code)
}

// Write begins the answer, or goes on with it.
func (a *answering) Write(b []byte) (int, error) {
	a.begin()
	return a.ResponseWriter.Write(b)
}

func (a *answering) begin() {
	if !a.begun {
		a.begun = true
		http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(answerLimit)) // where there is none (tests) it is no loss
	}
}

// Unwrap is for http.ResponseController.
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// limited begins the limits of a request on a peer that does not send or does
// not read; one that streams sees to the latter itself.
func limited(w http.ResponseWriter, r *http.Request, streams bool) http.ResponseWriter {
	if r.ContentLength != 0 {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyLimit)) // where there is none (tests) it is no loss
	}
	if streams {
		return w
	}
	return &answering{ResponseWriter: w}
}

// alone is a door that answers every path.
func alone(door http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		door.ServeHTTP(limited(w, r, r.Header.Get("Upgrade") != ""), r) // a socket sees to such peers itself
	})
}

// dispatcher finds the mount of a request by the first segment of its path. It
// hands on the whole path.
type dispatcher map[string]mount

// ServeHTTP answers 404 where nobody is mounted.
func (d dispatcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	segment, _, deeper := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if _, named := d[segment]; !named && grants.ValidID(segment) {
		segment = mozpresence.SegmentPublishers
	}
	m, ok := d[segment]
	w = limited(w, r, m.streams || m.sockets && r.Header.Get("Upgrade") != "")
	switch {
	case !ok || m.exact && deeper:
		http.NotFound(w, r)
	case m.exact && r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page is read with GET", http.StatusMethodNotAllowed)
	default:
		m.to.ServeHTTP(w, r)
	}
}

// front is the page for who comes by.
func front(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("Porchlight is running. The IsOnline service is on the gRPC port, and here for browsers; /live is for WebSocket, and so is / for Stringee's client; the REST API is at /api/v1, described by /openapi.json; /healthz, /readyz and /metrics are here.\n"))
}

// healthz says that the process lives.
func healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"alive": true})
}

// readyz says 503 while the node starts, drains, or its store cannot take
// records; then "why" has the reason. While it still can, but not for long, it
// stays 200 and "alarm" says why.
func (a *App) readyz(w http.ResponseWriter, _ *http.Request) {
	if why := a.unready(); why != "" {
		answer(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "why": why})
		return
	}
	well := map[string]any{"ready": true}
	if a.nodes.cluster != nil {
		well["synced"] = a.bus.Synced() // whether power loss takes nothing that was acknowledged
	}
	if err := a.store.Health(); err != nil {
		// Taking the node out of service would make a full disk an outage.
		well["alarm"] = err.Error()
	}
	answer(w, http.StatusOK, well)
}

// unready says why this node takes no sessions, or nothing.
func (a *App) unready() string {
	if !a.ready.Load() {
		return "starting or stopping"
	}
	if c := a.nodes.cluster; c != nil && !c.Joined() {
		return "isolated: this node is cut off from the others or stood still; devices are sent to the other nodes until it is back"
	}
	if err := a.store.Health(); err != nil && !errors.Is(err, store.ErrAlarm) {
		return err.Error()
	}
	return ""
}

func answer(w http.ResponseWriter, code int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body)
}
