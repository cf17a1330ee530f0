package pages_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence/pages"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// development is an app whose domains may be on this machine.
var development = pages.App{App: doortest.App, Open: true, AllowPrivate: true}

// A publisher from its registration to a second API key.
func TestRegisterProveActivate(t *testing.T) {
	t.Parallel()
	n := newNode(t, development)
	defer n.stop()
	at := newDomain(t)
	b := n.signedIn("dora")

	mine := b.get("/myapps").want("nothing yet", 200, "Register your first publisher", `<html lang="en">`)
	form := append(mine.form("/myapps"), "domain", "http://"+at.host+"/", "name", "Chat", "description", "Talk\r\nto people.", "email", "dora@example.com")
	made := b.post("/myapps", form...).want("register", 303)
	page := made.header.Get("Location")
	id := strings.TrimPrefix(page, "/myapps/")
	if !publisher.ValidID(id) {
		t.Fatalf("registered as %q", page)
	}
	b.post("/myapps", form...).want("the same form again", 403, "not good any more")

	one := b.get(page).want("not proven", 200, at.host, "text/plain", "When the domain is proven", "Talk\nto people.")
	proof := b.get(page+"/proof").want("the file", 200)
	if p, _ := n.reg.Get(t.Context(), id); proof.body != p.Proof || len(proof.body) != 1024 || !strings.Contains(one.body, p.Proof) || proof.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the proof is %q", proof.body)
	}
	validate := one.form("/validate_app")
	b.post("/validate_app", validate...).want("nothing there", 422, "The domain is not proven yet", "status 404", "could not be reached")
	at.serves(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte(proof.body + "\n"))
	})
	b.post("/validate_app", validate...).want("there", 303)
	calls := at.calls.Load()
	b.post("/validate_app", validate...).want("once more", 303)
	if at.calls.Load() != calls {
		t.Error("a proven domain was asked again")
	}

	one = b.get(page).want("proven", 200, "We found your key", "Activate")
	activate := one.form("/activate_app")
	active := b.post("/activate_app", activate...).want("activate", 200, "Your API key", "Deactivate", "ws://presence.example/"+id, "http://presence.example/"+id+"/notification")
	key := n.core.Log.Secret(active.key())
	if _, err := n.reg.Check(t.Context(), id, key); err != nil || len(key) != 1024 {
		t.Errorf("the key %q is refused: %v", key, err)
	}
	if again := b.get(page).want("active", 200); again.key() != "" || strings.Contains(again.body, key) {
		t.Error("the key is shown a second time")
	}
	if got := b.post("/activate_app", activate...).want("the same form again", 403); got.key() != "" {
		t.Error("the same form gave a second key")
	}
	rotate := active.form("/activate_app", "action", "rotate")
	fresh := n.core.Log.Secret(b.post("/activate_app", rotate...).want("a new key", 200).key())
	if _, err := n.reg.Check(t.Context(), id, fresh); err != nil || fresh == key {
		t.Errorf("the new key is refused: %v", err)
	}
	if _, err := n.reg.Check(t.Context(), id, key); err == nil {
		t.Error("the old key is still taken")
	}
	b.post("/activate_app", rotate...).want("rotated by the same form", 403)
	if _, err := n.reg.Check(t.Context(), id, fresh); err != nil {
		t.Errorf("a form that was sent twice made the key void: %v", err)
	}

	off := b.get(page).form("/activate_app", "action", "deactivate")
	b.post("/activate_app", off...).want("deactivate", 200, "The API key is void")
	if _, err := n.reg.Check(t.Context(), id, fresh); err == nil {
		t.Error("the key of a publisher that is switched off is taken")
	}
	b.post("/activate_app", b.get(page).form("/activate_app")...).want("activate again", 200, "Your API key")
}

// What a domain may answer, and what is said of it.
func TestProofs(t *testing.T) {
	t.Parallel()
	n := newNode(t, development)
	defer n.stop()
	elsewhere := newDomain(t)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"another text": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte("x"))
		}, "is not the key of this publisher"},
		"no plain text": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte("KEY"))
		}, "not text/plain"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://"+elsewhere.host, 302) }, "redirects are not followed"},
		"another status": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(500)
			w.Write([]byte("KEY"))
		}, "status 500"},
		"more than one may": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write(make([]byte, 5000))
		}, "longer than 4096 bytes"},
		"text with a charset": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "Text/Plain;charset=us-ascii")
			w.Write([]byte("KEY"))
		}, ""},
		"space around the key": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte("\r\n KEY \n"))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			at := newDomain(t)
			p, err := n.reg.Register(t.Context(), user(strings.ReplaceAll(name, " ", "-")), publisher.Registration{Domain: at.host, Name: "Chat", Email: "a@example.com"})
			if err != nil {
				t.Fatal(err)
			}
			at.serves(func(w http.ResponseWriter, r *http.Request) { c.answer(replacing{w, p.Proof}, r) })
			b := n.signedIn(string(p.Owner))
			got := b.post("/validate_app", b.get("/myapps/"+p.ID).form("/validate_app")...)
			if c.says == "" {
				got.want(name, 303)
			} else {
				got.want(name, 422, c.says)
			}
			if q, _ := n.reg.Get(t.Context(), p.ID); (q.State == publisher.Proven) != (c.says == "") {
				t.Errorf("the publisher is %v", q.State)
			}
		})
	}
	if elsewhere.calls.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// replacing writes the proof where KEY stands.
type replacing struct {
	http.ResponseWriter
	proof string
}

func (r replacing) Write(b []byte) (int, error) {
	_, err := r.ResponseWriter.Write([]byte(strings.ReplaceAll(string(b), "KEY", r.proof)))
	return len(b), err
}

// Where domains must be public, this machine is not asked, by whatever name.
func TestProofKeepsOutOfPrivateNetworks(t *testing.T) {
	t.Parallel()
	n := newNode(t, pages.App{App: doortest.App, Open: true})
	defer n.stop()
	at := newDomain(t)
	b := n.signedIn("dora")
	for _, typed := range []string{at.host, "127.0.0.1", "localhost", "169.254.169.254", "[::1]", "metadata.internal"} {
		got := b.post("/myapps", append(b.get("/myapps").form("/myapps"), "domain", typed, "name", "Chat", "email", "a@example.com")...)
		got.want(typed, 422, "One thing is not right yet", `href="#domain"`, `aria-invalid="true"`, "Error: Your publishers")
	}
	// A registration of another time, or a name that leads here.
	p, err := n.reg.Register(t.Context(), user("dora"), publisher.Registration{Domain: at.host, Name: "Chat", Email: "a@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	b.post("/validate_app", b.get("/myapps/"+p.ID).form("/validate_app")...).want("private", 422, "a private or reserved address")
	if at.calls.Load() != 0 {
		t.Error("this machine was asked")
	}
}

// Domains are not fetched as often as somebody likes.
func TestProofsArePaced(t *testing.T) {
	t.Parallel()
	n := newNode(t, development)
	defer n.stop()
	at := newDomain(t)
	p, err := n.reg.Register(t.Context(), user("dora"), publisher.Registration{Domain: at.host, Name: "Chat", Email: "a@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	b := n.signedIn("dora")
	form := b.get("/myapps/" + p.ID).form("/validate_app")
	for range 5 {
		b.post("/validate_app", form...).want("at first", 422)
	}
	if got := b.post("/validate_app", form...).want("too often", 429, "Please wait"); got.header.Get("Retry-After") == "" {
		t.Error("it does not say for how long")
	}
}

func TestWhatCannotBeRegistered(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	defer n.stop()
	b := n.signedIn("dora")
	got := b.post("/myapps", append(b.get("/myapps").form("/myapps"), "domain", "", "name", "", "description", strings.Repeat("ü", publisher.MaxDescription+1), "email", "nobody")...)
	got.want("nothing right", 422, "4 things are not right yet", `href="#domain"`, `href="#name"`, `href="#description"`, `href="#email"`, `id="email-why"`, "nobody")
	good := func() []string {
		return append(b.get("/myapps").form("/myapps"), "domain", "chat.example.com", "name", strings.Repeat("ü", publisher.MaxName), "description", strings.Repeat("ü", publisher.MaxDescription), "email", "a@example.com")
	}
	b.post("/myapps", good()...).want("as long as may be", 303)
	b.post("/myapps", append(good(), "description", strings.Repeat("x", 70<<10))...).want("a huge form", 413, "That was too much")
	if owned, _ := n.reg.Owned(t.Context(), user("dora")); len(owned) != 1 {
		t.Errorf("%d publishers, want 1", len(owned))
	}
}

// Where registration is closed, developers alone have the form, and a forged one
// does nothing.
func TestClosedRegistration(t *testing.T) {
	t.Parallel()
	n := newNode(t, pages.App{App: doortest.App, Developers: []presence.UserID{"dora"}})
	defer n.stop()
	n.signedIn("dora").get("/myapps").want("a developer", 200, "Register your first publisher")
	b := n.signedIn("alice")
	if got := b.get("/myapps").want("another user", 200, "only some people may"); strings.Contains(got.body, `name="domain"`) {
		t.Error("there is a form all the same")
	}
	got := b.send(withBearer("POST", "/myapps", n.core.JWT("alice"), "domain=chat.example.com&name=Chat&email=a%40example.com"))
	got.want("by hand", 403, "cannot register")
}

// What belongs to somebody else, or to another app, is as unknown as what never
// was.
func TestPublishersOfOthers(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	defer n.stop()
	p, key := n.active(user("dora"), chat)
	foreign, _ := n.active(presence.User{App: doortest.Other, ID: "alice"}, chat)
	b := n.signedIn("alice")
	note := b.get("/grant").form("/logout")[1]
	unknown := strings.Repeat("a", publisher.IDLength)
	for _, id := range []string{p.ID, foreign.ID, unknown, "x", ""} {
		for _, path := range []string{"/myapps/" + id, "/myapps/" + id + "/proof"} {
			if got := b.get(path); got.code != 404 && !(id == "" && got.code == 404) {
				t.Errorf("%s: status %d", path, got.code)
			}
		}
		for _, action := range []string{"rotate", "deactivate", "activate"} {
			b.post("/activate_app", "appid", id, "action", action, "form", note).want(action+" "+id, 404, "We do not know this publisher")
		}
		b.post("/validate_app", "appid", id, "form", note).want("validate "+id, 404)
		got := b.send(withBearer("POST", "/activate_app", n.core.JWT("alice"), "action=rotate&appid="+id))
		if got.want("by hand", 404).json()["errno"] != 44.0 {
			t.Errorf("errno: %s", got.body)
		}
	}
	for _, id := range []string{foreign.ID, unknown} {
		b.get("/"+id+"/grant?redirect=https://chat.example.com/").want("grant", 404)
		b.get("/revoke/"+id).want("revoke", 404)
	}
	if _, err := n.reg.Check(t.Context(), p.ID, key); err != nil {
		t.Errorf("dora's key is void: %v", err)
	}
}
