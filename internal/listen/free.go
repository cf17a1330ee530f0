package listen

import "net"

// Free finds addresses of loopback that nobody listens on, each another one. Somebody
// else may take one before it is used: it is for nodes on this machine that must
// know each other's address before they start.
func Free(count int) (addrs []string, err error) {
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are found before the first is given free
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
