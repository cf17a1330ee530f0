package tencentim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/revoke"
)

// Segment is the first segment of the paths that the door answers.
const Segment = "v4"

// maxBody has room for 500 ids of 128 bytes, each byte escaped.
const maxBody = 512 << 10

// Tracker knows who is online, and ends sessions.
type Tracker interface {
	// Presence is the newest picture of a user; of one never heard of an empty one.
	Presence(presence.User) *presence.Presence
	// Drop ends all sessions of a user (nil), and returns when that is stored.
	Drop(ctx context.Context, name presence.User, public *presence.PublicID) (int, error)
	// Takes reports, with an error, that what a server says may be old here.
	Takes() error
}

// Config is what the door needs. Tracker, Revocations and Logger are required.
type Config struct {
	Tracker     Tracker
	Revocations *revoke.Revocations
	Apps        []App
	// Unsure, when not nil, reports that a user who is not known here may be known
	// to a node that is not heard of at the moment.
	Unsure func(presence.User) bool
	Logger *slog.Logger
	// Called, when not nil, hears of each request that was answered, with the code
	// of the interface.
	Called func(method, code string, took time.Duration)
}

// Door answers the calls of a node. Make it with New.
type Door struct {
	cfg  Config
	log  *slog.Logger
	apps atomic.Pointer[map[int64]*served] // by SDKAppID; replaced as a whole
}

// New returns a door that serves at once.
func New(cfg Config) *Door {
	d := &Door{cfg: cfg, log: cfg.Logger}
	d.SetApps(cfg.Apps)
	return d
}

// command is one call of the interface.
type command struct {
	name            string
	admin, internal int // its codes for: not an administrator; a fault of ours
	limit           func(*served) *rate.Limiter
	run             func(context.Context, call) (any, *refusal)
}

// call is a request of an administrator.
type call struct {
	app        *served
	identifier string
	body       []byte
}

func (s *served) ofQueries() *rate.Limiter { return s.queries }
func (s *served) ofKicks() *rate.Limiter   { return s.kicks }

// command finds the command at a path.
func (d *Door) command(path string) (command, bool) {
	switch path {
	case "/v4/openim/query_online_status":
		return command{"query_online_status", codeQueryAdmin, codeQueryInternal, (*served).ofQueries, d.queryOnlineStatus}, true
	case "/v4/openim/querystate":
		return command{"querystate", codeQueryAdmin, codeQueryInternal, (*served).ofQueries, d.queryState}, true
	case "/v4/im_open_login_svc/kick":
		return command{"kick", codeKickAdmin, codeKickInternal, (*served).ofKicks, d.kick}, true
	}
	return command{name: "unknown", internal: codeHTTP}, false
}

// ServeHTTP answers what stands below /v4: always with status 200.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c, found := d.command(r.URL.Path)
	code := c.internal
	defer func() {
		if p := recover(); p != nil {
			d.log.ErrorContext(r.Context(), "panic", "door", "tencentim", "method", c.name, "panic", p, "stack", string(debug.Stack()))
			write(w, r, refuse(c.internal, "internal error; the server's log has the details").result())
		}
		if d.cfg.Called != nil {
			d.cfg.Called(c.name, strconv.Itoa(code), time.Since(began))
		}
	}()
	answer, no := d.serve(w, r, c, found)
	if no != nil {
		code = no.Code
		write(w, r, no.result())
		return
	}
	code = codeOK
	write(w, r, answer)
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request, c command, found bool) (any, *refusal) {
	switch {
	case !found:
		return nil, refuse(codeResource, "there is nothing at this path; see /v4/openim/query_online_status and /v4/im_open_login_svc/kick")
	case r.Method != http.MethodPost:
		return nil, refuse(codeHTTP, "%s takes POST, not %.16q", r.URL.Path, r.Method)
	}
	app, identifier, no := d.admit(r, c)
	if no != nil {
		return nil, no
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refuse(codeHTTP, "the body is longer than %d bytes", maxBody)
	case err != nil:
		return nil, refuse(codeHTTP, "the body did not arrive whole")
	}
	// The limit on reading the body would end the wait for the store, too.
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // where there is none (tests) it is no loss
	return c.run(r.Context(), call{app, identifier, body})
}

// admit finds the app that is called and who calls, and takes a call of its rate.
func (d *Door) admit(r *http.Request, c command) (*served, string, *refusal) {
	query := r.URL.Query()
	id, identifier, sig := query.Get("sdkappid"), query.Get("identifier"), query.Get("usersig")
	if id == "" {
		return nil, "", refuse(codeNoApp, "sdkappid is missing in the URL")
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 {
		return nil, "", refuse(codeAppInvalid, "sdkappid in the URL is not a number above 0")
	}
	app := (*d.apps.Load())[n]
	switch {
	case app == nil:
		return nil, "", refuse(codeAppUnknown, "no app has this sdkappid")
	case app.Key == "":
		return nil, "", refuse(codeNoKey, "the app has no key to check a usersig with; its configuration lacks tencentim.key")
	case identifier == "":
		return nil, "", refuse(codeIdentifier, "identifier is missing in the URL")
	case sig == "":
		return nil, "", refuse(codeNoSig, "usersig is missing in the URL")
	}
	now := time.Now()
	claims, no := app.userSigOf(sig, identifier, now)
	switch {
	case no != nil:
		return nil, "", no
	case claims.issued < d.before(presence.User{App: app.App.App, ID: presence.UserID(identifier)}):
		return nil, "", refuse(codeSigExpired, "usersig was made before the user was kicked; make a new one")
	case !app.administers(identifier):
		return nil, "", refuse(c.admin, "identifier is no administrator of the app; its configuration has them in tencentim.admins")
	case !c.limit(app).AllowN(now, 1):
		return nil, "", refuse(codeFrequent, "more than %d calls a second; try again", callsPerSecond)
	}
	return app, identifier, nil
}

// before is the second from which on UserSigs of a user count: one that is made
// in the very second of a kick is a new one.
func (d *Door) before(name presence.User) int64 {
	return d.cfg.Revocations.Before(name).Time().Unix()
}

func write(w http.ResponseWriter, r *http.Request, answer any) {
	b, _ := json.Marshal(answer) // numbers and text
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method != http.MethodHead {
		w.Write(b)
	}
}
