package rest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/revoke"
	"github.com/porchlight-dev/porchlight/internal/roster"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// Prefix is where the API stands on the HTTP port, and OpenAPIPath where its
// description does.
const (
	Prefix      = "/api/v1"
	OpenAPIPath = "/openapi.json"
)

// Letters are dead letters of webhooks; a store keeps them.
type Letters interface {
	// EraseLetters takes away every letter about the user, at all endpoints.
	EraseLetters(ctx context.Context, user presence.User) error
}

// Mailboxes keep notifications for users until they come.
type Mailboxes interface {
	// Put stores notifications, all or none.
	Put(ctx context.Context, items []mailbox.Item) ([]mailbox.Receipt, error)
	// Erase forgets all that waits for a user.
	Erase(ctx context.Context, user presence.User) error
}

// Webhooks serve endpoints; a *webhook.Deliverer does, and among several nodes a
// *webhook.Anywhere.
type Webhooks interface {
	// Status: see webhook.Deliverer.
	Status(ctx context.Context, app presence.AppID) ([]webhook.Status, error)
	// Endpoint: see webhook.Deliverer.
	Endpoint(ctx context.Context, app presence.AppID, name string) (webhook.Status, error)
	// Letters: see webhook.Deliverer.
	Letters(ctx context.Context, app presence.AppID, name, after string, limit int) (letters []webhook.Letter, next string, err error)
	// Replay: see webhook.Deliverer.
	Replay(ctx context.Context, app presence.AppID, name string, from webhook.From) (webhook.Replay, error)
	// CancelReplay: see webhook.Deliverer.
	CancelReplay(ctx context.Context, app presence.AppID, name, id string) (webhook.Replay, error)
	// Resend: see webhook.Deliverer.
	Resend(ctx context.Context, app presence.AppID, name string, what webhook.Resend) (webhook.Resent, error)
}

// Config is what the door needs. Tracker, Roster, Topics, Revocations, Webhooks,
// Facts, Letters, Mailboxes and Logger are required.
type Config struct {
	Tracker *tracker.Tracker
	Texts   *localize.Set // makes texts of references; nil: fallback texts alone
	// Revocations make access tokens void.
	Revocations *revoke.Revocations
	Roster      *roster.Roster
	Topics      *topic.Topics
	Webhooks    Webhooks
	Facts       *facts.Reader
	// Letters forgets what dead letters say of a user.
	Letters   Letters
	Mailboxes Mailboxes
	// Grants, when not nil, forgets what an erased user granted at the Mozilla
	// interface, and the publishers that he registered there.
	Grants interface {
		Erase(ctx context.Context, user presence.User) error
	}
	// Cluster says how the nodes are doing, with the sessions of an app; nil: this
	// one is alone.
	Cluster func(ctx context.Context, app presence.AppID) Cluster
	Keys    []Key
	// Rates are how many requests a second the keys of an app may make together.
	Rates map[presence.AppID]float64
	// Version is the program's, for the description.
	Version string
	// Retention is how long the log keeps a record.
	Retention time.Duration
	Logger    *slog.Logger
	// Called, when not nil, hears of each request that was answered.
	Called func(Call)
}

// Call is one request that was answered.
type Call struct {
	Method string // id of the operation; "unknown" when it is none of ours
	Code   string // a kind of fault, or "OK"
	Took   time.Duration
}

// Door is the REST API of a node. Make it with New.
type Door struct {
	cfg  Config
	log  *slog.Logger
	keys keyring
	// rates are of all keys of an app.
	rates atomic.Pointer[rates]
	mux   *http.ServeMux
	api   huma.API
	// described is the OpenAPI document.
	described []byte
	stopping  chan struct{} // closed when the node stops
	drain     sync.Once
	snapshots underWay
}

// New returns a door that serves at once.
func New(cfg Config) (*Door, error) {
	d := &Door{cfg: cfg, log: cfg.Logger, mux: http.NewServeMux(), stopping: make(chan struct{})}
	d.SetKeys(cfg.Keys)
	d.SetRates(cfg.Rates)
	d.api = humago.New(d.mux, describe(cfg.Version))
	d.api.UseMiddleware(named)
	d.registerUsers()
	d.registerOnline()
	d.registerSessions()
	d.registerPresence()
	d.registerFriends()
	d.registerAttributes()
	d.registerErasure()
	d.registerNotifications()
	d.registerWebhooks()
	d.registerAgain()
	d.registerChanges()
	d.registerHistory()
	d.registerSnapshot()
	d.registerCluster()
	var err error
	if d.described, err = json.Marshal(d.api.OpenAPI()); err != nil {
		return nil, fmt.Errorf("describe the REST API: %w", err)
	}
	return d, nil
}

// request is what is known of a request while it is served.
type request struct {
	id     string
	key    *key   // nil until it is known
	method string // id of the operation
	code   string // of the problem it was answered with, if it was
	// control is of the connection; nil in no request.
	control *http.ResponseController
}

// bodyRead ends the limit on reading the body: it would end the wait for the
// answer, too.
func (r *request) bodyRead() {
	if r.control != nil {
		r.control.SetReadDeadline(time.Time{}) // where there is none (tests) it is no loss
	}
}

// requestKey is the context's key of a *request.
type requestKey struct{}

// requestOf returns the request that ctx belongs to.
func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// named notes which operation a request is for.
func named(ctx huma.Context, next func(huma.Context)) {
	requestOf(ctx.Context()).method = ctx.Operation().OperationID
	next(ctx)
}

// ServeHTTP answers what stands below Prefix, and the description.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	req := &request{id: requestID(r), method: "unknown", code: "OK", control: http.NewResponseController(w)}
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, req))
	w.Header().Set("X-Request-Id", req.id)
	w.Header().Set("Cache-Control", "no-store")
	defer func() {
		if p := recover(); p != nil {
			d.log.ErrorContext(r.Context(), "panic", "door", "rest", "method", req.method, "request", req.id, "panic", p, "stack", string(debug.Stack()))
			d.refuse(w, r, fault.New(fault.Internal, internalDetail))
		}
		if d.cfg.Called != nil {
			d.cfg.Called(Call{Method: req.method, Code: req.code, Took: time.Since(began)})
		}
	}()
	d.serve(w, r, req)
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request, req *request) {
	if r.URL.Path == OpenAPIPath {
		d.describeTo(w, r, req)
		return
	}
	if err := d.admit(w, r, req); err != nil {
		d.refuse(w, r, err)
		return
	}
	if at := r.URL.EscapedPath(); path.Clean(at) != at {
		// The mux would send such a path elsewhere. In the name of a user "/" and a
		// "." alone are escaped.
		d.refusePath(w, r, "the path has an empty, a . or a .. segment; write %2F and %2E in names")
		return
	}
	if _, pattern := d.mux.Handler(r); pattern == "" {
		d.unknown(w, r)
		return
	}
	d.mux.ServeHTTP(w, r)
}

// describeTo gives the OpenAPI document, to everybody.
func (d *Door) describeTo(w http.ResponseWriter, r *http.Request, req *request) {
	req.method = "openapi"
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		d.refuseMethod(w, r, "GET, HEAD")
		return
	}
	w.Header().Set("Content-Type", "application/openapi+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(d.described)))
	if r.Method == http.MethodGet {
		w.Write(d.described)
	}
}

// unknown answers what no operation is for: 405 when another method is.
func (d *Door) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := *r
		other.Method = m
		if _, pattern := d.mux.Handler(&other); pattern != "" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		d.refusePath(w, r, "there is nothing at this path; "+OpenAPIPath+" lists what there is")
		return
	}
	d.refuseMethod(w, r, strings.Join(allowed, ", "))
}

// maxRequestID bounds an id that the caller gave.
const maxRequestID = 64

// requestID is the id that the caller gave, if it is a decent one, or a new one.
// It is in the answer, in problems and in the log.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	decent := len(id) > 0 && len(id) <= maxRequestID
	for i := range len(id) {
		c := id[i]
		decent = decent && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.", c) >= 0)
	}
	if decent {
		return id
	}
	return rand.Text()
}
