package listen

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
)

// maxHops is how many entries of a forwarding header are looked at, from its
// end: nobody has more proxies of his own.
const maxHops = 32

// Proxies are the peers whose word about a client's address is taken. Nil and
// the zero value take nobody's.
type Proxies struct {
	list atomic.Pointer[[]netip.Prefix]
}

// Set replaces the list.
func (p *Proxies) Set(list []netip.Prefix) {
	plain := make([]netip.Prefix, len(list))
	for i, n := range list {
		if n.Addr().Is4In6() && n.Bits() >= 96 { // addresses are compared without ::ffff:
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		plain[i] = n
	}
	p.list.Store(&plain)
}

// Trusts reports whether ip is one of them.
func (p *Proxies) Trusts(ip netip.Addr) bool {
	if p == nil {
		return false
	}
	list := p.list.Load()
	if list == nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	for _, n := range *list {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

func (p *Proxies) trustsPeer(a net.Addr) bool {
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && p.Trusts(at.Addr())
}

// Client is the address of who really calls: the peer's, or, when the peer is a
// trusted proxy, the last address of the forwarding headers that is no trusted
// proxy itself. What stands before that was written by who knows whom. A port of
// 0 means that no proxy told it.
//
// forwardedFor are the values of X-Forwarded-For, forwarded those of Forwarded
// (RFC 7239). A proxy that sets one of them may let the other pass as the client
// sent it: if both are there and do not agree, neither is believed.
func (p *Proxies) Client(peer string, forwardedFor, forwarded []string) string {
	if p == nil || len(forwardedFor)+len(forwarded) == 0 {
		return peer
	}
	at, err := netip.ParseAddrPort(peer)
	if err != nil || !p.Trusts(at.Addr()) {
		return peer
	}
	client := at
	switch {
	case len(forwarded) == 0:
		client = p.walk(at, addressesOf(forwardedFor))
	case len(forwardedFor) == 0:
		client = p.walk(at, forOf(forwarded))
	default:
		a, b := p.walk(at, addressesOf(forwardedFor)), p.walk(at, forOf(forwarded))
		if a.Addr() == b.Addr() {
			if client = a; a.Port() == 0 {
				client = b
			}
		}
	}
	if client == at {
		return peer
	}
	return client.String()
}

// Secure reports that a trusted proxy, which the peer is, took TLS off: it says so
// as the last word of X-Forwarded-Proto, or as proto in the last element of
// Forwarded. If both are there and do not agree, it did not.
func (p *Proxies) Secure(peer string, forwardedProto, forwarded []string) bool {
	if len(forwardedProto)+len(forwarded) == 0 {
		return false
	}
	at, err := netip.ParseAddrPort(peer)
	if err != nil || !p.Trusts(at.Addr()) {
		return false
	}
	secure := true
	if n := len(forwardedProto); n > 0 {
		words := strings.Split(forwardedProto[n-1], ",")
		secure = strings.EqualFold(strings.TrimSpace(words[len(words)-1]), "https")
	}
	if n := len(forwarded); n > 0 {
		elements := splitQuoted(forwarded[n-1], ',')
		secure = secure && strings.EqualFold(parameter(elements[len(elements)-1], "proto"), "https")
	}
	return secure
}

// walk goes from the peer towards the client as long as each hop is trusted.
func (p *Proxies) walk(at netip.AddrPort, hops []string) netip.AddrPort {
	for i := len(hops) - 1; i >= max(0, len(hops)-maxHops) && p.Trusts(at.Addr()); i-- {
		next, ok := hop(hops[i])
		if !ok {
			break
		}
		at = next
	}
	return at
}

// hop reads one entry: an address with or without a port; IPv6 with a port, and
// in Forwarded always, has brackets.
func hop(s string) (netip.AddrPort, bool) {
	if at, err := netip.ParseAddrPort(s); err == nil && at.Addr().Zone() == "" {
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.AddrPort{}, false
		}
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip.Unmap(), 0), true
}

// addressesOf takes X-Forwarded-For apart.
func addressesOf(values []string) []string {
	var hops []string
	for _, v := range values {
		for s := range strings.SplitSeq(v, ",") {
			hops = append(hops, strings.TrimSpace(s))
		}
	}
	return hops
}

// forOf takes the for= parameters out of Forwarded. An element without one
// counts as an unknown hop.
func forOf(values []string) []string {
	var hops []string
	for _, v := range values {
		for _, element := range splitQuoted(v, ',') {
			hops = append(hops, parameter(element, "for"))
		}
	}
	return hops
}

// parameter is a parameter of an element of Forwarded, or "".
func parameter(element, wanted string) string {
	for _, pair := range splitQuoted(element, ';') {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || !strings.EqualFold(name, wanted) {
			continue
		}
		if quoted, ok := strings.CutPrefix(value, `"`); ok {
			if value, ok = strings.CutSuffix(quoted, `"`); !ok {
				return ""
			}
		}
		return value
	}
	return ""
}

// splitQuoted splits at sep outside of double quotes.
func splitQuoted(s string, sep byte) []string {
	var parts []string
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:])
}
