package socket

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The cases of the public Autobahn test suite that matter to a server without
// compression, by its numbers (crossbar.io/autobahn, fuzzing client).

// heard is a frame that the server must send: its first byte and payload.
type heard struct {
	first   byte
	payload string
}

// protocolCase is one case: what the peer sends, and what it hears. After that
// the server closes with code, or, if that is 0, the peer does with 1000.
type protocolCase struct {
	number string
	send   []byte
	want   []heard
	code   int
}

// First bytes of frames: FIN and opcode.
const (
	aText, aBinary, aPing, aPong, aClose = 0x81, 0x82, 0x89, 0x8a, 0x88
	textPart, binaryPart, aPart          = 0x01, 0x02, 0x00
	lastPart                             = 0x80
	reserved1, reserved2                 = 0x40, 0x20
	reserved3                            = 0x10
	broken                               = CodeProtocol
)

func join(frames ...[]byte) []byte { return slices.Concat(frames...) }

// parts is a message in a frame for each part.
func parts(first byte, list ...string) []byte {
	var b []byte
	for i, p := range list {
		at := byte(aPart)
		if i == 0 {
			at = first & 0x0f
		}
		if i == len(list)-1 {
			at |= 0x80
		}
		b = append(b, frame(at, p)...)
	}
	return b
}

func echoed(first byte, payload string) []heard { return []heard{{first, payload}} }

const hello = "Hello-µ@ßöäüàá-UTF-8!!"

func framingCases() (cases []protocolCase) {
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		s := strings.Repeat("*", n)
		cases = append(cases,
			protocolCase{fmt.Sprintf("1.1.%d", i+1), frame(aText, s), echoed(aText, s), 0},
			protocolCase{fmt.Sprintf("1.2.%d", i+1), frame(aBinary, strings.Repeat("\xfe", n)), echoed(aBinary, strings.Repeat("\xfe", n)), 0})
	}
	var tenPings []byte
	var tenPongs []heard
	for i := range 10 {
		s := fmt.Sprintf("payload-%d", i)
		tenPings, tenPongs = append(tenPings, frame(aPing, s)...), append(tenPongs, heard{aPong, s})
	}
	long := strings.Repeat("\xfe", 125)
	cases = append(cases, []protocolCase{
		{"2.1", frame(aPing, ""), echoed(aPong, ""), 0},
		{"2.2", frame(aPing, "Hello, world!"), echoed(aPong, "Hello, world!"), 0},
		{"2.3", frame(aPing, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), echoed(aPong, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), 0},
		{"2.4", frame(aPing, long), echoed(aPong, long), 0},
		{"2.5", frame(aPing, long+"\xfe"), nil, broken},
		{"2.7", frame(aPong, ""), nil, 0},
		{"2.8", frame(aPong, "unsolicited pong payload"), nil, 0},
		{"2.9", join(frame(aPong, "unsolicited"), frame(aPing, "ping")), echoed(aPong, "ping"), 0},
		{"2.10", tenPings, tenPongs, 0},

		{"3.1", frame(aText|reserved3, hello), nil, broken},
		{"3.2", join(frame(aText, hello), frame(aText|reserved2, hello), frame(aPing, "")), echoed(aText, hello), broken},
		{"3.4", join(frame(aText, hello), frame(aText|reserved2|reserved3, hello), frame(aPing, "")), echoed(aText, hello), broken},
		{"3.5", frame(aBinary|reserved1, "\x00\xff"), nil, broken},
		{"3.6", frame(aPing|reserved1|reserved3, hello), nil, broken},
		{"3.7", frame(aClose|reserved1|reserved2|reserved3, "\x03\xe8"), nil, broken},

		{"5.1", join(frame(0x09, "fragment1"), frame(lastPart, "fragment2")), nil, broken},
		{"5.2", join(frame(0x0a, "fragment1"), frame(lastPart, "fragment2")), nil, broken},
		{"5.3", parts(aText, "fragment1", "fragment2"), echoed(aText, "fragment1fragment2"), 0},
		{"5.6", join(frame(textPart, "fragment1"), frame(aPing, "ping"), frame(lastPart, "fragment2")),
			[]heard{{aPong, "ping"}, {aText, "fragment1fragment2"}}, 0},
		{"5.9", join(frame(lastPart, "non-continuation"), frame(aText, hello)), nil, broken},
		{"5.12", join(frame(aPart, "non-continuation"), frame(aText, hello)), nil, broken},
		{"5.15", join(parts(aText, "fragment1", "fragment2"), frame(aPart, "fragment3"), frame(aText, "fragment4")), echoed(aText, "fragment1fragment2"), broken},
		{"5.16", join(frame(aPart, "fragment1"), frame(textPart, "fragment2"), frame(lastPart, "fragment3")), nil, broken},
		{"5.18", join(frame(textPart, "fragment1"), frame(aText, "fragment2")), nil, broken},
		{"5.19", join(frame(textPart, "1"), frame(aPart, "2"), frame(aPing, "a"), frame(aPart, "3"), frame(aPart, "4"), frame(aPing, "b"), frame(lastPart, "5")),
			[]heard{{aPong, "a"}, {aPong, "b"}, {aText, "12345"}}, 0},
		{"5.20 (binary)", join(frame(binaryPart, "\xff1"), frame(aPing, "a"), frame(aPart, "2"), frame(aPong, "b"), frame(lastPart, "\xfe")),
			[]heard{{aPong, "a"}, {aBinary, "\xff12\xfe"}}, 0},
	}...)
	for i, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		number := fmt.Sprintf("4.%d.%d", 1+i/5, 1+i%5)
		cases = append(cases,
			protocolCase{number, join(frame(aText, hello), frame(0x80|op, ""), frame(aPing, "")), echoed(aText, hello), broken},
			protocolCase{number + " with payload", frame(0x80|op, "reserved"), nil, broken})
	}
	return cases
}

func textCases() []protocolCase {
	const kappa = "κόσμε"
	cases := []protocolCase{
		{"6.1.1", frame(aText, ""), echoed(aText, ""), 0},
		{"6.1.2", parts(aText, "", "", ""), echoed(aText, ""), 0},
		{"6.1.3", parts(aText, "", "middle frame payload", ""), echoed(aText, "middle frame payload"), 0},
		{"6.2.1", frame(aText, hello), echoed(aText, hello), 0},
		{"6.2.2", parts(aText, "Hello-µ@ßöä", "üàá-UTF-8!!"), echoed(aText, hello), 0},
		{"6.2.3", bytewise(hello), echoed(aText, hello), 0},
		{"6.2.4", bytewise(kappa), echoed(aText, kappa), 0},
		{"6.3.1", frame(aText, kappa+"\xed\xa0\x80edited"), nil, CodeNotUTF8},
		{"6.3.2", bytewise(kappa + "\xed\xa0\x80edited"), nil, CodeNotUTF8},
		// Failing fast: nothing more is to come for the close.
		{"6.4.1", join(frame(textPart, kappa), frame(aPart, "\xf4\x90\x80\x80")), nil, CodeNotUTF8},
		{"6.4.2", join(frame(textPart, kappa+"\xf4"), frame(aPart, "\x90")), nil, CodeNotUTF8},
		{"6.4.3", claim(aText, 100, kappa+"\xf4\x90\x80\x80"), nil, CodeNotUTF8},
		{"6.4.4", claim(aText, 100, kappa+"\xf4\x90"), nil, CodeNotUTF8},
	}
	for i, s := range []string{
		"κόσμε", "\x00", "\u0080", "\u0800", "\U00010000", "\u007f", "\u07ff", "\uffff", "\ud7ff", "\ue000", "\ufffd", "\U0010ffff",
		"\ufffe", "\U0001fffe", "\U0010fffe",
	} {
		cases = append(cases,
			protocolCase{fmt.Sprintf("6.5–6.9, 6.12, 6.22 valid %d", i), frame(aText, s), echoed(aText, s), 0},
			protocolCase{fmt.Sprintf("the same %d by octets", i), bytewise(s), echoed(aText, s), 0})
	}
	for i, s := range []string{
		"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf", "\xf4\x90\x80\x80",
		"\x80", "\xbf", "\x80\xbf\x80", "\xc0 \xc1 ", "\xe0 \xef ", "\xf0 ", "\xc0", "\xe0\x80", "\xf0\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf",
		"\xfe", "\xff", "\xfe\xfe\xff\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "κόσμ\xce",
	} {
		cases = append(cases,
			protocolCase{fmt.Sprintf("6.6–6.21 invalid %d", i), frame(aText, s), nil, CodeNotUTF8},
			protocolCase{fmt.Sprintf("the same %d by octets", i), bytewise(s), nil, CodeNotUTF8})
	}
	return cases
}

// bytewise is a text in a frame for each of its bytes.
func bytewise(s string) []byte {
	list := make([]string, len(s))
	for i := range len(s) {
		list[i] = s[i : i+1]
	}
	return parts(aText, list...)
}

func closeCases() []protocolCase {
	code := func(n int, reason string) string { return string([]byte{byte(n >> 8), byte(n)}) + reason }
	cases := []protocolCase{
		{"7.1.1", join(frame(aText, "a"), frame(aClose, code(1000, ""))), echoed(aText, "a"), 1000},
		{"7.1.2", join(frame(aClose, code(1000, "")), frame(aClose, code(1000, ""))), nil, 1000},
		{"7.1.3", join(frame(aClose, code(1000, "")), frame(aPing, "no answer")), nil, 1000},
		{"7.1.4", join(frame(aClose, code(1000, "")), frame(aText, "no answer")), nil, 1000},
		{"7.1.5", join(frame(textPart, "a"), frame(aClose, code(1000, "")), frame(lastPart, "b")), nil, 1000},
		{"7.3.1", frame(aClose, ""), nil, CodeNone},
		{"7.3.2", frame(aClose, "a"), nil, broken},
		{"7.3.3", frame(aClose, code(1000, "")), nil, 1000},
		{"7.3.4", frame(aClose, code(1000, "Hello World!")), nil, 1000},
		{"7.3.5", frame(aClose, code(1000, strings.Repeat("*", 123))), nil, 1000},
		{"7.3.6", frame(aClose, code(1000, strings.Repeat("*", 124))), nil, broken},
		{"7.5.1", frame(aClose, code(1000, "κόσμε\xed\xa0\x80edited")), nil, CodeNotUTF8},
	}
	for _, n := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		cases = append(cases, protocolCase{fmt.Sprintf("7.7 code %d", n), frame(aClose, code(n, "")), nil, n})
	}
	for _, n := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases = append(cases, protocolCase{fmt.Sprintf("7.9, 7.13 code %d", n), frame(aClose, code(n, "")), nil, broken})
	}
	return cases
}

func (p *peer) play(k protocolCase) {
	p.t.Helper()
	for _, w := range k.want {
		p.expect(w.first, w.payload)
	}
	if k.code == 0 {
		p.send(frame(aClose, "\x03\xe8")...)
		p.expectClose(CodeNormal)
	} else {
		p.expectClose(k.code)
	}
	p.expectEnd()
}

// Every case comes in one write, and byte by byte.
func TestAutobahn(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		s := serve(t, cfg, nil, Options{MaxMessage: 1 << 20}, func(*Conn) Door { return &echo{} })
		for _, k := range slices.Concat(framingCases(), textCases(), closeCases()) {
			t.Run(k.number, func(t *testing.T) {
				p := s.join(t)
				p.send(k.send...)
				p.play(k)
				p = s.join(t, k.send...)
				p.play(k)
				if len(k.send) > 1000 {
					return
				}
				p = s.join(t)
				for _, b := range k.send {
					if _, err := p.Write([]byte{b}); err != nil {
						break // it was refused before the last byte
					}
				}
				p.play(k)
			})
		}
	})
}

// Cases 9.1 to 9.6: sizes, in one frame, in fragments, in chops.
func TestAutobahnSizes(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		s := serve(t, cfg, nil, Options{MaxMessage: 4 << 20}, func(*Conn) Door { return &echo{} })
		for _, size := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20} {
			body := string(bytes.Repeat([]byte("ä*"), size/3))
			var fragments []string
			for rest := body; rest != ""; {
				n := min(len(rest), 4099)
				fragments, rest = append(fragments, rest[:n]), rest[n:]
			}
			for name, b := range map[string][]byte{
				"one frame": frame(aText, body), "fragments": parts(aText, fragments...),
				"binary": frame(aBinary, body),
			} {
				p := s.join(t)
				p.limit(60 * time.Second)
				done := make(chan error, 1)
				go func() {
					for chop := range slices.Chunk(b, 997*(1+size>>16)) {
						if _, err := p.Write(chop); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
				first, got, err := p.read()
				if err != nil || got != body || first&0x0f != b[0]&0x0f {
					t.Errorf("%d bytes, %s: got frame %#x of %d bytes, %v; want the same back", size, name, first, len(got), err)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				p.Close()
			}
		}
	})
}
