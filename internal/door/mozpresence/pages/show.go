package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// slowDown is how long somebody who asks too often is told to wait.
const slowDown = 6 * time.Second

//go:embed page
var files embed.FS

// names of the pages, each a file below page.
var drawn = []string{"ask", "goodbye", "granted", "login", "mine", "one", "problem", "takeback"}

// view is what a page shows.
type view struct {
	Page  string
	Title string
	Wrong bool // the page begins with what is wrong
	// Leads is the origin of another site that a form of the page may end at.
	Leads string
	Body  any

	// What every page has.
	User   string
	App    string
	Logout string // the note of the form that signs out
	Style  template.CSS
	Icon   template.URL
}

// draw reads the pages, and makes the policy that lets them have their own style
// and nothing else.
func (p *Pages) draw() error {
	style, err := files.ReadFile("page/style.css")
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	icon, err := files.ReadFile("page/icon.svg")
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	functions := template.FuncMap{
		"style": func() template.CSS { return template.CSS(style) },
		"icon": func() template.URL {
			return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(icon))
		},
		"day":   func(t time.Time) string { return t.UTC().Format("2 January 2006") },
		"since": func(t presence.Time) string { return t.Time().UTC().Format("2 January 2006") },
		"stamp": func(t presence.Time) string { return t.Time().UTC().Format("2006-01-02") },
	}
	p.look = make(map[string]*template.Template, len(drawn))
	for _, name := range drawn {
		t, err := template.New("frame.html").Funcs(functions).ParseFS(files, "page/frame.html", "page/"+name+".html")
		if err != nil {
			return fmt.Errorf("pages: %w", err)
		}
		p.look[name] = t
	}
	sum := sha256.Sum256(style)
	p.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
	return nil
}

// headers say what a browser may do with an answer. leads is the origin of another
// site that a form may end at: browsers hold redirects against the policy, too.
func (v *visit) headers(leads string) {
	h := v.w.Header()
	policy := v.p.policy
	if leads != "" {
		policy += " " + leads
	}
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	// With no-referrer browsers would hide from us, too, where our forms come from.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Accept, Cookie")
}

// show writes a page.
func (v *visit) show(code int, s view) error {
	if v.login.User != "" {
		s.User, s.App = string(v.login.User), string(v.login.App)
		s.Logout = v.formNote("logout", "")
	}
	var b bytes.Buffer
	if err := v.p.look[s.Page].Execute(&b, s); err != nil {
		return fmt.Errorf("page %s: %w", s.Page, err)
	}
	v.headers(s.Leads)
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return v.write(code, b.Bytes())
}

// writeJSON writes an answer for programs.
func (v *visit) writeJSON(code int, body any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // addresses are read by shells, too
	if err := enc.Encode(body); err != nil {
		return err
	}
	v.headers("")
	v.w.Header().Set("Content-Type", "application/json")
	return v.write(code, b.Bytes())
}

func (v *visit) write(code int, b []byte) error {
	v.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	v.w.WriteHeader(code)
	if v.r.Method != http.MethodHead {
		v.w.Write(b) // the browser may be gone
	}
	return nil
}

// say writes a problem.
func (v *visit) say(p *problem) {
	if v.w.code != 0 {
		return // an answer has begun
	}
	if p.after > 0 {
		v.w.Header().Set("Retry-After", strconv.Itoa(int((p.after+time.Second-1)/time.Second)))
	}
	if p.Code == http.StatusUnauthorized {
		v.w.Header().Set("WWW-Authenticate", "Bearer")
	}
	var err error
	if v.json {
		body := map[string]any{"result": "KO", "error": p.Title + ". " + p.Text}
		if p.Errno != 0 {
			body["errno"] = p.Errno
		}
		if p.after > 0 {
			body["retry_after"] = int((p.after + time.Second - 1) / time.Second)
		}
		err = v.writeJSON(p.Code, body)
	} else {
		err = v.show(p.Code, view{Page: "problem", Title: p.Title, Body: p})
	}
	if err != nil {
		v.p.log.ErrorContext(v.r.Context(), "a page could not be made", "door", "mozpresence", "error", err)
		http.Error(v.w, "Something went wrong here; it is in the server's log.", http.StatusInternalServerError)
	}
}

// query writes the query of an address of ours.
func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q.Encode()
}
