package chaos

import (
	"runtime"
	"strings"
	"testing"
)

// cableHost is where our own cables between nodes begin. Nodes tell each other at
// which port they listen, and take the host from the connection: here nobody
// listens at such a port, so no node finds a way around a cable.
const cableHost = "127.0.0.2"

// cables are all links of a fleet that can be harmed.
type cables struct {
	network  *network   // the system's: then there are no links and no routes
	links    [][]*proxy // by who dials and whom: between the engines of nodes
	routes   [][]*proxy // by node and NATS server
	doors    []*proxy   // of some of the clients, by node; gRPC
	webDoors []*proxy   // HTTP
}

// lay lays the cables of node i, whose engine is to meet those at peers, and says
// in its part where they begin.
func (c *cables) lay(t *testing.T, set setting, i int, peers []string, p *part) {
	t.Helper()
	c.doors = append(c.doors, newProxy(t, p.GRPC))
	c.webDoors = append(c.webDoors, newProxy(t, p.HTTP))
	if set.servers != nil {
		var ours []*proxy
		for _, url := range set.servers.URLs() {
			cable := newProxy(t, strings.TrimPrefix(url, "nats://"))
			ours = append(ours, cable)
			p.Servers = append(p.Servers, "nats://"+cable.addr())
		}
		c.routes = append(c.routes, ours)
		return
	}
	p.Listen, p.Peers = peers[i], peers
	if set.network != nil || runtime.GOOS != "linux" { // others have no second address of loopback
		return
	}
	p.Peers = nil
	ours := make([]*proxy, len(peers))
	for j, to := range peers {
		if j != i {
			ours[j] = newProxyAt(t, cableHost, to)
			p.Peers = append(p.Peers, ours[j].addr())
		}
	}
	c.links = append(c.links, ours)
}

// cabled reports whether guest so-and-so dials through cables that can be harmed.
func cabled(number int) bool { return number%3 == 0 }

// door and webDoor are where guest so-and-so dials node i.
func (f *fleet) door(i, number int) string {
	if cabled(number) {
		return f.doors[i].addr()
	}
	return f.nodes[i].grpc
}

func (f *fleet) webDoor(i, number int) string {
	if cabled(number) {
		return f.webDoors[i].addr()
	}
	return f.nodes[i].http
}

// doorsOf are the cables of clients of a node.
func (c *cables) doorsOf(i int) []*proxy { return []*proxy{c.doors[i], c.webDoors[i]} }

// parts reports whether nodes can be cut from each other.
func (c *cables) parts() bool { return c.network != nil || len(c.links) > 0 }

// cut lets nothing through from one node to another.
func (c *cables) cut(from, to int) {
	if c.network != nil {
		c.network.cut(from, to)
		return
	}
	c.links[from][to].hold(up)
	c.links[to][from].hold(down)
}

// sever cuts a node from all others, or from all NATS servers.
func (c *cables) sever(i int) {
	for _, r := range c.routesOf(i) {
		r.freeze()
	}
	if len(c.routes) > 0 {
		return
	}
	for j := range c.doors {
		if j != i {
			c.cut(i, j)
			c.cut(j, i)
		}
	}
}

func (c *cables) routesOf(i int) []*proxy {
	if len(c.routes) == 0 {
		return nil
	}
	return c.routes[i]
}

// slow lets so many kilobytes a second through each link of a node.
func (c *cables) slow(i, kilobytes int) {
	if c.network != nil {
		c.network.slow(i, 8*kilobytes)
		return
	}
	for _, r := range c.routesOf(i) {
		r.slow(kilobytes << 10)
	}
	for a, ours := range c.links {
		for b, link := range ours {
			if link != nil && (a == i || b == i) {
				link.slow(kilobytes << 10)
			}
		}
	}
}

// heal makes all cables whole.
func (c *cables) heal() {
	if c.network != nil {
		c.network.heal()
	}
	for _, some := range append(append([][]*proxy{c.doors, c.webDoors}, c.links...), c.routes...) {
		for _, p := range some {
			if p != nil {
				p.heal()
			}
		}
	}
}
