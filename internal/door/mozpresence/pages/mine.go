package pages

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// mayRegister reports whether the visitor may register publishers.
func (v *visit) mayRegister() bool {
	return v.app.Open || slices.Contains(v.app.Developers, v.login.User)
}

// mineView is the page of a developer's publishers.
type mineView struct {
	Publishers []publisher.Publisher
	May        bool
	Form       publisher.Registration
	Note       string
	Wrong      []wrong
	Private    bool
	Most       limits
}

type limits struct{ Name, Description, Email int }

// wrong is one field of a form with what is wrong with it.
type wrong struct{ Field, Label, Why string }

// Of returns what is wrong with a field, or "".
func (m mineView) Of(field string) string {
	for _, w := range m.Wrong {
		if w.Field == field {
			return w.Why
		}
	}
	return ""
}

func (v *visit) showMine() error {
	return v.minePage(http.StatusOK, publisher.Registration{}, nil)
}

func (v *visit) minePage(code int, form publisher.Registration, bad []wrong) error {
	owned, err := v.p.cfg.Publishers.Owned(v.r.Context(), v.user())
	if err != nil {
		return err
	}
	return v.show(code, view{Page: "mine", Title: "Your publishers", Wrong: len(bad) > 0, Body: mineView{
		Publishers: owned, May: v.mayRegister(), Form: form, Note: v.formNote("register", strconv.Itoa(len(owned))), Wrong: bad, Private: v.app.AllowPrivate,
		Most: limits{publisher.MaxName, publisher.MaxDescription, publisher.MaxEmail},
	}})
}

// labels name the fields of a registration as its form does, in its order.
var labels = []wrong{{Field: "domain", Label: "Domain"}, {Field: "name", Label: "Name"}, {Field: "description", Label: "Description"}, {Field: "email", Label: "Contact e-mail"}}

// register makes a publisher.
func (v *visit) register() error {
	owned, err := v.p.cfg.Publishers.Owned(v.r.Context(), v.user())
	if err != nil {
		return err
	}
	// A form that was sent already knows of one publisher less.
	if err := v.checkForm("register", strconv.Itoa(len(owned))); err != nil {
		return err
	}
	if !v.mayRegister() {
		return &problem{Code: http.StatusForbidden, Title: "You cannot register publishers", Text: "In this app only some people may. Ask the people who run it."}
	}
	typed := publisher.Registration{Domain: v.field("domain"), Name: v.field("name"), Description: strings.ReplaceAll(v.field("description"), "\r\n", "\n"), Email: v.field("email")}
	bad := checkRegistration(typed, v.app.AllowPrivate)
	if len(bad) > 0 {
		if v.json {
			return &problem{Code: http.StatusUnprocessableEntity, Errno: errnoForm, Title: "That cannot be registered", Text: bad[0].Label + ": " + bad[0].Why}
		}
		return v.minePage(http.StatusUnprocessableEntity, typed, bad)
	}
	reg := typed
	if reg.Domain, err = domainOf(typed.Domain, v.app.AllowPrivate); err != nil {
		return err
	}
	made, err := v.p.cfg.Publishers.Register(v.r.Context(), v.user(), reg)
	if err != nil {
		return err
	}
	if v.json {
		return v.writeJSON(http.StatusOK, map[string]string{"result": "OK", "appid": made.ID, "domain": made.Domain, "proof": made.Proof})
	}
	return v.goTo("/myapps/" + made.ID)
}

// checkRegistration says what is wrong with what was typed, in the form's order.
func checkRegistration(typed publisher.Registration, private bool) []wrong {
	var bad []wrong
	domain, err := domainOf(typed.Domain, private)
	if err != nil {
		bad = append(bad, wrong{"domain", "Domain", err.Error()})
		domain = "example.com" // the others are checked all the same
	}
	typed.Domain = domain
	_, err = typed.Check()
	var f *fault.Error
	if errors.As(err, &f) {
		for _, l := range labels {
			for _, field := range f.Fields {
				if field.Path == l.Field {
					bad = append(bad, wrong{l.Field, l.Label, advice(typed, field)})
				}
			}
		}
	}
	return bad
}

// advice says what to do about a field, in words for people.
func advice(typed publisher.Registration, f fault.Field) string {
	switch {
	case f.Path == "name" && typed.Name == "":
		return "Enter a name, such as Chat"
	case f.Path == "name":
		return fmt.Sprintf("Enter at most %d characters on one line", publisher.MaxName)
	case f.Path == "email":
		return "Enter one e-mail address, such as you@example.com"
	case f.Path == "description":
		return fmt.Sprintf("Enter at most %d characters; there are %d", publisher.MaxDescription, utf8.RuneCountInString(typed.Description))
	}
	return f.Rule
}

// oneView is the page of one publisher.
type oneView struct {
	publisher.Publisher
	Readable string // the domain as people write it, where that differs
	Base     string // of our addresses, with http
	Socket   string // the same with ws
	Notes    struct{ Validate, Activate, Rotate, Deactivate string }
	Tried    []attempt // when a check of the domain failed
	Key      string    // the new API key, this once
	Done     string    // what was done
	Private  bool
}

// Registered, Proven and Active are how far it is.
func (o oneView) Registered() bool { return o.State == publisher.Registered }

// Active reports that there is an API key.
func (o oneView) Active() bool { return o.State == publisher.Active }

func (v *visit) showOne() error {
	p, err := v.mine(v.at.id)
	if err != nil {
		return err
	}
	return v.onePage(http.StatusOK, oneView{Publisher: p})
}

func (v *visit) onePage(code int, o oneView) error {
	o.Readable, o.Base, o.Private = readable(o.Domain), v.base(), v.app.AllowPrivate
	o.Socket = "ws" + strings.TrimPrefix(o.Base, "http")
	o.Notes.Validate = v.formNote("validate", o.ID)
	on := onRevision(o.Publisher)
	o.Notes.Activate, o.Notes.Rotate, o.Notes.Deactivate = v.formNote("activate", on), v.formNote("rotate", on), v.formNote("deactivate", on)
	return v.show(code, view{Page: "one", Title: o.Name, Wrong: len(o.Tried) > 0, Body: o})
}

// onRevision names a publisher as it stands: what is done to it once makes a form
// of before void.
func onRevision(p publisher.Publisher) string {
	return p.ID + " " + strconv.FormatUint(p.Revision(), 10)
}

// proof gives the text that the domain must serve, as a file.
func (v *visit) proof() error {
	p, err := v.mine(v.at.id)
	if err != nil {
		return err
	}
	v.headers("")
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	v.w.Header().Set("Content-Disposition", `attachment; filename="__presence"`)
	v.w.WriteHeader(http.StatusOK)
	if v.r.Method != http.MethodHead {
		v.w.Write([]byte(p.Proof))
	}
	return nil
}

// validate asks the domain for its proof.
func (v *visit) validate() error {
	p, err := v.mine(v.field("appid"))
	if err == nil {
		err = v.checkForm("validate", p.ID)
	}
	if err != nil {
		return err
	}
	if p.State == publisher.Registered {
		if !v.p.calls.allow(v.user(), time.Now()) {
			return &problem{Code: http.StatusTooManyRequests, Errno: errnoSlowDown, Title: "Please wait a little", Text: "A domain is looked at ten times a minute at most. Please try again in a few seconds.",
				Link: "/myapps/" + p.ID, Words: "Back to " + p.Name, after: slowDown}
		}
		tried, proven := v.p.fetchProof(v.r.Context(), p, v.app.AllowPrivate)
		if !proven {
			if v.json {
				last := tried[len(tried)-1]
				return &problem{Code: http.StatusUnprocessableEntity, Title: "The domain is not proven", Text: last.Address + ": " + last.Why}
			}
			return v.onePage(http.StatusUnprocessableEntity, oneView{Publisher: p, Tried: tried})
		}
		if p, err = v.p.cfg.Publishers.Prove(v.r.Context(), p.ID); err != nil {
			return err
		}
	}
	if v.json {
		return v.writeJSON(http.StatusOK, map[string]string{"result": "OK", "appid": p.ID})
	}
	return v.goTo("/myapps/" + p.ID)
}

// activate gives a publisher an API key, another one, or takes it away. The key
// is in the answer and nowhere else.
func (v *visit) activate() error {
	p, err := v.mine(v.field("appid"))
	if err != nil {
		return err
	}
	what := or(v.field("action"), "activate")
	if err := v.checkForm(what, onRevision(p)); err != nil {
		return err
	}
	o := oneView{}
	switch {
	case what == "activate" && p.State == publisher.Active:
		return &problem{Code: http.StatusConflict, Title: "This publisher is active already", Text: "It has an API key. If that is lost, make a new one; the old one is void then.", Link: "/myapps/" + p.ID, Words: "Back to " + p.Name}
	case what == "rotate" && p.State != publisher.Active:
		return publisher.ErrNotActive
	case what == "activate" || what == "rotate":
		o.Key, o.Publisher, err = v.p.cfg.Publishers.Activate(v.r.Context(), p.ID, p.Revision())
	case what == "deactivate":
		o.Publisher, err = v.p.cfg.Publishers.Deactivate(v.r.Context(), p.ID)
		o.Done = "The API key is void. Nothing is told to this publisher any more until you activate it again."
	default:
		return &problem{Code: http.StatusBadRequest, Errno: errnoForm, Title: "That is nothing we can do", Text: "action is one of activate, rotate and deactivate."}
	}
	if err != nil {
		return err
	}
	if v.json {
		answer := map[string]string{"result": "OK", "appid": p.ID}
		if o.Key != "" {
			answer["key"] = o.Key
		}
		return v.writeJSON(http.StatusOK, answer)
	}
	return v.onePage(http.StatusOK, o)
}
