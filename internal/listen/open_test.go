package listen

import (
	"net"
	"testing"
)

// A connection counts as open until it is closed, however often.
func TestOpenConnections(t *testing.T) {
	t.Parallel()
	inner, err := Open("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(inner, Config{Now: (&counter{}).now})
	defer l.Close()
	var conns []net.Conn
	for range 2 {
		far, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		near, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, near)
	}
	if got := l.Open(); got != 2 {
		t.Errorf("got %d open, want 2", got)
	}
	conns[0].Close()
	conns[0].Close()
	if got := l.Open(); got != 1 {
		t.Errorf("after closing one twice: got %d open, want 1", got)
	}
	conns[1].Close()
	if got := l.Open(); got != 0 {
		t.Errorf("after closing both: got %d open, want 0", got)
	}
}
