package pages_test

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence/pages"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// A user lets a publisher see him, sees that he did, and takes it back.
func TestGrantAndRevoke(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		p, _ := n.active(user("dora"), chat)
		b := n.signedIn("alice")
		const back = "https://chat.example.com/back?state=7"
		ask := "/" + p.ID + "/grant?" + url.Values{"redirect": {back}, "id": {"ann"}}.Encode()
		page := b.get(ask).want("the question", 200, "Share with Chat when you are online?", "chat.example.com", "Talk to people.", "ann", "It will see", "It will not see", "Do not allow")
		if !strings.HasSuffix(page.header.Get("Content-Security-Policy"), "form-action 'self' https://chat.example.com") {
			t.Errorf("the policy is %s", page.header.Get("Content-Security-Policy"))
		}
		form := page.form("/" + p.ID + "/grant")
		no := b.post("/"+p.ID+"/grant", append(form, "disallow", "1")...).want("no", 303)
		if got := no.header.Get("Location"); got != back {
			t.Errorf("sent to %s", got)
		}
		b.post("/"+p.ID+"/grant", form...).want("no answer", 400, "There was no answer")
		b.post("/"+p.ID+"/grant", append(form, "allow", "1", "disallow", "1")...).want("both", 400)
		if all, _ := n.reg.Grants(t.Context(), user("alice")); len(all) != 0 {
			t.Fatalf("granted: %v", all)
		}
		yes := b.post("/"+p.ID+"/grant", append(form, "allow", "1")...).want("yes", 303)
		all, _ := n.reg.Grants(t.Context(), user("alice"))
		if len(all) != 1 || all[0].Label != "ann" || yes.header.Get("Location") != back+"&Presence-UID="+all[0].UID {
			t.Fatalf("granted %v, sent to %s", all, yes.header.Get("Location"))
		}
		again := b.post("/grant/"+p.ID, append(form, "allow", "1")...).want("yes again, by the other name", 303)
		if again.header.Get("Location") != yes.header.Get("Location") {
			t.Errorf("sent to %s", again.header.Get("Location"))
		}
		b.get("/grant/"+p.ID+"?"+strings.SplitN(ask, "?", 2)[1]).want("asked again", 200, "You already share with Chat", "Go on to chat.example.com")

		list := b.get("/grant").want("the list", 200, "Chat", "chat.example.com", "Sharing since", "ann", "Stop sharing with Chat")
		r := httptest.NewRequest("GET", "/getApps", nil)
		r.Header.Set("Accept", "*/*")
		apps := b.send(r).want("getApps", 200).json()["apps"].([]any)
		if len(apps) != 1 || apps[0].(map[string]any)["uid"] != all[0].UID || apps[0].(map[string]any)["name"] != "Chat" {
			t.Errorf("getApps: %v", apps)
		}

		b.get("/"+p.ID+"/revoke").want("asked whether to stop", 200, "Stop sharing with Chat?")
		if left, _ := n.reg.Grants(t.Context(), user("alice")); len(left) != 1 {
			t.Fatal("asking took it back")
		}
		b.post("/"+p.ID+"/revoke", list.form("/"+p.ID+"/revoke")...).want("stop", 200, "Chat cannot see you any more", "Nobody at the moment")
		if _, err := n.reg.Lookup(t.Context(), p.ID, all[0].UID); err == nil {
			t.Error("the uid is still good")
		}
		b.post("/revoke/"+p.ID, list.form("/"+p.ID+"/revoke")...).want("stop again", 200)
		b.get("/revoke/"+p.ID).want("nothing to stop", 200, "There is nothing to take back")
		b.post("/"+p.ID+"/grant", append(b.get(ask).form("/"+p.ID+"/grant"), "allow", "1")...).want("yes once more", 303)
		if fresh, _ := n.reg.Grants(t.Context(), user("alice")); len(fresh) != 1 || fresh[0].UID == all[0].UID {
			t.Errorf("granted again: %v, want another uid than %s", fresh, all[0].UID)
		}
	})
}

// Revoking may lead back to the publisher, and nowhere else.
func TestRevokeLeadsBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		p, _ := n.active(user("dora"), chat)
		b := n.signedIn("alice")
		page := b.get("/revoke/" + p.ID + "?redirect=https://chat.example.com/gone")
		if _, err := n.reg.Grant(t.Context(), user("alice"), p.ID, ""); err != nil {
			t.Fatal(err)
		}
		page = b.get("/revoke/"+p.ID+"?redirect=https://chat.example.com/gone").want("ask", 200)
		form := page.form("/" + p.ID + "/revoke")
		if got := b.post("/"+p.ID+"/revoke", form...).want("stop", 303); got.header.Get("Location") != "https://chat.example.com/gone" {
			t.Errorf("sent to %s", got.header.Get("Location"))
		}
		b.get("/revoke/"+p.ID+"?redirect=https://evil.example/").want("elsewhere", 400, "to keep you safe")
		form[3] = "https://evil.example/"
		b.post("/"+p.ID+"/revoke", form...).want("elsewhere by a form", 400, "to keep you safe")
	})
}

// A user is sent to the registered domain or nowhere, and the page that says so
// has no link there. TestRedirectsThatLeadElsewhere has all the disguises.
func TestOpenRedirects(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		p, _ := n.active(user("dora"), chat)
		b := n.signedIn("alice")
		form := b.get("/" + p.ID + "/grant?redirect=https://chat.example.com/").form("/" + p.ID + "/grant")
		for _, to := range []string{
			"", "https://evil.example/", "//evil.example/", "https://chat.example.com@evil.example/", "https://chat.example.com\\@evil.example", "https://chat.example.com.evil.example/",
			"https://sub.chat.example.com/", "https://chat.example.com:444/", "http://chat.example.com/", "javascript:alert(1)", "https://chаt.example.com/", "https://chat.example.com/?Presence-UID=x",
			"https%3A%2F%2Fchat.example.com", "/grant", "https://chat.example.com/\r\nLocation: https://evil.example",
		} {
			q := url.Values{"redirect": {to}}.Encode()
			for _, got := range []reply{b.get("/" + p.ID + "/grant?" + q), b.get("/grant/" + p.ID + "?" + q), b.post("/"+p.ID+"/grant", replaced(form, "redirect", to, "allow", "1")...), b.post("/"+p.ID+"/grant", replaced(form, "redirect", to, "disallow", "1")...)} {
				got.want(to, 400, "to keep you safe")
				if got.header.Get("Location") != "" || strings.Contains(got.body, "evil") {
					t.Errorf("%q: it leads there: %s", to, got.body)
				}
			}
		}
		if all, _ := n.reg.Grants(t.Context(), user("alice")); len(all) != 0 {
			t.Errorf("granted: %v", all)
		}
	})
}

// replaced returns a form with other values.
func replaced(form []string, pairs ...string) []string {
	out := append([]string{}, form...)
next:
	for i := 0; i+1 < len(pairs); i += 2 {
		for j := 0; j+1 < len(out); j += 2 {
			if out[j] == pairs[i] {
				out[j+1] = pairs[i+1]
				continue next
			}
		}
		out = append(out, pairs[i], pairs[i+1])
	}
	return out
}

// A form counts when it is ours, of this login, for this publisher, for just this,
// and comes from a page of ours.
func TestForgedForms(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		p, key := n.active(user("dora"), chat)
		other, _ := n.active(user("dora"), publisher.Registration{Domain: "b.example.com", Name: "B", Email: "b@example.com"})
		const back = "redirect=https://chat.example.com/"
		alice, mallory := n.signedIn("alice"), n.signedIn("mallory")
		path := "/" + p.ID + "/grant"
		good := append(alice.get(path+"?"+back).form(path), "allow", "1")
		for name, form := range map[string][]string{
			"without a note":        replaced(good, "form", ""),
			"with any note":         replaced(good, "form", strings.Repeat("A", 200)),
			"with the cookie":       replaced(good, "form", alice.cookies["porchlight-pages"].Value),
			"of another user":       replaced(good, "form", mallory.get(path + "?" + back).form(path)[1]),
			"of another login":      replaced(good, "form", n.signedIn("alice").get(path + "?" + back).form(path)[1]),
			"for another publisher": replaced(good, "form", alice.get("/" + other.ID + "/grant?redirect=https://b.example.com/").form("/" + other.ID + "/grant")[1]),
			"for something else":    replaced(good, "form", alice.get("/myapps").form("/myapps")[1]),
			"for signing out":       replaced(good, "form", alice.get("/myapps").form("/logout")[1]),
		} {
			alice.post(path, form...).want(name, 403, "not good any more", "Open the page again")
		}
		for _, from := range [][2]string{{"https://evil.example", "cross-site"}, {"null", "cross-site"}, {"https://presence.example.evil.example", "cross-site"}, {"http://a.presence.example", "same-site"}, {"http://presence.example", "cross-site"}, {"http://presence.example", "none"}, {"https://evil.example", "-"}, {"null", "-"}} {
			alice.origin, alice.site = from[0], from[1]
			alice.post(path, good...).want("from "+from[0]+" "+from[1], 403)
		}
		alice.origin, alice.site = "", ""
		// The answer belongs into the form, not into the address.
		alice.post(path+"?"+url.Values{"form": {good[1]}, "allow": {"1"}, "redirect": {"https://chat.example.com/"}}.Encode()).want("by the address", 403)
		alice.get(path+"?"+back+"&allow=1&form="+url.QueryEscape(good[1])).want("by GET", 200)
		if all, _ := n.reg.Grants(t.Context(), user("alice")); len(all) != 0 {
			t.Fatalf("granted: %v", all)
		}
		if _, err := n.reg.Grant(t.Context(), user("alice"), p.ID, ""); err != nil {
			t.Fatal(err)
		}
		alice.post("/"+p.ID+"/revoke", good...).want("revoke with the note of a grant", 403)
		alice.post("/"+p.ID+"/revoke").want("revoke without a note", 403)
		dora := n.signedIn("dora")
		one := dora.get("/myapps/" + p.ID)
		rotate := one.form("/activate_app", "action", "rotate")
		dora.post("/activate_app", replaced(rotate, "action", "deactivate")...).want("deactivate with the note of rotate", 403)
		dora.post("/activate_app", replaced(rotate, "appid", other.ID)...).want("rotate another's", 403)
		dora.post("/activate_app", "appid", p.ID, "action", "deactivate").want("deactivate without a note", 403)
		dora.post("/activate_app", "appid", p.ID, "action", "explode", "form", rotate[1]).want("something else", 403)
		if _, err := n.reg.Check(t.Context(), p.ID, key); err != nil {
			t.Errorf("the key is void: %v", err)
		}
	})
}

// What others wrote is text, wherever it stands.
func TestMarkupIsText(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		const evil = `"'><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}`
		p, _ := n.active(user("dora"), publisher.Registration{Domain: "chat.example.com", Name: evil, Description: evil, Email: `"'\u003e@x.example`})
		if _, err := n.reg.Grant(t.Context(), user(evil), p.ID, evil); err != nil {
			t.Fatal(err)
		}
		b, dora := n.signedIn(evil), n.signedIn("dora")
		back := "https://chat.example.com/?" + url.Values{"x": {evil}}.Encode() + "#" + url.PathEscape(evil)
		ask := url.Values{"redirect": {back}, "id": {evil}}.Encode()
		bad := append(dora.get("/myapps").form("/myapps"), "domain", evil, "name", "\x01"+evil, "description", evil, "email", evil)
		for name, got := range map[string]reply{
			"ask": b.get("/" + p.ID + "/grant?" + ask), "list": b.get("/grant"), "take back": b.get("/" + p.ID + "/revoke?" + ask), "mine": dora.get("/myapps"), "one": dora.get("/myapps/" + p.ID),
			"bad form": dora.post("/myapps", bad...), "login": n.browser().get("/login?next=" + url.QueryEscape("/myapps?"+evil)), "no such page": n.browser().get("/" + url.PathEscape(evil)),
			"bad token": n.browser().post("/login", "assertion", evil, "next", evil), "grant of nothing": b.get("/" + p.ID + "/grant?redirect=" + url.QueryEscape(evil)),
		} {
			got.safe(name)
			for _, raw := range []string{"<script>alert", "<img src=x", `"'>`, "onerror=alert(1)>{{"} {
				if strings.Contains(got.body, raw) {
					t.Errorf("%s has %s:\n%s", name, raw, got.body)
				}
			}
		}
		b.get("/"+p.ID+"/grant?"+ask).want("ask", 200, evil)
	})
}

// A publisher that is not active, or an id that is too long, gets no question.
func TestNoQuestion(t *testing.T) {
	t.Parallel()
	n := newNode(t, pages.App{App: doortest.App, Open: true})
	defer n.stop()
	p, _ := n.active(user("dora"), chat)
	b := n.signedIn("alice")
	path := "/" + p.ID + "/grant?redirect=https://chat.example.com/&id="
	form := b.get(path+strings.Repeat("a", publisher.MaxLabel)).want("as long as may be", 200).form("/" + p.ID + "/grant")
	b.get(path+strings.Repeat("a", publisher.MaxLabel+1)).want("longer", 400, "too long")
	b.post("/"+p.ID+"/grant", replaced(form, "id", strings.Repeat("a", publisher.MaxLabel+1), "allow", "1")...).want("longer by a form", 400)
	if _, err := n.reg.Deactivate(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	b.get(path).want("switched off", 409, "not active")
	b.post("/"+p.ID+"/grant", append(form, "allow", "1")...).want("switched off, by a form", 409, "not active")
	if all, _ := n.reg.Grants(t.Context(), presence.User{App: doortest.App, ID: "alice"}); len(all) != 0 {
		t.Errorf("granted: %v", all)
	}
	got := b.send(withBearer("POST", "/"+p.ID+"/grant", n.core.JWT("alice"), "allow=1&redirect=https%3A%2F%2Fchat.example.com%2F"))
	got.header.Set("Content-Security-Policy", got.header.Get("Content-Security-Policy"))
	if got.code != 409 {
		t.Errorf("a program: %d %s", got.code, got.body)
	}
}
