package bench

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const tail = " S 1 2 3 4 5 6 7 8 9 10 150 27 0 0 20 0 9 0 100 1000 500"
	for _, c := range []struct {
		name, in string
		want     time.Duration
		bad      bool
	}{
		{name: "plain", in: "42 (porchlight)" + tail, want: 1770 * time.Millisecond},
		{name: "command with blanks and parentheses", in: "42 (a) b) 1 2 (c)" + tail, want: 1770 * time.Millisecond},
		{name: "empty", in: "", bad: true},
		{name: "cut short", in: "42 (porchlight) S 1 2 3", bad: true},
		{name: "no number", in: "42 (x) S 1 2 3 4 5 6 7 8 9 10 many 27 0 0", bad: true},
		{name: "negative", in: "42 (x) S 1 2 3 4 5 6 7 8 9 10 -1 27 0 0", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseStat([]byte(c.in))
			if got != c.want || (err != nil) != c.bad {
				t.Errorf("got %v, %v, want %v, error %v", got, err, c.want, c.bad)
			}
		})
	}
}

func TestParseMachine(t *testing.T) {
	t.Parallel()
	got, err := parseMachine([]byte("cpu  100 10 50 9000 5 3 2 40 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"))
	if want := 2 * time.Second; got != want || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8 9 10", "cpu a 2 3 4 5 6 7 8 9 10"} {
		if got, err := parseMachine([]byte(bad)); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		want     int64
		bad      bool
	}{
		{name: "plain", in: "Name:\tx\nVmHWM:\t 99 kB\nVmRSS:\t   12345 kB\nThreads:\t3\n", want: 12345},
		{name: "last line", in: "VmRSS: 7 kB", want: 7},
		{name: "missing", in: "Name:\tx\n", bad: true},
		{name: "other unit", in: "VmRSS: 7 MB\n", bad: true},
		{name: "no number", in: "VmRSS: x kB\n", bad: true},
		{name: "nothing", in: "VmRSS:\n", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseStatus([]byte(c.in))
			if got != c.want || (err != nil) != c.bad {
				t.Errorf("got %v, %v, want %v, error %v", got, err, c.want, c.bad)
			}
		})
	}
}

func TestProcessReadsItself(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	me := process(os.Getpid())
	before, err := me.cpu()
	if err != nil {
		t.Fatal(err)
	}
	for after := before; after == before; {
		if after, err = me.cpu(); err != nil || after < before {
			t.Fatalf("CPU time went from %v to %v, %v", before, after, err)
		}
	}
	if kb, err := me.rss(); err != nil || kb < 1000 {
		t.Errorf("rss: got %d KiB, %v, want more than a megabyte", kb, err)
	}
	if _, err := process(1 << 30).cpu(); err == nil {
		t.Error("a process that does not exist could be measured")
	}
}

func FuzzProc(f *testing.F) {
	f.Add([]byte("1 (x) S 1 2 3 4 5 6 7 8 9 10 150 27 0 0"))
	f.Add([]byte("VmRSS: 12 kB\n"))
	f.Add([]byte("cpu  1 2 3 4 5 6 7 8 9 10\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := parseStat(b); err == nil && d < 0 {
			t.Errorf("parseStat: %v", d)
		}
		if n, err := parseStatus(b); err == nil && n < 0 {
			t.Errorf("parseStatus: %v", n)
		}
		if d, err := parseMachine(b); err == nil && d < 0 {
			t.Errorf("parseMachine: %v", d)
		}
	})
}

// listenHere opens a listener and returns its address.
func listenHere(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("cannot listen at %s: %v", addr, err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return netip.MustParseAddrPort(ln.Addr().String())
}
