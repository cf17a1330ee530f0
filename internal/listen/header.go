package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt):
//
//	v1: "PROXY TCP4 203.0.113.7 192.0.2.1 51234 7401\r\n"
//	v2: signature[12] | version and command[1] | family[1] | length[2] | addresses and extensions[length]
//
// Only as many bytes are read as the header has: what follows is read from the
// socket without us (the door's buffers are lent while there is something).

// signature begins version 2. It is shorter than the shortest header of
// version 1, so this many bytes can be read without knowing which one comes.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	maxLine   = 107     // version 1 with its line end, as its document says
	maxLength = 2 << 10 // version 2 after the first 16 bytes: extensions carry a name or a certificate's
)

// errNoHeader says that a connection began with something else.
var errNoHeader = errors.New("no PROXY header at the beginning of the connection")

// readHeader reads one header. The address is nil when the proxy speaks for
// itself (a health check) or does not know the client.
func readHeader(r io.Reader) (*net.TCPAddr, error) {
	var first [len(signature)]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return nil, err
	}
	switch {
	case string(first[:]) == signature:
		return readBinary(r)
	case bytes.HasPrefix(first[:], []byte("PROXY ")):
		return readLine(r, first[:])
	}
	return nil, errNoHeader
}

func readBinary(r io.Reader) (*net.TCPAddr, error) {
	var fixed [4]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return nil, err
	}
	version, command, family := fixed[0]>>4, fixed[0]&0x0f, fixed[1]
	length := int(binary.BigEndian.Uint16(fixed[2:]))
	if version != 2 || command > 1 {
		return nil, fmt.Errorf("PROXY header of version %d with command %d; 1 and 2 are known, with LOCAL and PROXY", version, command)
	}
	if length > maxLength {
		return nil, fmt.Errorf("PROXY header of %d bytes; at most %d are allowed", length, maxLength)
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, err
	}
	if command == 0 { // LOCAL
		return nil, nil
	}
	size := 0 // of one address
	switch family {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	default:
		return nil, nil
	}
	if length < 2*size+4 {
		return nil, fmt.Errorf("PROXY header too short for its addresses: %d bytes", length)
	}
	ip, _ := netip.AddrFromSlice(rest[:size])
	return tcpAddr(ip, binary.BigEndian.Uint16(rest[2*size:])), nil
}

func readLine(r io.Reader, line []byte) (*net.TCPAddr, error) {
	var one [1]byte
	for line[len(line)-1] != '\n' {
		if len(line) == maxLine {
			return nil, fmt.Errorf("PROXY header without a line end in %d bytes", maxLine)
		}
		if _, err := io.ReadFull(r, one[:]); err != nil {
			return nil, err
		}
		line = append(line, one[0])
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok {
		return nil, errors.New("PROXY header whose line does not end with CR LF")
	}
	words := strings.Split(text, " ")
	if words[1] == "UNKNOWN" {
		return nil, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return nil, fmt.Errorf("PROXY header that cannot be read: %.107q", text)
	}
	ip, err := netip.ParseAddr(words[2])
	port, perr := strconv.ParseUint(words[4], 10, 16)
	if err != nil || perr != nil || ip.Zone() != "" || ip.Is4() != (words[1] == "TCP4") {
		return nil, fmt.Errorf("PROXY header that cannot be read: %.107q", text)
	}
	return tcpAddr(ip, uint16(port)), nil
}

func tcpAddr(ip netip.Addr, port uint16) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), port))
}
