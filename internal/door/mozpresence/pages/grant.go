package pages

import (
	"errors"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// question is what a user is asked: whether a publisher may see him. Or, on the
// page for taking it back, whether it shall not any more.
type question struct {
	publisher.Publisher
	Readable string
	Redirect string // as it came
	Label    string // what the publisher calls the user
	Already  bool   // it may already
	Since    time.Time
	Note     string
	At       string // where the form goes
}

// wanted is what the address of a grant page, or its form, asks for.
func (v *visit) wanted() (p publisher.Publisher, redirect, label string, err error) {
	if p, err = v.publisherAt(v.at.id); err != nil {
		return p, "", "", err
	}
	if v.r.Method == http.MethodPost {
		return p, v.r.PostForm.Get("redirect"), v.r.PostForm.Get("id"), nil
	}
	q := v.r.URL.Query()
	return p, q.Get("redirect"), q.Get("id"), nil
}

// badRedirect tells the user, who can do nothing about it, that he is not sent
// anywhere.
func badRedirect(p publisher.Publisher, err error) *problem {
	return &problem{Code: http.StatusBadRequest, Errno: errnoForm, Title: "We stopped here to keep you safe",
		Text: "The site that sent you here, or somebody in its name, made a mistake: " + err.Error() + ". Nothing was shared. People of " + p.Domain + " find the rules in the documentation.", Link: "/grant", Words: "See whom you share with"}
}

// ask shows the question.
func (v *visit) ask() error {
	p, redirect, label, err := v.wanted()
	if err != nil {
		return err
	}
	back, err := targetOf(redirect, p.Domain, v.app.AllowPrivate)
	if err != nil {
		return badRedirect(p, err)
	}
	if p.State != publisher.Active {
		return publisher.ErrNotActive
	}
	if len([]rune(label)) > publisher.MaxLabel {
		return &problem{Code: http.StatusBadRequest, Errno: errnoForm, Title: "The name is too long", Text: "id, the name by which the site knows you, is too long. Nothing was shared."}
	}
	g, already, err := v.p.cfg.Publishers.Granted(v.r.Context(), v.user(), p.ID)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, view{Page: "ask", Title: "Share with " + p.Name + "?", Leads: back.origin, Body: question{
		Publisher: p, Readable: readable(p.Domain), Redirect: redirect, Label: label, Already: already, Since: g.At.Time(), Note: v.formNote("grant", p.ID), At: "/" + p.ID + "/grant",
	}})
}

// answer takes the user's answer and sends him back.
func (v *visit) answer() error {
	p, redirect, label, err := v.wanted()
	if err == nil {
		err = v.checkForm("grant", p.ID)
	}
	if err != nil {
		return v.again(err, redirect, label)
	}
	back, err := targetOf(redirect, p.Domain, v.app.AllowPrivate)
	if err != nil {
		return badRedirect(p, err)
	}
	switch allow, deny := v.r.PostForm.Has("allow"), v.r.PostForm.Has("disallow"); {
	case deny && !allow:
		return v.sendBack(back.String(), map[string]string{"result": "OK"})
	case !allow || deny:
		return &problem{Code: http.StatusBadRequest, Errno: errnoForm, Title: "There was no answer", Text: "The form says neither allow nor disallow. Nothing was shared."}
	}
	g, err := v.p.cfg.Publishers.Grant(v.r.Context(), v.user(), p.ID, label)
	if err != nil {
		return err
	}
	return v.sendBack(back.with(g.UID), map[string]string{"result": "OK", "uid": g.UID})
}

// again makes the way back to the question out of a refused form.
func (v *visit) again(err error, redirect, label string) error {
	var p *problem
	if errors.As(err, &p) && p.Code == http.StatusForbidden && p.Link != "" {
		p.Link = "/" + v.at.id + "/grant?" + query("redirect", redirect, "id", label)
	}
	return err
}

// sendBack sends the browser to an address that targetOf made.
func (v *visit) sendBack(to string, answer map[string]string) error {
	if v.json {
		answer["redirect"] = to
		return v.writeJSON(http.StatusOK, answer)
	}
	v.headers("")
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// granted is one line of the user's list.
type granted struct {
	publisher.Grant
	Name, Domain, Readable, Description string
	Active                              bool
	Note                                string
}

// list returns whom the visitor let, oldest first. One that is gone from the
// registry is left out.
func (v *visit) list() ([]granted, error) {
	grants, err := v.p.cfg.Publishers.Grants(v.r.Context(), v.user())
	if err != nil {
		return nil, err
	}
	all := make([]granted, 0, len(grants))
	for _, g := range grants {
		p, err := v.p.cfg.Publishers.Get(v.r.Context(), g.Publisher)
		if errors.Is(err, publisher.ErrNone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, granted{g, p.Name, p.Domain, readable(p.Domain), p.Description, p.State == publisher.Active, ""})
	}
	return all, nil
}

func (v *visit) showGranted() error { return v.grantedPage("") }

// grantedView is the list, with what was just taken back.
type grantedView struct {
	List []granted
	Done string
}

func (v *visit) grantedPage(done string) error {
	all, err := v.list()
	if err != nil {
		return err
	}
	for i := range all {
		all[i].Note = v.formNote("revoke", all[i].Grant.Publisher)
	}
	return v.show(http.StatusOK, view{Page: "granted", Title: "Who can see when you are online", Body: grantedView{all, done}})
}

// getApps is the same list for programs, in the prototype's form.
func (v *visit) getApps() error {
	all, err := v.list()
	if err != nil {
		return err
	}
	type entry struct {
		Name   string `json:"name"`
		UID    string `json:"uid"`
		AppID  string `json:"appid"`
		Domain string `json:"domain"`
	}
	apps := make([]entry, len(all))
	for i, g := range all {
		apps[i] = entry{g.Name, g.UID, g.Grant.Publisher, g.Domain}
	}
	return v.writeJSON(http.StatusOK, map[string]any{"apps": apps})
}

// askRevoke asks whether to take it back: an address alone changes nothing.
func (v *visit) askRevoke() error {
	p, redirect, _, err := v.wanted()
	if err != nil {
		return err
	}
	leads := ""
	if redirect != "" {
		back, err := targetOf(redirect, p.Domain, v.app.AllowPrivate)
		if err != nil {
			return badRedirect(p, err)
		}
		leads = back.origin
	}
	g, already, err := v.p.cfg.Publishers.Granted(v.r.Context(), v.user(), p.ID)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, view{Page: "takeback", Title: "Stop sharing with " + p.Name + "?", Leads: leads, Body: question{
		Publisher: p, Readable: readable(p.Domain), Redirect: redirect, Already: already, Since: g.At.Time(), Note: v.formNote("revoke", p.ID), At: "/" + p.ID + "/revoke",
	}})
}

// revoke takes it back. It is harmless to repeat.
func (v *visit) revoke() error {
	p, redirect, _, err := v.wanted()
	if err == nil {
		err = v.checkForm("revoke", p.ID)
	}
	if err != nil {
		return err
	}
	back := ""
	if redirect != "" {
		t, err := targetOf(redirect, p.Domain, v.app.AllowPrivate)
		if err != nil {
			return badRedirect(p, err)
		}
		back = t.String()
	}
	if _, _, err := v.p.cfg.Publishers.Revoke(v.r.Context(), v.user(), p.ID); err != nil {
		return err
	}
	switch {
	case v.json:
		return v.writeJSON(http.StatusOK, map[string]string{"result": "OK"})
	case back != "":
		return v.sendBack(back, nil)
	}
	return v.grantedPage(p.Name + " cannot see you any more.")
}
