package listen

import (
	"net/netip"
	"strings"
	"testing"
)

func proxies(t testing.TB, list ...string) *Proxies {
	t.Helper()
	p := &Proxies{}
	var nets []netip.Prefix
	for _, s := range list {
		nets = append(nets, netip.MustParsePrefix(s))
	}
	p.Set(nets)
	return p
}

func TestClient(t *testing.T) {
	t.Parallel()
	p := proxies(t, "10.0.0.0/8", "192.0.2.1/32", "2001:db8:aaaa::/48")
	for name, c := range map[string]struct {
		peer           string
		xff, forwarded []string
		want           string
	}{
		"no proxy":                            {"203.0.113.7:4711", nil, nil, "203.0.113.7:4711"},
		"a stranger's word":                   {"203.0.113.7:4711", []string{"198.51.100.1"}, []string{"for=198.51.100.1"}, "203.0.113.7:4711"},
		"a proxy that says nothing":           {"10.0.0.1:4711", nil, nil, "10.0.0.1:4711"},
		"one hop":                             {"10.0.0.1:4711", []string{"203.0.113.7"}, nil, "203.0.113.7:0"},
		"one hop with a port":                 {"10.0.0.1:4711", []string{"203.0.113.7:51234"}, nil, "203.0.113.7:51234"},
		"what the client wrote stays unread":  {"10.0.0.1:4711", []string{"127.0.0.1, 198.51.100.1, 203.0.113.7"}, nil, "203.0.113.7:0"},
		"two proxies":                         {"10.0.0.1:4711", []string{"198.51.100.1, 203.0.113.7, 192.0.2.1"}, nil, "203.0.113.7:0"},
		"two proxies, two lines":              {"10.0.0.1:4711", []string{"198.51.100.1", "203.0.113.7", "192.0.2.1"}, nil, "203.0.113.7:0"},
		"all are proxies":                     {"10.0.0.1:4711", []string{"10.0.0.3, 10.0.0.2"}, nil, "10.0.0.3:0"},
		"an entry that cannot be read":        {"10.0.0.1:4711", []string{"203.0.113.7, unknown, 10.0.0.2"}, nil, "10.0.0.2:0"},
		"rubbish":                             {"10.0.0.1:4711", []string{"'; drop table"}, nil, "10.0.0.1:4711"},
		"nothing":                             {"10.0.0.1:4711", []string{""}, nil, "10.0.0.1:4711"},
		"IPv6":                                {"[2001:db8:aaaa::1]:4711", []string{"2001:db8::7"}, nil, "[2001:db8::7]:0"},
		"IPv6 with a port":                    {"10.0.0.1:4711", []string{"[2001:db8::7]:51234"}, nil, "[2001:db8::7]:51234"},
		"IPv4 in IPv6":                        {"[::ffff:10.0.0.1]:4711", []string{"::ffff:203.0.113.7"}, nil, "203.0.113.7:0"},
		"a zone":                              {"10.0.0.1:4711", []string{"fe80::1%eth0"}, nil, "10.0.0.1:4711"},
		"forwarded":                           {"10.0.0.1:4711", nil, []string{`for=198.51.100.1, for=203.0.113.7;proto=https;by=10.0.0.1`}, "203.0.113.7:0"},
		"forwarded, quoted":                   {"10.0.0.1:4711", nil, []string{`proto=https;For="[2001:db8::7]:51234"`}, "[2001:db8::7]:51234"},
		"forwarded, brackets":                 {"10.0.0.1:4711", nil, []string{`for="[2001:db8::7]"`}, "[2001:db8::7]:0"},
		"forwarded, hidden":                   {"10.0.0.1:4711", nil, []string{`for=203.0.113.7, for=_hidden`}, "10.0.0.1:4711"},
		"forwarded, a comma in quotes":        {"10.0.0.1:4711", nil, []string{`for="203.0.113.7, for=1.2.3.4"`}, "10.0.0.1:4711"},
		"forwarded, no for":                   {"10.0.0.1:4711", nil, []string{`proto=https`}, "10.0.0.1:4711"},
		"both agree":                          {"10.0.0.1:4711", []string{"203.0.113.7"}, []string{`for="203.0.113.7:51234"`}, "203.0.113.7:51234"},
		"one of both is the client's":         {"10.0.0.1:4711", []string{"127.0.0.1"}, []string{`for=203.0.113.7`}, "10.0.0.1:4711"},
		"a peer without a port":               {"bufconn", []string{"203.0.113.7"}, nil, "bufconn"},
		"more hops than anybody has":          {"10.0.0.1:4711", []string{"203.0.113.7" + strings.Repeat(", 10.0.0.2", maxHops)}, nil, "10.0.0.2:0"},
		"as many hops as are looked at":       {"10.0.0.1:4711", []string{"203.0.113.7" + strings.Repeat(", 10.0.0.2", maxHops-1)}, nil, "203.0.113.7:0"},
		"an address that only looks like one": {"10.0.0.1:4711", []string{"203.0.113.7.example"}, nil, "10.0.0.1:4711"},
	} {
		if got := p.Client(c.peer, c.xff, c.forwarded); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// Nobody is trusted before anybody is named, and a new list counts at once.
func TestSet(t *testing.T) {
	t.Parallel()
	var p *Proxies
	ask := func() string { return p.Client("10.0.0.1:1", []string{"203.0.113.7"}, nil) }
	if got := ask(); got != "10.0.0.1:1" {
		t.Errorf("nil: got %s", got)
	}
	p = &Proxies{}
	if got := ask(); got != "10.0.0.1:1" {
		t.Errorf("zero: got %s", got)
	}
	p.Set([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")})
	if got := ask(); got != "203.0.113.7:0" {
		t.Errorf("set: got %s", got)
	}
	p.Set([]netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")})
	if got := ask(); got != "203.0.113.7:0" {
		t.Errorf("set to a network written as IPv6: got %s", got)
	}
	p.Set(nil)
	if got := ask(); got != "10.0.0.1:1" {
		t.Errorf("set to none: got %s", got)
	}
}

// Who is trusted is believed that the client spoke TLS, by its last word.
func TestSecure(t *testing.T) {
	t.Parallel()
	p := proxies(t, "10.0.0.0/8")
	for _, c := range []struct {
		peer             string
		proto, forwarded []string
		want             bool
	}{
		{"10.0.0.1:1", []string{"https"}, nil, true},
		{"10.0.0.1:1", []string{"HTTPS"}, nil, true},
		{"10.0.0.1:1", []string{"http, https"}, nil, true},
		{"10.0.0.1:1", []string{"http", "https"}, nil, true},
		{"10.0.0.1:1", []string{"https, http"}, nil, false},
		{"10.0.0.1:1", []string{"https", "http"}, nil, false},
		{"10.0.0.1:1", []string{""}, nil, false},
		{"10.0.0.1:1", []string{"httpsx"}, nil, false},
		{"10.0.0.1:1", nil, []string{"for=203.0.113.7;proto=https"}, true},
		{"10.0.0.1:1", nil, []string{`for=203.0.113.7;Proto="https"`}, true},
		{"10.0.0.1:1", nil, []string{"proto=https, for=203.0.113.7"}, false},
		{"10.0.0.1:1", nil, []string{"for=203.0.113.7"}, false},
		{"10.0.0.1:1", []string{"https"}, []string{"proto=https"}, true},
		{"10.0.0.1:1", []string{"https"}, []string{"proto=http"}, false},
		{"10.0.0.1:1", nil, nil, false},
		{"203.0.113.7:1", []string{"https"}, nil, false},
		{"nobody", []string{"https"}, nil, false},
	} {
		if got := p.Secure(c.peer, c.proto, c.forwarded); got != c.want {
			t.Errorf("%s says %q and %q: got %v", c.peer, c.proto, c.forwarded, got)
		}
	}
	var nobody *Proxies
	if nobody.Secure("10.0.0.1:1", []string{"https"}, nil) {
		t.Error("nobody is trusted, and believed")
	}
}

// Whatever stands in the headers: a stranger is taken as himself, and who comes
// through a proxy never counts as one of the trusted unless all hops are.
func FuzzClient(f *testing.F) {
	f.Add("203.0.113.7", `for="[2001:db8::7]:51234";proto=https`)
	f.Add("198.51.100.1, 203.0.113.7:1, 10.0.0.2", `for=203.0.113.7`)
	f.Add("[::1]:80", `for="\"", for=_x;by=y`)
	f.Fuzz(func(t *testing.T, xff, forwarded string) {
		p := proxies(t, "10.0.0.0/8")
		if got := p.Client("203.0.113.9:1", []string{xff}, []string{forwarded}); got != "203.0.113.9:1" {
			t.Errorf("a stranger became %s", got)
		}
		for _, got := range []string{
			p.Client("10.0.0.1:1", []string{xff}, nil), p.Client("10.0.0.1:1", nil, []string{forwarded}),
			p.Client("10.0.0.1:1", []string{xff}, []string{forwarded}),
		} {
			if at, err := netip.ParseAddrPort(got); err != nil || at.Addr().Zone() != "" {
				t.Errorf("got %q, want an address and a port", got)
			}
		}
		// An entry that the proxy appends is the client, whatever stands before.
		if got := p.Client("10.0.0.1:1", []string{xff, "198.51.100.4"}, nil); got != "198.51.100.4:0" {
			t.Errorf("behind %q: got %s", xff, got)
		}
	})
}
