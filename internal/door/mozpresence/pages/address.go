package pages

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// maxRedirect bounds the address that a user goes back to.
const maxRedirect = 2 << 10

// uidParameter is the query parameter that carries a grant's uid.
const uidParameter = "Presence-UID"

// names maps host names as browsers do before they look them up.
func names() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true), idna.BidiRule(), idna.VerifyDNSLength(true))
}

// domainOf reads what a developer typed as a domain, and returns it as it is
// kept: lower case, ASCII. With private it may be an IPv4 address or a name of this
// machine, and have a port.
func domainOf(typed string, private bool) (string, error) {
	s := strings.TrimSpace(typed)
	for _, scheme := range []string{"https://", "http://"} {
		if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = s[len(scheme):]
		}
	}
	s = strings.TrimSuffix(s, "/")
	host, port := s, ""
	if h, p, ok := strings.Cut(s, ":"); ok {
		if !private {
			return "", errors.New("Leave the port out: a domain is a name such as chat.example.com")
		}
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != p {
			return "", errors.New("The port is not a number from 1 to 65535")
		}
		host, port = h, p
	}
	host, err := hostOf(host, private)
	if err != nil || port == "" {
		return host, err
	}
	return net.JoinHostPort(host, port), nil
}

// hostOf is domainOf without the port.
func hostOf(s string, private bool) (string, error) {
	if s == "" {
		return "", errors.New("Enter the domain, such as chat.example.com")
	}
	bad := errors.New("Enter a domain name alone, such as chat.example.com: no path, no user name, no spaces")
	if strings.ContainsAny(s, "/\\@?#% \t\r\n[]") {
		return "", bad
	}
	host, err := names().ToASCII(strings.TrimSuffix(s, "."))
	if err != nil || host == "" || strings.HasSuffix(host, ".") {
		return "", bad
	}
	if private {
		return host, nil
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, isIP := netip.ParseAddr(host)
	switch {
	case isIP == nil || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x"):
		return "", errors.New("Enter a domain name, not an address in numbers")
	case !strings.Contains(host, "."), last == "localhost", last == "local", last == "internal", last == "test", last == "invalid", last == "onion":
		return "", fmt.Errorf("%q is not a name on the public internet", host)
	}
	return host, nil
}

// readable is a domain with its letters as people write them, when they are not
// ASCII; "" otherwise.
func readable(domain string) string {
	s, err := idna.Display.ToUnicode(domain)
	if err != nil || s == domain {
		return ""
	}
	return s
}

// target is where a user goes back to: an address of a publisher's domain, in our
// own spelling.
type target struct {
	origin string // scheme, host and port
	rest   string // path and query
	hash   string // with its #, or ""
}

// Reasons to refuse an address to go back to.
var (
	errNoRedirect = errors.New("the address has no redirect, which says where you go back to")
	errRedirect   = errors.New("redirect is not an address that we can send you back to")
	errElsewhere  = errors.New("redirect leads to another site than the one that is registered")
	errHTTP       = errors.New("redirect is not encrypted; it must begin with https://")
	errHasUID     = errors.New("redirect has a " + uidParameter + " already, which only we may say")
)

// targetOf reads the address that a publisher wants its user back at. It must be
// of exactly the registered domain: same host, same port, no user name, nothing
// that a browser might read otherwise than we do. What is sent to the browser is
// then put together from the domain itself.
func targetOf(s, domain string, private bool) (target, error) {
	odd := func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f || r == '\ufffd' || r >= 0x80 && r < 0xa0 }
	switch {
	case s == "":
		return target{}, errNoRedirect
	case len(s) > maxRedirect || strings.ContainsFunc(s, odd):
		return target{}, errRedirect
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return target{}, errRedirect
	}
	switch {
	case u.User != nil || !sameHost(u, domain):
		return target{}, errElsewhere
	case u.Scheme == "http" && !private:
		return target{}, errHTTP
	case carriesUID(u.RawQuery):
		return target{}, errHasUID
	}
	t := target{origin: u.Scheme + "://" + domain, rest: or(u.EscapedPath(), "/")}
	if u.RawQuery != "" {
		t.rest += "?" + ascii(u.RawQuery)
	}
	if u.Fragment != "" {
		t.hash = "#" + ascii(u.EscapedFragment())
	}
	return t, nil
}

// carriesUID reports whether a query says already what we are to say.
func carriesUID(query string) bool {
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if strings.EqualFold(strings.TrimSpace(name), uidParameter) {
			return true
		}
	}
	return false
}

// sameHost reports whether an address is at a domain: the same host however it is
// written, and the same port.
func sameHost(u *url.URL, domain string) bool {
	wantHost, wantPort, _ := strings.Cut(domain, ":")
	host, err := names().ToASCII(u.Hostname())
	if err != nil || host != wantHost || strings.HasSuffix(u.Host, ":") {
		return false
	}
	standard := "443"
	if u.Scheme == "http" {
		standard = "80"
	}
	port := u.Port()
	if port == "" {
		port = standard
	}
	if wantPort == "" {
		wantPort = standard
	}
	return port == wantPort
}

// ascii percent-encodes what is not ASCII.
func ascii(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] < 0x80 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// String is the whole address.
func (t target) String() string { return t.origin + t.rest + t.hash }

// with is the address with a grant's uid.
func (t target) with(uid string) string {
	sign := "?"
	if strings.Contains(t.rest, "?") {
		sign = "&"
	}
	return t.origin + t.rest + sign + uidParameter + "=" + url.QueryEscape(uid) + t.hash
}
