package bench

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listening returns the process that listens at a loopback address, as far as
// this user may see it: the socket's inode from /proc/net/tcp, then whoever
// has that inode open.
func listening(addr netip.AddrPort) (pid int, err error) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue // no such family on this machine
		}
		if inode := listenInode(b, addr); inode != "" {
			return holder(inode)
		}
	}
	return 0, fmt.Errorf("bench: nobody listens at %s", addr)
}

// stateListen is TCP_LISTEN in the st column of /proc/net/tcp.
const stateListen = "0A"

// listenInode finds the inode of the socket that takes connections for addr in
// a table of /proc/net/tcp or tcp6: the one bound to it, or to all addresses.
func listenInode(table []byte, addr netip.AddrPort) string {
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 10 || f[3] != stateListen {
			continue
		}
		host, port, ok := strings.Cut(f[1], ":")
		n, err := strconv.ParseUint(port, 16, 16)
		if !ok || err != nil || uint16(n) != addr.Port() {
			continue
		}
		if ip, ok := kernelAddr(host); ok && (ip.Unmap() == addr.Addr() || ip.IsUnspecified()) {
			return f[9]
		}
	}
	return ""
}

// kernelAddr reads an address as the kernel prints it: 32-bit words in the
// machine's byte order, which is little endian wherever this load runs.
func kernelAddr(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	return netip.AddrFromSlice(b)
}

// holder returns the process that has the socket with this inode open.
func holder(inode string) (int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, fmt.Errorf("bench: look for the server's process: %w", err)
	}
	want := "socket:[" + inode + "]"
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && to == want {
			return strconv.Atoi(strings.Split(l, "/")[2])
		}
	}
	return 0, errors.New("bench: the server's process belongs to somebody else")
}
