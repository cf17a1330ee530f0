package pages

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// maxForm bounds what a form may send: an access token, or a long description.
const maxForm = 64 << 10

// visit is one request, and who makes it.
type visit struct {
	p    *Pages
	w    *noted
	r    *http.Request
	at   route
	json bool // the answer is JSON

	login login // the zero one is nobody's
	app   App   // of the login
	// direct says that the caller gave its access token with the request, which no
	// page of another site can do: forms then need no note.
	direct bool
}

func (v *visit) user() presence.User { return presence.User{App: v.login.App, ID: v.login.User} }

// wantsJSON decides what an answer looks like. Browsers that go to a page say
// that they want HTML.
func wantsJSON(r *http.Request, preset bool) bool {
	accept := r.Header.Get("Accept")
	switch {
	case strings.Contains(accept, "text/html"):
		return false
	case strings.Contains(accept, "application/json"):
		return true
	}
	return preset
}

// serve answers, or returns a problem or an error.
func (v *visit) serve() error {
	run := v.at.get
	switch v.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		run = v.at.post
	default:
		run = nil
	}
	if v.at.name == "" {
		return &problem{Code: http.StatusNotFound, Title: "There is nothing here", Text: "The address may be cut off, or have a letter too many. Please check it."}
	}
	if run == nil {
		return v.wrongMethod()
	}
	if err := v.identify(); err != nil {
		return err
	}
	if v.r.Method == http.MethodPost {
		if err := v.readForm(); err != nil {
			return err
		}
	}
	if v.login.User == "" && !v.at.guest {
		return v.sendToLogin()
	}
	return run(v)
}

func (v *visit) wrongMethod() error {
	allow := "GET, HEAD"
	switch {
	case v.at.get == nil:
		allow = "POST"
	case v.at.post != nil:
		allow += ", POST"
	}
	v.w.Header().Set("Allow", allow)
	return &problem{Code: http.StatusMethodNotAllowed, Title: "This address works differently", Text: "It takes " + allow + "."}
}

// readForm reads what a form sent. Parameters of the address are no part of it.
func (v *visit) readForm() error {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	err := v.r.ParseForm()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &problem{Code: http.StatusRequestEntityTooLarge, Title: "That was too much", Text: "A form has at most 64 KiB."}
	case err != nil || !strings.HasPrefix(v.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		return &problem{Code: http.StatusBadRequest, Errno: errnoForm, Title: "The form did not arrive", Text: "What was sent is not a form (application/x-www-form-urlencoded). Please go back, load the page again and send it once more."}
	}
	// The limit on reading the body would end the wait for a store or a domain, too.
	http.NewResponseController(v.w).SetReadDeadline(time.Time{}) // where there is none (tests) it is no loss
	return nil
}

// field is what a form sent under a name, without space around it.
func (v *visit) field(name string) string { return strings.TrimSpace(v.r.PostForm.Get(name)) }

// publisherAt returns the publisher that the path or the form names, of the
// visitor's app. Others are unknown to him.
func (v *visit) publisherAt(id string) (publisher.Publisher, error) {
	return v.read(id, v.p.cfg.Publishers.Get)
}

func (v *visit) read(id string, get func(context.Context, string) (publisher.Publisher, error)) (publisher.Publisher, error) {
	if !publisher.ValidID(id) {
		return publisher.Publisher{}, unknownPublisher()
	}
	p, err := get(v.r.Context(), id)
	if err == nil && p.App != v.login.App {
		err = publisher.ErrNone
	}
	return p, err
}

// mine is publisherAt for one that the visitor registered, and may be about to
// change: at whatever node he did so last.
func (v *visit) mine(id string) (publisher.Publisher, error) {
	p, err := v.read(id, v.p.cfg.Publishers.Newest)
	if err == nil && p.Owner != v.login.User {
		return publisher.Publisher{}, unknownPublisher()
	}
	return p, err
}

// goTo answers a form by another page of ours. The address is made here.
func (v *visit) goTo(path string) error {
	v.headers("")
	v.w.Header().Set("Location", path)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// base is where the browser reaches us.
func (v *visit) base() string {
	scheme := "http"
	if v.p.cfg.Secure(v.r) {
		scheme = "https"
	}
	return (&url.URL{Scheme: scheme, Host: v.r.Host}).String()
}

// Codes of the interface that its JSON answers carry (protocol note C4, errno).
const (
	errnoAssertion = 34
	errnoExpired   = 35
	errnoForm      = 36
	errnoSlowDown  = 42
	errnoInactive  = 43
	errnoUnknown   = 44
)

// problem is an answer that says why something was not done.
type problem struct {
	Code  int
	Errno int // 0: the interface has none
	Title string
	Text  string
	// Link leads on, with its words.
	Link, Words string
	after       time.Duration // when positive: when to try again
}

// Error makes a problem an error.
func (p *problem) Error() string { return p.Title + ": " + p.Text }

func internal() *problem {
	return &problem{Code: http.StatusInternalServerError, Title: "Something went wrong here", Text: "It is our fault, and it is in the server's log. Please try again."}
}

func unknownPublisher() *problem {
	return &problem{Code: http.StatusNotFound, Errno: errnoUnknown, Title: "We do not know this publisher",
		Text: "It is not registered here, or it belongs to somebody else. Check the address you came by, and that you are signed in as the right user."}
}

// fail answers with an error: known ones in words, others as ours.
func (v *visit) fail(err error) {
	var p *problem
	var f *fault.Error
	switch {
	case errors.As(err, &p):
	case errors.Is(err, publisher.ErrNone):
		p = unknownPublisher()
	case errors.Is(err, publisher.ErrNotActive):
		p = &problem{Code: http.StatusConflict, Errno: errnoInactive, Title: "This publisher is not active", Text: "Its owner has not switched it on, or has switched it off. Nothing was changed."}
	case errors.Is(err, publisher.ErrNotProven):
		p = &problem{Code: http.StatusConflict, Errno: errnoInactive, Title: "The domain is not proven yet", Text: "Before there is an API key, the domain must be proven."}
	case errors.Is(err, publisher.ErrMoved):
		p = &problem{Code: http.StatusConflict, Title: "It was changed meanwhile", Text: "Something changed since the page was loaded, so nothing was done. Please load the page again."}
	case errors.Is(err, publisher.ErrTooMany):
		p = &problem{Code: http.StatusConflict, Title: "There are too many already", Text: "You have as many as one user may have. Take one back first."}
	case errors.As(err, &f) && f.RetryAfter > 0:
		p = &problem{Code: http.StatusServiceUnavailable, Title: "Not right now", Text: "We cannot do this at the moment, and nothing was changed. Please try again in a few seconds.", after: f.RetryAfter}
	case errors.As(err, &f) && f.Kind == fault.FieldInvalid && len(f.Fields) > 0:
		p = &problem{Code: http.StatusBadRequest, Errno: errnoForm, Title: "That cannot be used", Text: f.Fields[0].Path + ": " + f.Fields[0].Rule}
	default:
		if v.r.Context().Err() == nil {
			v.p.log.ErrorContext(v.r.Context(), "a page was not answered", "door", "mozpresence", "page", v.at.name, "error", err)
		}
		p = internal()
	}
	v.say(p)
}
