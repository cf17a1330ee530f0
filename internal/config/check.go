package config

import (
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Check returns what is wrong with the configuration, all of it.
func (c *Config) Check() error {
	var p problems
	c.checkApps(&p)
	c.Listen.check(&p, place{"listen"})
	c.checkNodes(&p)
	if c.LogMaxBytes != 0 && c.LogMaxBytes < leastLog {
		p.add(place{"log_max_bytes"}, "%d is too little; give at least %d, or 0 for the default", c.LogMaxBytes, leastLog)
	}
	if c.RestartGrace < 0 {
		p.add(place{"restart_grace"}, "%v is negative", c.RestartGrace)
	}
	return p.err(c.src)
}

// checkApps looks at each app, and at what no two of them may share.
func (c *Config) checkApps(p *problems) {
	apps := place{"apps"}
	if len(c.Apps) == 0 {
		p.add(apps, "at least one is needed")
	}
	issuers, serverKeys := map[string]string{}, map[string]string{}
	names := slices.Sorted(maps.Keys(c.Apps))
	c.checkForeignApps(p, names)
	for _, name := range names {
		a, at := c.Apps[name], apps.key(name)
		if !presence.ValidAppID(name) {
			p.add(at, "an app's name is 1 to %d of a-z and 0-9", presence.MaxAppID)
		}
		if other, ok := issuers[a.JWT.Issuer]; ok && a.JWT.Issuer != "" {
			p.add(at.key("jwt", "issuer"), "app %s has the same; the issuer selects the app", other)
		}
		issuers[a.JWT.Issuer] = name
		for i, k := range a.ServerKeys {
			if other, ok := serverKeys[string(k.Secret)]; ok && k.Secret != "" {
				p.add(at.key("server_keys").item(i).key("secret"), "is that of %s too; the secret selects app and key", other)
			}
			serverKeys[string(k.Secret)] = name + "." + k.ID
		}
		a.check(p, at)
	}
}

func (l *Listen) check(p *problems, at place) {
	taken := map[string]string{}
	for _, one := range []struct {
		at   place
		addr string
	}{
		{at.key("http"), l.HTTP}, {at.key("grpc"), l.GRPC},
		{at.key("rongcloud", "listen"), l.RongCloud.Listen}, {at.key("tencentim", "listen"), l.TencentIM.Listen},
		{at.key("mozpresence", "listen"), l.Mozpresence.Listen},
		{at.key("stringee", "listen"), l.Stringee.Listen},
	} {
		checkAddress(p, one.at, one.addr)
		other, ok := taken[one.addr]
		if ok && one.addr != "" && !strings.HasSuffix(one.addr, ":0") {
			p.add(one.at, "%s has the same address; give each a port of its own", other)
		}
		taken[one.addr] = one.at.String()
	}
	hosts := map[string]string{}
	for _, one := range []struct{ door, host string }{{"rongcloud", l.RongCloud.Host}, {"tencentim", l.TencentIM.Host}, {"stringee", l.Stringee.Host}, {"mozpresence", l.Mozpresence.Host}} {
		checkHost(p, at.key(one.door, "host"), one.host)
		name := strings.ToLower(one.host)
		if other, ok := hosts[name]; ok && name != "" {
			p.add(at.key(one.door, "host"), "%s has the same; it says which of them answers", other)
		}
		hosts[name] = one.door
	}
	l.Stringee.check(p, at.key("stringee"))
	if (l.TLS.Cert == "") != (l.TLS.Key == "") {
		p.add(at.key("tls"), "needs both cert and key, or neither")
	}
	for i, s := range l.TrustedProxies {
		if _, err := network(s); err != nil {
			p.add(at.key("trusted_proxies").item(i), "%.64q is not a network or an address; write 10.0.0.0/8 or 10.1.2.3", s)
		}
	}
	checkAmount(p, at.key("connections_per_address"), float64(l.ConnectionsPerAddress))
	if l.ProxyProtocol && len(l.TrustedProxies) == 0 {
		p.add(at.key("proxy_protocol"), "needs trusted_proxies: from anybody else the word on the address is refused")
	}
}

func checkAddress(p *problems, at place, addr string) {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if addr != "" && err != nil {
		p.add(at, "%.64q is not an address; write 127.0.0.1:7400, or :7400 for all of this machine's", addr)
	}
}

// checkHost looks at the name of a host, which has neither scheme nor port.
func checkHost(p *problems, at place, host string) {
	if host == "" {
		return
	}
	if u, err := url.Parse("http://" + host); err != nil || u.Host != host || u.Port() != "" || u.Hostname() != host {
		p.add(at, "%.64q is not the name of a host; write api.example.com", host)
	}
}

// network reads a network, or an address as a network of its own.
func network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	return n.Masked(), err
}

// Proxies is Listen.TrustedProxies, read.
func (l *Listen) Proxies() []netip.Prefix {
	var list []netip.Prefix
	for _, s := range l.TrustedProxies {
		if n, err := network(s); err == nil {
			list = append(list, n)
		}
	}
	return list
}
