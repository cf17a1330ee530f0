package bench

import (
	"net/netip"
	"os"
	"testing"
)

func TestListeningFindsTheProcess(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			addr := listenHere(t, at)
			if addr.Addr().IsUnspecified() {
				addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), addr.Port())
			}
			got, err := listening(addr)
			if err != nil || got != os.Getpid() {
				t.Errorf("got process %d, %v, want this one, %d", got, err, os.Getpid())
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		if pid, err := listening(netip.MustParseAddrPort("127.0.0.1:1")); err == nil {
			t.Errorf("got process %d, want an error", pid)
		}
	})
}

func FuzzListenInode(f *testing.F) {
	f.Add([]byte("  0: 0100007F:1CE9 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1\n"))
	addr := netip.MustParseAddrPort("127.0.0.1:7401")
	f.Fuzz(func(_ *testing.T, b []byte) { listenInode(b, addr) })
}
