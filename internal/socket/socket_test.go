package socket

import (
	"strings"
	"testing"
)

func TestEcho(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, cfg Config) {
		ended := make(chan error, 1)
		s := serve(t, cfg, nil, Options{}, func(*Conn) Door { return &echo{ended: ended} })
		p := s.join(t, frame(0x81, "early")...)
		p.expect(0x81, "early")
		for _, n := range []int{0, 1, 125, 126, 127, 128, 4000, 65000} {
			text := strings.Repeat("x", n)
			p.send(frame(0x81, text)...)
			p.expect(0x81, text)
			p.send(frame(0x82, text)...)
			p.expect(0x82, text)
		}
		p.send(frame(0x89, "are you there")...)
		p.expect(0x8a, "are you there")
		p.send(frame(0x88, "\x03\xe8bye")...)
		p.expectClose(CodeNormal)
		p.expectEnd()
		why, ok := (<-ended).(*CloseError)
		if !ok || why.Code != CodeNormal || why.Reason != "bye" || !why.Remote {
			t.Errorf("why it ended: got %v, want the peer's close with its words", why)
		}
	})
}
