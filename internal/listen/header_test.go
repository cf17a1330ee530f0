package listen

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
)

// v2 is a header of version 2.
func v2(command, family byte, rest ...byte) string {
	b := []byte(signature)
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(append(b, rest...))
}

var (
	four = []byte{203, 0, 113, 7, 192, 0, 2, 1, 0xc8, 0x22, 0x1c, 0xe9} // 203.0.113.7:51234 to 192.0.2.1:7401
	six  = append(append(append([]byte{}, net.ParseIP("2001:db8::7")...), net.ParseIP("2001:db8::1")...), 0xc8, 0x22, 0x1c, 0xe9)
)

func TestReadHeader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sent, want string }{
		"v1":                       {"PROXY TCP4 203.0.113.7 192.0.2.1 51234 7401\r\n", "203.0.113.7:51234"},
		"v1, IPv6":                 {"PROXY TCP6 2001:db8::7 2001:db8::1 51234 7401\r\n", "[2001:db8::7]:51234"},
		"v1, unknown":              {"PROXY UNKNOWN\r\n", ""},
		"v1, unknown, with more":   {"PROXY UNKNOWN ff:: ff:: 65535 65535\r\n", ""},
		"v2":                       {v2(1, 0x11, four...), "203.0.113.7:51234"},
		"v2, IPv6":                 {v2(1, 0x21, six...), "[2001:db8::7]:51234"},
		"v2, with extensions":      {v2(1, 0x11, append(append([]byte{}, four...), make([]byte, 200)...)...), "203.0.113.7:51234"},
		"v2, the proxy for itself": {v2(0, 0x00), ""},
		"v2, of another network":   {v2(1, 0x31, make([]byte, 216)...), ""},
	} {
		r := strings.NewReader(c.sent + "PRI * HTTP/2.0")
		at, err := readHeader(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		if at != nil {
			got = at.String()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		// Not one byte more than the header may be gone.
		if rest, _ := io.ReadAll(r); string(rest) != "PRI * HTTP/2.0" {
			t.Errorf("%s: %q is left, want all that followed", name, rest)
		}
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sent, says string }{
		"nothing":                {"", "EOF"},
		"HTTP":                   {"GET /healthz HTTP/1.1\r\n\r\n", "no PROXY header"},
		"TLS":                    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaa", "no PROXY header"},
		"v1, cut off":            {"PROXY TCP4 203.0.113.7", "EOF"},
		"v1, too long":           {"PROXY UNKNOWN" + strings.Repeat(" x", 80) + "\r\n", "107"},
		"v1, no CR":              {"PROXY TCP4 203.0.113.7 192.0.2.1 51234 7401\n", "CR LF"},
		"v1, wrong family":       {"PROXY TCP4 2001:db8::7 2001:db8::1 51234 7401\r\n", "cannot be read"},
		"v1, no address":         {"PROXY TCP4 example.com 192.0.2.1 51234 7401\r\n", "cannot be read"},
		"v1, port too large":     {"PROXY TCP4 203.0.113.7 192.0.2.1 65536 7401\r\n", "cannot be read"},
		"v1, too few":            {"PROXY TCP4 203.0.113.7 192.0.2.1\r\n", "cannot be read"},
		"v2, cut off":            {v2(1, 0x11, four...)[:20], "EOF"},
		"v2, too short":          {v2(1, 0x11, four[:11]...), "too short"},
		"v2, too long":           {v2(1, 0x11, make([]byte, maxLength+1)...), "at most"},
		"version 3":              {signature + "\x31\x11\x00\x00", "version 3"},
		"v2, an unknown command": {signature + "\x22\x11\x00\x00", "command 2"},
	} {
		if at, err := readHeader(strings.NewReader(c.sent)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, %v; want an error that says %q", name, at, err, c.says)
		}
	}
}

// Whatever is sent, little is read, and an address comes only of a whole header.
func FuzzReadHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 192.0.2.1 51234 7401\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(1, 0x11, four...)))
	f.Add([]byte(v2(1, 0x21, six...)))
	f.Add([]byte(v2(0, 0)))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bytes.NewReader(sent)
		at, err := readHeader(r)
		read := len(sent) - r.Len()
		if most := len(signature) + 4 + maxLength; read > most {
			t.Errorf("%d bytes were read, at most %d may be", read, most)
		}
		if at != nil && (err != nil || len(at.IP) == 0) {
			t.Errorf("got %v with %v", at, err)
		}
	})
}
