package socket

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// callEnv makes the test program a crowd of clients that only read: "count
// address".
const callEnv = "SOCKET_TEST_CROWD"

func TestMain(m *testing.M) {
	if call := os.Getenv(callEnv); call != "" {
		if err := crowd(call); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// crowd connects, says so, and stays until its standard input ends.
func crowd(call string) error {
	count, addr, _ := strings.Cut(call, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	links := make([]net.Conn, n)
	for i := range links {
		if links[i], err = net.Dial("tcp", addr); err != nil {
			return err
		}
		if _, err := io.WriteString(links[i], handshake); err != nil {
			return err
		}
		answer, err := http.ReadResponse(bufio.NewReader(links[i]), nil)
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusSwitchingProtocols {
			return fmt.Errorf("handshake: %s", answer.Status)
		}
	}
	if n <= 1000 { // more are idle
		for _, l := range links {
			go io.Copy(io.Discard, l)
		}
	}
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(links)
	return nil
}

// silent is a door that has nothing to say.
type silent struct{}

func (silent) Message(*Conn, Kind, []byte) {}
func (silent) Fill(*Conn, *Out) bool       { return false }
func (silent) Closed(*Conn, error)         {}

// BenchmarkIdle is what an idle connection takes, of this process: its net.Conn
// with all that belongs to it in the Go runtime, and what is ours. The kernel's part is not in
// it. "bare" is connections that were only accepted, for comparison.
//
//	go test -run '^$' -bench Idle -benchtime 10000x ./internal/socket
func BenchmarkIdle(b *testing.B) {
	if testing.Short() {
		b.Skip("opens thousands of connections")
	}
	b.Run("bare", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		var kept []net.Conn
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				kept = append(kept, c)
				r := bufio.NewReader(c)
				if _, err := http.ReadRequest(r); err == nil {
					io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
				}
			}
		}()
		measureIdle(b, l.Addr().String())
		l.Close()
		for _, c := range kept {
			c.Close()
		}
	})
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			s := serve(b, Config{Goroutines: m.goroutines}, nil, Options{}, func(*Conn) Door { return silent{} })
			measureIdle(b, s.addr)
		})
	}
}

func measureIdle(b *testing.B, addr string) {
	heap, resident := memory(b)
	leave := startCrowd(b, strconv.Itoa(b.N)+" "+addr)
	<-time.After(100 * time.Millisecond) // the last handlers return
	heapNow, residentNow := memory(b)
	b.ReportMetric(float64(heapNow-heap)/float64(b.N), "heap-B/conn")
	b.ReportMetric(float64(residentNow-resident)/float64(b.N), "RSS-B/conn")
	b.ReportMetric(0, "ns/op")
	leave()
}

// startCrowd starts clients in another process and waits until they are
// connected.
func startCrowd(b *testing.B, call string) (leave func()) {
	b.Helper()
	crowd := exec.Command(os.Args[0])
	crowd.Env = append(os.Environ(), callEnv+"="+call)
	crowd.Stderr = os.Stderr
	in, err := crowd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := crowd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := crowd.Start(); err != nil {
		b.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatalf("the clients did not connect: %q, %v", line, err)
	}
	return func() {
		in.Close()
		if err := crowd.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

// memory is the live heap with stacks, and what of this process is in memory.
func memory(b *testing.B) (heap, resident int) {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("this system does not say what is resident")
	}
	pages, err := strconv.Atoi(strings.Fields(string(status))[1])
	if err != nil {
		b.Fatal(err)
	}
	return int(m.HeapAlloc + m.StackInuse), pages * os.Getpagesize()
}
