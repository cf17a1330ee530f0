package listen

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports that Free looks at. They are below those that systems give to connections
// and to who asks for any port, which would take one before it is used.
const (
	freeFrom = 15_000
	freeTo   = 32_000
)

// Free finds addresses of loopback that nobody listens on, each another one. Somebody
// else may take one before it is used: it is for nodes on this machine that must
// know each other's address before they start.
func Free(count int) (addrs []string, err error) {
	// One after another from anywhere: two who ask at the same time hardly meet.
	begin := rand.IntN(freeTo - freeFrom)
	for i := range freeTo - freeFrom {
		if len(addrs) == count {
			return addrs, nil
		}
		addr := fmt.Sprintf("127.0.0.1:%d", freeFrom+(begin+i)%(freeTo-freeFrom))
		l, taken := net.Listen("tcp", addr)
		if err = taken; err != nil {
			continue
		}
		defer l.Close() // all are found before the first is given free
		addrs = append(addrs, addr)
	}
	return nil, errors.Join(errors.New("no free ports on loopback"), err)
}
