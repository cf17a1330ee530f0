package rongcloud

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Segment is the first segment of the paths that the door answers.
const Segment = "user"

// checkOnline is the one path there is; the .xml of old documents is not.
const checkOnline = "/" + Segment + "/checkOnline.json"

// Bounds of a request. A nonce is at most 18 characters by the documents and up
// to 20 on the wire.
const (
	maxUser = 64 // bytes
	maxText = 128
	maxBody = 16 << 10
	mostID  = 36 // characters of a request's id
)

// Tracker knows who is online.
type Tracker interface {
	Presence(presence.User) *presence.Presence
}

// Config is what the door needs. Tracker and Logger are required.
type Config struct {
	Tracker Tracker
	Apps    []App
	// Unsure, when not nil, reports that a user who is not known here may be known
	// to a node that is not heard of at the moment.
	Unsure func(presence.User) bool
	Logger *slog.Logger
	// Called, when not nil, hears of each request that was answered, with the code
	// of the interface.
	Called func(method, code string, took time.Duration)
}

// Door answers the queries of a node. Make it with New.
type Door struct {
	cfg  Config
	log  *slog.Logger
	apps atomic.Pointer[map[string]*served] // by App Key; replaced as a whole
}

// New returns a door that serves at once.
func New(cfg Config) *Door {
	d := &Door{cfg: cfg, log: cfg.Logger}
	d.SetApps(cfg.Apps)
	return d
}

// ServeHTTP answers what stands below /user, in JSON whatever it is.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	method, code := "unknown", codeInternal
	defer func() {
		if p := recover(); p != nil {
			d.log.ErrorContext(r.Context(), "panic", "door", "rongcloud", "method", method, "request", requestID(r), "panic", p, "stack", string(debug.Stack()))
			write(w, r, codeInternal, refuse(codeInternal, "internal error; the server's log has the details"))
		}
		if d.cfg.Called != nil {
			d.cfg.Called(method, strconv.Itoa(code), time.Since(began))
		}
	}()
	if r.URL.Path == checkOnline && r.Method == http.MethodPost {
		method = "checkOnline"
	}
	online, err := d.check(r)
	if err != nil {
		code = err.Code
		write(w, r, code, err)
		return
	}
	code = codeOK
	write(w, r, code, onlineAnswer{codeOK, online})
}

// onlineAnswer is the answer to a query. Status is text: a number breaks clients.
type onlineAnswer struct {
	Code   int    `json:"code"`
	Status string `json:"status"` // "1" online, "0" not
}

// check answers one query.
func (d *Door) check(r *http.Request) (online string, _ *refusal) {
	if r.URL.Path != checkOnline {
		return "", refuse(codePath, "there is nothing at this path; POST %s is what there is", checkOnline)
	}
	if r.Method != http.MethodPost {
		return "", refuse(codePath, "%s takes POST, not %.16q", checkOnline, r.Method)
	}
	app, no := d.admit(r)
	if no != nil {
		return "", no
	}
	user, no := userOf(r)
	if no != nil {
		return "", no
	}
	name := presence.User{App: app.App.App, ID: presence.UserID(user)}
	p := d.cfg.Tracker.Presence(name)
	switch {
	case p.Available(false) != presence.Unavailable:
		return "1", nil
	case p.Version == 0 && d.cfg.Unsure != nil && d.cfg.Unsure(name):
		return "", refuse(codeTimeOut, "a node that may know the user is not heard of; try again")
	}
	return "0", nil
}

// admit finds the app whose backend calls, and takes a call of its rate.
func (d *Door) admit(r *http.Request) (*served, *refusal) {
	key, nonce, at, signature := header(r, "App-Key"), header(r, "Nonce"), header(r, "Timestamp"), header(r, "Signature")
	if key == "" {
		return nil, refuse(codeApp, "the header App-Key (or RC-App-Key) is missing")
	}
	for name, v := range map[string]string{"Nonce": nonce, "Timestamp": at, "Signature": signature} {
		switch {
		case v == "":
			return nil, refuse(codeSignature, "a signature is made of the headers Nonce, Timestamp and Signature (or RC-Nonce, …), and one is missing")
		case len(v) > maxText:
			return nil, refuse(codeTooLong, "the header %s is longer than %d characters", name, maxText)
		}
	}
	app := (*d.apps.Load())[key]
	if app == nil {
		return nil, refuse(codeApp, "no app has this App-Key")
	}
	if !signed(app.Secret, nonce, at, signature) {
		return nil, refuse(codeSignature, "the signature is wrong; it is the SHA-1 of App Secret, Nonce and Timestamp in lower-case hex")
	}
	now := time.Now()
	if app.Window > 0 && !within(at, now, app.Window) {
		return nil, refuse(codeSignature, "the Timestamp is more than %v from now; this app's configuration takes no older signatures", app.Window)
	}
	if !app.limit.AllowN(now, 1) {
		return nil, refuse(codeRate, "more than %d calls a second; try again", callsPerSecond)
	}
	return app, nil
}

// header returns a header by its name, or by the one that begins with RC-.
func header(r *http.Request, name string) string {
	if v := r.Header.Get(name); v != "" {
		return v
	}
	return r.Header.Get("RC-" + name)
}

// secondsBelow is more than any number of seconds and less than any number of
// milliseconds that is meant: 11 digits.
const secondsBelow = 100_000_000_000

// within reports whether a time, in seconds or in milliseconds, is at most
// window from now.
func within(text string, now time.Time, window time.Duration) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return false
	}
	at := time.UnixMilli(n)
	if n < secondsBelow {
		at = time.Unix(n, 0)
	}
	return at.Sub(now).Abs() <= window
}

// userOf reads whom a query asks for.
func userOf(r *http.Request) (string, *refusal) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return "", refuse(codeTooLong, "the body is longer than %d bytes", maxBody)
	case err != nil:
		return "", refuse(codeNoBody, "the body did not arrive whole")
	case len(body) == 0:
		return "", refuse(codeNoBody, "there is no body; send the form userId=…")
	}
	return parseUser(string(body))
}

// parseUser reads the form of a query.
func parseUser(body string) (string, *refusal) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return "", refuse(codeParameter, "the body is not a form (application/x-www-form-urlencoded)")
	}
	switch user := form.Get("userId"); {
	case user == "":
		return "", refuse(codeParameter, "userId is missing; send the form userId=…")
	case len(user) > maxUser:
		return "", refuse(codeTooLong, "userId is longer than %d bytes", maxUser)
	case !presence.ValidUserID(user):
		return "", refuse(codeParameter, "userId is not UTF-8 without control characters")
	default:
		return user, nil
	}
}

// requestID is the caller's id of a request, for the log.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); len(id) <= mostID {
		return id
	}
	return ""
}

func write(w http.ResponseWriter, r *http.Request, code int, answer any) {
	b, _ := json.Marshal(answer) // numbers and text
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(statusOf(code))
	if r.Method != http.MethodHead {
		w.Write(b)
	}
}
