package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// heard writes down what a link told its listener.
type heard []string

func (h *heard) message(stream uint32, msg []byte) error {
	*h = append(*h, fmt.Sprintf("%d: %q", stream, msg))
	return nil
}

func (h *heard) ended(stream uint32, code codes.Code, detail string) error {
	*h = append(*h, fmt.Sprintf("%d: %s %s", stream, code, detail))
	return nil
}

// serverSide writes what a server might, with the framer of another author.
type serverSide struct {
	bytes.Buffer
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func newServerSide() *serverSide {
	s := new(serverSide)
	s.Framer = http2.NewFramer(&s.Buffer, nil)
	s.enc = hpack.NewEncoder(&s.block)
	return s
}

func (s *serverSide) headers(stream uint32, end bool, fields ...string) []byte {
	s.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = s.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: s.block.Bytes(), EndHeaders: true, EndStream: end})
	return nil
}

func grpcMessage(s string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(s)))
	return append(b, s...)
}

// conversation is a stream of answers with everything in it that a link must
// understand, and what its listener must hear.
func conversation() (*serverSide, heard) {
	s := newServerSide()
	_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65536}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 128})
	_ = s.WriteSettingsAck()
	_ = s.WriteWindowUpdate(0, 1000)
	_ = s.WriteWindowUpdate(1, 1000)
	s.headers(1, false, ":status", "200", "content-type", "application/grpc")
	_ = s.WriteData(1, false, append(grpcMessage("one"), grpcMessage("")...))
	three := grpcMessage("three")
	_ = s.WriteData(1, false, append(grpcMessage("two"), three[:7]...)) // cut inside a message
	s.headers(3, false, ":status", "200", "content-type", "application/grpc")
	_ = s.WriteData(3, false, grpcMessage("other")[:3]) // cut inside its length
	_ = s.WriteDataPadded(1, false, three[7:], make([]byte, 5))
	_ = s.WriteData(3, false, grpcMessage("other")[3:])
	_ = s.WritePing(false, [8]byte{1, 2, 3})
	_ = s.WritePing(true, [8]byte{9})
	_ = s.WriteRawFrame(0xbe, 0, 0, []byte("unknown kinds are ignored"))
	s.headers(3, true, "grpc-status", "0")
	// A header block in two frames.
	s.block.Reset()
	_ = s.enc.WriteField(hpack.HeaderField{Name: "grpc-status", Value: "8"})
	_ = s.enc.WriteField(hpack.HeaderField{Name: "grpc-message", Value: "too%20much"})
	block := s.block.Bytes()
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:4], EndStream: true})
	_ = s.WriteContinuation(1, true, block[4:])
	_ = s.WriteRSTStream(5, http2.ErrCodeCancel)
	return s, heard{
		`1: "one"`, `1: ""`, `1: "two"`, `1: "three"`, `3: "other"`,
		"3: OK ", "1: ResourceExhausted too much", "5: Internal stream reset with HTTP/2 error 8",
	}
}

func TestLinkUnderstandsHoweverTheBytesAreCut(t *testing.T) {
	t.Parallel()
	s, want := conversation()
	all := s.Bytes()
	for _, piece := range []int{1, 2, 7, 100, len(all)} {
		t.Run(fmt.Sprintf("pieces of %d", piece), func(t *testing.T) {
			t.Parallel()
			l := newLink("127.0.0.1:1", "Bearer x")
			l.out = nil
			credit := l.credit
			var got heard
			var rest []byte
			for b := all; len(b) > 0; b = b[min(piece, len(b)):] {
				left, err := l.feed(append(bytes.Clone(rest), b[:min(piece, len(b))]...), &got)
				if err != nil {
					t.Fatalf("after %q: %v", got, err)
				}
				rest = left
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("heard (-want +got):\n%s", diff)
			}
			if len(rest) != 0 || len(l.part) != 0 {
				t.Errorf("%d bytes and %d begun messages are left, want none", len(rest), len(l.part))
			}
			if l.credit != credit+1000 {
				t.Errorf("credit grew by %d, want 1000", l.credit-credit)
			}
			answers := appendFrame(nil, frameSettings, flagEnd, 0, 0)
			answers = append(appendFrame(answers, framePing, flagEnd, 0, 8), 1, 2, 3, 0, 0, 0, 0, 0)
			if diff := cmp.Diff(answers, l.out); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLinkSpeaksToAnotherFramer(t *testing.T) {
	t.Parallel()
	l := newLink("127.0.0.1:1", "Bearer x")
	first, err := l.call("/service/Method", []byte("ab"), []byte("c"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.call("/service/Method", nil)
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := bytes.CutPrefix(l.out, []byte(http2.ClientPreface))
	if !ok {
		t.Fatal("the connection does not begin with the preface")
	}
	f := http2.NewFramer(nil, bytes.NewReader(rest))
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var got []string
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			break
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			line := fmt.Sprintf("HEADERS %d", frame.StreamID)
			for _, h := range frame.Fields {
				line += " " + h.Name + "=" + h.Value
			}
			got = append(got, line)
		case *http2.DataFrame:
			got = append(got, fmt.Sprintf("DATA %d %q end=%v", frame.StreamID, frame.Data(), frame.StreamEnded()))
		default:
			got = append(got, fmt.Sprintf("%s %d", frame.Header().Type, frame.Header().StreamID))
		}
	}
	const fields = " :method=POST :scheme=http :path=/service/Method :authority=127.0.0.1:1 content-type=application/grpc te=trailers authorization=Bearer x"
	want := []string{
		"SETTINGS 0", "WINDOW_UPDATE 0",
		"HEADERS 1" + fields, `DATA 1 "\x00\x00\x00\x00\x03abc" end=true`,
		"HEADERS 3" + fields, `DATA 3 "\x00\x00\x00\x00\x00" end=true`,
	}
	if diff := cmp.Diff(want, got); diff != "" || first != 1 || second != 3 {
		t.Errorf("calls %d and %d, frames (-want +got):\n%s", first, second, diff)
	}
}

func TestLinkKeepsToTheServersWindow(t *testing.T) {
	t.Parallel()
	l := newLink("127.0.0.1:1", "Bearer x")
	big := make([]byte, 10_000)
	for range 6 {
		if _, err := l.call("/s/M", big); err != nil {
			t.Fatalf("with credit %d: %v", l.credit, err)
		}
	}
	if _, err := l.call("/s/M", big); err == nil {
		t.Errorf("a call of %d bytes went out with a credit of %d", len(big), l.credit)
	}
}

func TestLinkRefusesWhatIsBroken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		write func(*serverSide)
		want  string
	}{
		{"goaway", func(s *serverSide) { _ = s.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings")) }, "too_many_pings"},
		{"push", func(s *serverSide) {
			_ = s.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}, "PUSH_PROMISE"},
		{"HTTP error", func(s *serverSide) { s.headers(1, true, ":status", "502") }, "502"},
		{"no grpc-status", func(s *serverSide) { s.headers(1, true, ":status", "200") }, "grpc-status"},
		{"compressed", func(s *serverSide) { _ = s.WriteData(1, false, []byte{1, 0, 0, 0, 1, 0}) }, "flag 1"},
		{"huge message", func(s *serverSide) { _ = s.WriteData(1, false, []byte{0, 255, 0, 0, 0}) }, "message of"},
		{"huge frame", func(s *serverSide) { s.Write([]byte{255, 0, 0, 0, 0, 0, 0, 0, 1}) }, "frame of"},
		{"interrupted headers", func(s *serverSide) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1})
			_ = s.WritePing(false, [8]byte{})
		}, "inside a header block"},
		{"continuation of nothing", func(s *serverSide) { s.AllowIllegalWrites = true; _ = s.WriteContinuation(1, true, nil) }, "CONTINUATION"},
		{"small window", func(s *serverSide) { _ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}) }, "too small"},
		{"padding", func(s *serverSide) { s.Write([]byte{0, 0, 1, 0, 8, 0, 0, 0, 1, 9}) }, "padding"},
		{"short ping", func(s *serverSide) { s.Write([]byte{0, 0, 0, 6, 0, 0, 0, 0, 0}) }, "PING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServerSide()
			c.write(s)
			_, err := newLink("127.0.0.1:1", "Bearer x").feed(s.Bytes(), new(heard))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func FuzzLink(f *testing.F) {
	s, _ := conversation()
	f.Add(s.Bytes())
	f.Add([]byte{0, 0, 4, 1, 0x2c, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := newLink("127.0.0.1:1", "Bearer x")
		rest, err := l.feed(bytes.Clone(b), new(heard))
		if err == nil && len(rest) >= frameHeader+maxFrame {
			t.Errorf("%d bytes are left over, more than a frame", len(rest))
		}
	})
}

func BenchmarkLinkFeed(b *testing.B) {
	frames, err := newNullFrames(userName(1))
	if err != nil {
		b.Fatal(err)
	}
	s := newServerSide()
	_ = s.WriteData(1, false, grpcMessage(string(frames.changed)))
	l := newLink("127.0.0.1:1", "Bearer x")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.feed(s.Bytes(), deaf{}); err != nil {
			b.Fatal(err)
		}
	}
}

type deaf struct{}

func (deaf) message(uint32, []byte) error           { return nil }
func (deaf) ended(uint32, codes.Code, string) error { return nil }
