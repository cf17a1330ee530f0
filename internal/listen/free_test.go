package listen

import (
	"net"
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
