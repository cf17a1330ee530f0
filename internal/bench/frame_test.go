package bench

import (
	"bytes"
	"strings"
	"testing"
)

func TestCutFrame(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("x"), 70_000)
	for _, c := range []struct {
		name    string
		in      []byte
		op      byte
		payload []byte
		size    int
		fails   string
	}{
		{"nothing", nil, 0, nil, 0, ""},
		{"half a header", []byte{0x81}, 0, nil, 0, ""},
		{"short", []byte{0x81, 2, 'h', 'i', 'x'}, opText, []byte("hi"), 4, ""},
		{"not whole", []byte{0x81, 3, 'h', 'i'}, opText, nil, 0, ""},
		// RFC 6455 section 5.7.
		{"masked", []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, opText, []byte("Hello"), 11, ""},
		{"mask not whole", []byte{0x81, 0x85, 0x37, 0xfa}, opText, nil, 0, ""},
		{"two bytes of length", append([]byte{0x82, 126, 1, 0}, long[:256]...), 2, long[:256], 260, ""},
		{"two bytes not whole", []byte{0x82, 126, 1}, 2, nil, 0, ""},
		{"eight bytes of length", append([]byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70}, long...), opText, long, 70_010, ""},
		{"close", []byte{0x88, 2, 3, 0xe8}, opClose, []byte{3, 0xe8}, 4, ""},
		{"a part", []byte{0x01, 2, 'h', 'i'}, 0, nil, 0, "part of a message"},
		{"an extension", []byte{0xc1, 2, 'h', 'i'}, 0, nil, 0, "extension"},
		{"too long", []byte{0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0}, 0, nil, 0, "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, size, err := cutFrame(c.in)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got %v, want an error with %q", err, c.fails)
				}
				return
			}
			if err != nil || size != c.size || size > 0 && f.op != c.op || !bytes.Equal(f.payload, c.payload) {
				t.Errorf("got opcode %d, %d bytes of payload, size %d, %v; want %d, %d bytes, size %d", f.op, len(f.payload), size, err, c.op, len(c.payload), c.size)
			}
		})
	}
}

func TestFramesComeBack(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, maxPayload} {
		want := bytes.Repeat([]byte("7"), n)
		for name, b := range map[string][]byte{
			"server": append(appendHead(nil, opText, n), want...),
			"device": appendMasked(nil, opText, want[:n/2], want[n/2:]),
		} {
			f, size, err := cutFrame(b)
			if err != nil || size != len(b) || f.op != opText || !bytes.Equal(f.payload, want) {
				t.Errorf("%s, %d bytes: got %d of %d bytes, opcode %d, %v", name, n, size, len(b), f.op, err)
			}
		}
	}
}

func FuzzCutFrame(f *testing.F) {
	f.Add([]byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58})
	f.Add([]byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, size, err := cutFrame(bytes.Clone(b))
		if size < 0 || size > len(b) || err != nil && size != 0 || len(fr.payload) > size {
			t.Errorf("got size %d, %d bytes of payload, %v from %d bytes", size, len(fr.payload), err, len(b))
		}
	})
}

// Whatever a device says to a null server, it ends in an answer or an error.
func FuzzLivePeer(f *testing.F) {
	f.Add([]byte("GET /live HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n\x81\x80\x00\x00\x00\x00"))
	f.Add(appendMasked([]byte("GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n"), opText, []byte(`{"t":"hello","device":{"id":"a"},"watch":["b"]}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &livePeer{server: &liveNull{nullTable: newNullTable(newLiveFrames)}, sink: discard{}}
		rest, err := p.feed(bytes.Clone(b))
		if err == nil && len(rest) > len(b) {
			t.Errorf("%d bytes are left of %d", len(rest), len(b))
		}
		p.end()
	})
}

type discard struct{}

func (discard) send(any) {}
