package stringee

import (
	"net"
	"strconv"
	"strings"
)

// addressAnswer is what the client reads to know where to connect.
type addressAnswer struct {
	R    int `json:"r"`
	Data struct {
		Addrs struct {
			Web []serverAddress `json:"web"`
		} `json:"stringeeServerAddrs"`
	} `json:"data"`
}

type serverAddress struct {
	IP   string `json:"ip"`
	Port int    `json:"port"`
}

// securePort is where wss:// is when an address does not say.
const securePort = 443

// address answers GET /v2/getStringeeServerAddress. The client opens wss:// at what
// it is told, always.
func (c *call) address() (any, *refusal) {
	var out addressAnswer
	list := c.d.places.Load().Addresses
	if len(list) == 0 {
		list = []string{c.r.Host}
	}
	for _, s := range list {
		one := serverAddress{s, securePort}
		if host, port, err := net.SplitHostPort(s); err == nil {
			if n, err := strconv.ParseUint(port, 10, 16); err == nil {
				if strings.Contains(host, ":") {
					host = "[" + host + "]" // the client puts a colon behind it
				}
				one = serverAddress{host, int(n)}
			}
		}
		out.Data.Addrs.Web = append(out.Data.Addrs.Web, one)
	}
	return out, nil
}
