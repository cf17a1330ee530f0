package pages

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What leads to the registered domain is taken, and is sent out in our spelling.
func TestRedirectsThatLeadBack(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://chat.example.com":                             "https://chat.example.com/?Presence-UID=u1",
		"https://chat.example.com/":                            "https://chat.example.com/?Presence-UID=u1",
		"https://chat.example.com/back?state=7":                "https://chat.example.com/back?state=7&Presence-UID=u1",
		"https://chat.example.com/back?":                       "https://chat.example.com/back?Presence-UID=u1",
		"https://chat.example.com/back?state=7#top":            "https://chat.example.com/back?state=7&Presence-UID=u1#top",
		"https://chat.example.com:443/a":                       "https://chat.example.com/a?Presence-UID=u1",
		"HTTPS://Chat.Example.COM/A":                           "https://chat.example.com/A?Presence-UID=u1",
		"https://chat.example.com/a%2Fb":                       "https://chat.example.com/a%2Fb?Presence-UID=u1",
		"https://chat.example.com//evil.example/":              "https://chat.example.com//evil.example/?Presence-UID=u1",
		"https://chat.example.com/@evil.example":               "https://chat.example.com/@evil.example?Presence-UID=u1",
		"https://chat.example.com?@evil.example":               "https://chat.example.com/?@evil.example&Presence-UID=u1",
		"https://chat.example.com#@evil.example":               "https://chat.example.com/?Presence-UID=u1#@evil.example",
		"https://chat.example.com/?to=https://evil.example":    "https://chat.example.com/?to=https://evil.example&Presence-UID=u1",
		"https://chat.example.com/grüße?wer=ich&name=Jürgen":   "https://chat.example.com/gr%C3%BC%C3%9Fe?wer=ich&name=J%C3%BCrgen&Presence-UID=u1",
		"https://chat.example.com/?not=Presence-UID":           "https://chat.example.com/?not=Presence-UID&Presence-UID=u1",
		"https://ｃｈａｔ.example.com/full-width-is-the-same-name": "https://chat.example.com/full-width-is-the-same-name?Presence-UID=u1",
	} {
		got, err := targetOf(in, "chat.example.com", false)
		if err != nil || got.with("u1") != want {
			t.Errorf("%s: got %s, %v, want %s", in, got.with("u1"), err, want)
		}
	}
}

// What leads anywhere else is not, in whatever disguise.
func TestRedirectsThatLeadElsewhere(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]error{
		"":                          errNoRedirect,
		"/back":                     errRedirect,
		"back":                      errRedirect,
		"//chat.example.com/back":   errRedirect, // scheme-relative
		"//evil.example":            errRedirect,
		"https:chat.example.com":    errRedirect,
		"https:/chat.example.com":   errRedirect,
		"https:///chat.example.com": errRedirect,
		"https://":                  errRedirect,
		"javascript:alert(1)":       errRedirect,
		"javascript://chat.example.com/%0aalert(1)":                    errRedirect,
		"data:text/html,x":                                             errRedirect,
		"ftp://chat.example.com/":                                      errRedirect,
		"wss://chat.example.com/":                                      errRedirect,
		"https://evil.example/":                                        errElsewhere,
		"https://evil.example/https://chat.example.com":                errElsewhere,
		"https://user@chat.example.com/":                               errElsewhere, // userinfo
		"https://@chat.example.com/":                                   errElsewhere,
		"https://chat.example.com@evil.example/":                       errElsewhere,
		"https://chat.example.com:443@evil.example/":                   errElsewhere,
		"https://chat.example.com%40evil.example/":                     errRedirect,
		"https://chat.example.com\\@evil.example/":                     errRedirect, // backslashes
		"https:\\\\evil.example":                                       errRedirect,
		"https://evil.example\\.chat.example.com/":                     errRedirect,
		"https://chat.example.com/\\evil.example":                      errRedirect,
		"https://a.chat.example.com/":                                  errElsewhere, // subdomains
		"https://example.com/":                                         errElsewhere,
		"https://chat.example.com.evil.example/":                       errElsewhere,
		"https://evilchat.example.com/":                                errElsewhere,
		"https://chat.example.com./":                                   errElsewhere,
		"https://.chat.example.com/":                                   errElsewhere,
		"https://chat..example.com/":                                   errElsewhere,
		"https://chat.example.com:8443/":                               errElsewhere, // ports
		"https://chat.example.com:80/":                                 errElsewhere,
		"https://chat.example.com:/":                                   errElsewhere,
		"https://chat.example.com:0443/":                               errElsewhere,
		"https://chat.example.com:443x/":                               errRedirect,
		"http://chat.example.com:443/":                                 errElsewhere,
		"http://chat.example.com/":                                     errHTTP,
		"https://[chat.example.com]/":                                  errRedirect,
		"https://chаt.example.com/":                                    errElsewhere, // the а is Cyrillic
		"https://xn--cht-7ed.example.com/":                             errElsewhere,
		"https://chat.example.com\u2024evil.example/":                  errElsewhere,
		"https://chat.example.com／evil.example/":                       errElsewhere, // a full-width slash
		"https://chat%2eexample.com/":                                  errRedirect,  // encoded
		"https%3A%2F%2Fchat.example.com":                               errRedirect,
		" https://chat.example.com/":                                   errRedirect, // what browsers cut away
		"https://chat.example.com/ x":                                  errRedirect,
		"\thttps://evil.example/":                                      errRedirect,
		"https://chat.example.com/\r\nSet-Cookie: a=b":                 errRedirect,
		"https://chat.example.com/\x00":                                errRedirect,
		"https://chat.example.com/\u0085":                              errRedirect,
		"https://chat.example.com/\xff":                                errRedirect,
		"https://chat.example.com/%zz":                                 errRedirect,
		"https://chat.example.com/?Presence-UID=mine":                  errHasUID,
		"https://chat.example.com/?a=b&presence-uid=":                  errHasUID,
		"https://chat.example.com/?Presence%2DUID=mine":                errHasUID,
		"https://chat.example.com/?a;Presence-UID=mine":                errHasUID,
		"https://chat.example.com/" + strings.Repeat("a", maxRedirect): errRedirect,
	} {
		if got, err := targetOf(in, "chat.example.com", false); !errors.Is(err, want) {
			t.Errorf("%.80q: got %v, %v, want %v", in, got, err, want)
		}
	}
}

// With a port, or for development, the rules are the same.
func TestRedirectsOfOtherDomains(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, domain, want string
		private          bool
	}{
		{"http://127.0.0.1:8080/a", "127.0.0.1:8080", "http://127.0.0.1:8080/a", true},
		{"http://127.0.0.1:8080/a", "127.0.0.1:8080", "", false},
		{"http://127.0.0.1/a", "127.0.0.1:8080", "", true},
		{"http://127.0.0.1:8081/a", "127.0.0.1:8080", "", true},
		{"http://127.1:8080/a", "127.0.0.1:8080", "", true},
		{"http://localhost:8080/", "127.0.0.1:8080", "", true},
		{"http://localhost/", "localhost", "http://localhost/", true},
		{"https://localhost:443/", "localhost:443", "https://localhost:443/", true},
		{"https://localhost/", "localhost:443", "https://localhost:443/", true},
		{"https://münchen.example/x", "xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example/x", false},
		{"https://MÜNCHEN.example/x", "xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example/x", false},
		{"https://xn--mnchen-3ya.example/x", "xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example/x", false},
		{"https://munchen.example/x", "xn--mnchen-3ya.example", "", false},
		{"https://faß.example/", "fass.example", "", false}, // two names, not one
	} {
		got, err := targetOf(c.in, c.domain, c.private)
		if (err == nil) != (c.want != "") || err == nil && got.String() != c.want {
			t.Errorf("%s for %s: got %v, %v, want %q", c.in, c.domain, got, err, c.want)
		}
	}
}

func TestDomains(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"chat.example.com": "chat.example.com", " Chat.Example.COM ": "chat.example.com", "https://chat.example.com/": "chat.example.com", "HTTP://chat.example.com": "chat.example.com",
		"chat.example.com.": "chat.example.com", "münchen.example": "xn--mnchen-3ya.example", "xn--mnchen-3ya.example": "xn--mnchen-3ya.example",
		"": "", "https://": "", "localhost": "", "chat": "", "foo.localhost": "", "foo.local": "", "127.0.0.1": "", "127.1": "", "0x7f.1": "", "a.0x7f": "", "1.2.3.4.": "", "[::1]": "", "::1": "", "chat.example.com:8080": "",
		"chat.example.com/path": "", "a b.example.com": "", "user@example.com": "", "*.example.com": "", "exa_mple.com": "", "-a.example.com": "", "a..example.com": "",
		"chat.example.com?x": "", "chat.example.com#x": "", "a\\b.example.com": "", "xn--a.example": "", "<script>.example.com": "", "１２７.0.0.1": "",
		strings.Repeat("a", 64) + ".example.com": "", strings.Repeat("abcdefg.", 32) + "example.com": "",
	} {
		if got, err := domainOf(in, false); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"localhost": "localhost", "127.0.0.1:8080": "127.0.0.1:8080", "chat.example.com:8443": "chat.example.com:8443",
		"localhost:0": "", "localhost..": "", "localhost:65536": "", "localhost:": "", "localhost:080": "", "localhost:x": "", ":80": "",
	} {
		if got, err := domainOf(in, true); got != want || (err == nil) != (want != "") {
			t.Errorf("%q in development: got %q, %v, want %q", in, got, err, want)
		}
	}
	if got := readable("xn--mnchen-3ya.example"); got != "münchen.example" {
		t.Errorf("readable: got %q", got)
	}
}

// Where a login may lead: to our own pages.
func TestNext(t *testing.T) {
	t.Parallel()
	const id = "abcdefghijklmnopqrstuvwx"
	for s, want := range map[string]bool{
		"/myapps": true, "/grant": true, "/myapps/" + id: true, "/" + id + "/grant?redirect=https%3A%2F%2Fchat.example.com%2F&id=ann": true,
		"": false, "/": false, "myapps": false, "//evil.example/grant": false, "/\\evil.example": false, "\\\\evil.example": false, "https://evil.example/grant": false,
		"/login": false, "/logout": false, "/activate_app": false, "/api/v1/users": false, "/grant\n": false, "/ grant": false, "/grant#x": false, "/gr%61nt": false,
		"/./grant": false, "/x/../grant": false, "///grant": false, "/grant/" + strings.Repeat("x", maxNext): false,
	} {
		if got := goodNext(s); got != want {
			t.Errorf("%.80q: got %v, want %v", s, got, want)
		}
	}
}

// Whatever is taken stays at its domain, however it is read.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"https://chat.example.com/a?b#c", "https://chat.example.com@evil.example", "https://chat.example.com\\.evil.example", "http://chat.example.com:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := targetOf(s, "chat.example.com", false)
		if err != nil {
			return
		}
		for _, to := range []string{got.String(), got.with("uid")} {
			u, err := url.Parse(to)
			if err != nil || u.Scheme != "https" || u.Host != "chat.example.com" || u.User != nil || !strings.HasPrefix(to, "https://chat.example.com/") {
				t.Errorf("%q became %q", s, to)
			}
			for i := range len(to) {
				if to[i] <= ' ' || to[i] >= 0x7f {
					t.Errorf("%q became %q, which no header carries", s, to)
				}
			}
		}
	})
}

// A domain that was normalised is one that normalising leaves as it is.
func TestDomainsAreStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		private := rapid.Bool().Draw(t, "private")
		got, err := domainOf(rapid.StringMatching(`[a-zA-Zäß.0-9:-]{1,30}`).Draw(t, "typed"), private)
		if err != nil {
			return
		}
		if again, err := domainOf(got, private); err != nil || again != got {
			t.Fatalf("%q became %q, %v", got, again, err)
		}
	})
}

func FuzzDomain(f *testing.F) {
	f.Add("chat.example.com", false)
	f.Add("https://münchen.example:80/", true)
	f.Fuzz(func(t *testing.T, s string, private bool) {
		got, err := domainOf(s, private)
		if err != nil {
			return
		}
		if u, err := url.Parse("https://" + got + "/"); err != nil || u.Host != got {
			t.Errorf("%q became %q", s, got)
		}
	})
}
