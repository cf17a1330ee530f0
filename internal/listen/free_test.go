package listen

import (
	"net"
	"net/netip"
	"testing"
)

func TestFreeAddressesDifferAndCanBeTaken(t *testing.T) {
	t.Parallel()
	addrs, err := Free(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range addrs {
		if seen[a] {
			t.Errorf("%s is given twice", a)
		}
		seen[a] = true
		// Not among those that a connection may be given before one is used.
		if port := netip.MustParseAddrPort(a).Port(); port < freeFrom || port >= freeTo {
			t.Errorf("%s is none of ours to give", a)
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d addresses, want 20", len(seen))
	}
	l, err := net.Listen("tcp", addrs[0])
	if err != nil {
		t.Fatalf("%s is not free: %v", addrs[0], err)
	}
	l.Close()
}
