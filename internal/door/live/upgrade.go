package live

import (
	"net/http"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// greeting is what is known of a connection before its hello.
type greeting struct {
	access *token.Access // of the handshake; nil: it comes with the hello
	origin string        // of a foreign page; "" is none
	addr   string        // ip:port of the peer
	spot   spot          // among those who have not said hello; guarded by the door's fresh
}

// ServeHTTP takes a WebSocket handshake. The peer's address is r.RemoteAddr.
//
// Pages are let in by their origin alone here, for the token may come later. What
// else is wrong is said on the connection: a page cannot read why a handshake was
// refused.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != Path {
		http.NotFound(w, r)
		return
	}
	g := &greeting{addr: strings.Clone(r.RemoteAddr)}
	if origin := r.Header.Get("Origin"); origin != "" && !admit.SameOrigin(origin, r.Host) {
		if why := d.cfg.Gate.RefusesOrigin(origin); why != "" {
			d.called("connection", originRefused, noTime)
			http.Error(w, why, http.StatusForbidden)
			return
		}
		g.origin = strings.Clone(origin)
	}
	if offered := r.Header.Values("Sec-WebSocket-Protocol"); len(offered) > 0 && !offers(offered) {
		http.Error(w, "the sub-protocol here is "+Protocol+"; offer it, or none", http.StatusBadRequest)
		return
	}
	err := d.greet(r, g)
	from := admit.PlaceOf(g.addr)
	crowded := !d.from.Enter(from, d.limits.Load().PerAddress)
	if crowded {
		from = 0
	}
	open := func(s *socket.Conn) socket.Door {
		c := &conn{door: d, sock: s, greet: g, from: from}
		switch {
		case crowded:
			c.refuse(goodbye{reason: tooManyConnections, message: "there are too many connections from this address"})
		case err != nil:
			c.refuse(c.farewellOf(err, false))
		default:
			d.fresh.add(c)
		}
		return c
	}
	o := socket.Options{Protocols: []string{Protocol}, CheckOrigin: func(*http.Request) bool { return true }}
	if d.loop.Upgrade(w, r, o, open) != nil { // the peer was told
		d.from.Leave(from)
	}
}

// offers reports whether our sub-protocol is among those offered.
func offers(values []string) bool {
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			if strings.TrimSpace(one) == Protocol {
				return true
			}
		}
	}
	return false
}

// greet reads the access token of the handshake: the Authorization header, or
// for pages, which cannot set it, the query's access_token.
func (d *Door) greet(r *http.Request, g *greeting) error {
	values, query := r.Header.Values("Authorization"), r.URL.Query()["access_token"]
	var raw string
	switch {
	case len(values)+len(query) == 0:
		return nil
	case len(values)+len(query) > 1:
		return fault.New(fault.JWTInvalid, "send one access token: in the hello, the Authorization header, or the query's access_token")
	case len(values) == 1:
		scheme, rest, ok := strings.Cut(values[0], " ")
		if !ok || !strings.EqualFold(scheme, "bearer") {
			return fault.New(fault.JWTInvalid, "the Authorization header must be of the form Bearer <JWT>")
		}
		raw = strings.TrimSpace(rest)
	default:
		raw = query[0]
	}
	a, err := d.cfg.Gate.Access(r.Context(), raw)
	if err != nil {
		return err
	}
	g.access = &a
	return nil
}
