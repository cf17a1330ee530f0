package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// network is a switch with one port for each host, made of the kernel's network
// namespaces: a process on a host has its own address, and what hosts hear of
// each other can be cut one way at a time, without a word to either, as a dead
// cable does. It takes root; nothing leaves the machine.
type network struct {
	name   string // begins the names of all that is made
	prefix string // of the addresses
	t      *testing.T
	ours   []string // namespaces, by host
}

const (
	// ourHost is the test's own number.
	ourHost = 253
	netBits = "/24"
	// deadEnd is a link address that nobody has: what is sent to it is lost.
	deadEnd = "02:00:00:00:00:ee"
	// port is what a host's end of its cable is called within it.
	port = "eth0"
)

// newNetwork makes a network of so many hosts, numbered from 0, that goes with
// the test. It skips the test where that is not allowed.
func newNetwork(t *testing.T, hosts int) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces take root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces are made with ip (Debian: iproute2)")
	}
	// The kernel allows 15 bytes for a link's name.
	w := &network{name: "pl" + strconv.FormatUint(uint64(os.Getpid()), 36), prefix: fmt.Sprintf("10.77.%d.", os.Getpid()%250), t: t}
	t.Cleanup(w.remove)
	if out, err := w.try("link", "add", w.bridge(), "type", "bridge"); err != nil {
		t.Skipf("this machine allows no network namespaces: %s", out)
	}
	// The switch has an address too, by which the test talks to all hosts.
	w.ip("addr", "add", w.addr(ourHost)+netBits, "dev", w.bridge())
	w.ip("link", "set", w.bridge(), "up")
	for i := range hosts {
		space, cable := w.space(i), w.cable(i)
		w.ip("netns", "add", space)
		w.ours = append(w.ours, space)
		w.ip("link", "add", cable, "type", "veth", "peer", "name", port, "netns", space)
		w.ip("link", "set", cable, "master", w.bridge(), "up")
		w.ip("-n", space, "addr", "add", w.addr(i)+netBits, "dev", port)
		w.ip("-n", space, "link", "set", port, "up")
		w.ip("-n", space, "link", "set", "lo", "up")
	}
	return w
}

func (w *network) bridge() string     { return w.name + "b" }
func (w *network) space(i int) string { return fmt.Sprintf("%sn%d", w.name, i) }
func (w *network) cable(i int) string { return fmt.Sprintf("%sv%d", w.name, i) }

// addr is the address of a host, the same for its life.
func (w *network) addr(i int) string { return w.prefix + strconv.Itoa(i+1) }

// at makes a command run on a host; it is still one process.
func (w *network) at(i int, command ...string) []string {
	return append([]string{"ip", "netns", "exec", w.space(i)}, command...)
}

// cut loses all that one host sends to another; the way back stays.
func (w *network) cut(from, to int) {
	w.ip("-n", w.space(from), "neigh", "replace", w.addr(to), "lladdr", deadEnd, "dev", port, "nud", "permanent")
}

// part cuts both ways.
func (w *network) part(a, b int) { w.cut(a, b); w.cut(b, a) }

// mend makes the way from one host to another whole again.
func (w *network) mend(from, to int) {
	// It is not there when nothing was cut.
	_, _ = w.try("-n", w.space(from), "neigh", "del", w.addr(to), "dev", port)
}

// heal makes every way whole again and every cable fast.
func (w *network) heal() {
	for i := range w.ours {
		for j := range w.ours {
			if i != j {
				w.mend(i, j)
			}
		}
		w.fast(i)
	}
}

// slow lets so many kilobits a second through to and from a host.
func (w *network) slow(i, kilobits int) {
	w.fast(i)
	rate := []string{"root", "tbf", "rate", fmt.Sprintf("%dkbit", kilobits), "burst", "32kbit", "latency", "2s"}
	w.run("tc", append([]string{"qdisc", "add", "dev", w.cable(i)}, rate...)...)
	w.run("tc", append([]string{"-n", w.space(i), "qdisc", "add", "dev", port}, rate...)...)
}

// fast takes back what slow did.
func (w *network) fast(i int) {
	_ = exec.Command("tc", "qdisc", "del", "dev", w.cable(i), "root").Run() // none is there when nothing was slowed
	_ = exec.Command("tc", "-n", w.space(i), "qdisc", "del", "dev", port, "root").Run()
}

func (w *network) ip(args ...string) { w.run("ip", args...) }

func (w *network) try(args ...string) (string, error) {
	out, err := exec.Command("ip", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (w *network) run(program string, args ...string) {
	w.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		w.t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
}

func (w *network) remove() {
	for _, space := range w.ours {
		if out, err := w.try("netns", "del", space); err != nil {
			w.t.Errorf("remove %s: %v: %s", space, err, out)
		}
	}
	_, _ = w.try("link", "del", w.bridge()) // it may never have been made
}
