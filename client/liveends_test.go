package client

import (
	"context"
	"errors"
	"testing"

	"github.com/coder/websocket"
)

// A welcome, or an answer, that came before the end of the connection, or of our
// patience, is heard.
func TestAnsweredAndEnded(t *testing.T) {
	t.Parallel()
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	for range 64 { // the end is as ready as the message: either could be taken
		for _, ctx := range []context.Context{t.Context(), impatient} {
			l := newLiveLink(t.Context(), &liveDoor{})
			l.received(liveMessage{T: "welcome", Resume: "r1"})
			answered := make(chan liveMessage, 1)
			answered <- liveMessage{T: "ok", Rejected: []string{"bob"}}
			if ctx != impatient {
				l.end(errLinkDown)
			}
			if err := l.greeting(ctx); err != nil || l.welcome.Resume != "r1" {
				t.Fatalf("got %q, %v; want the welcome", l.welcome.Resume, err)
			}
			if m, err := l.outcome(ctx, liveRequest{T: "watch"}, answered, nil); err != nil || len(m.Rejected) != 1 {
				t.Fatalf("got %+v, %v; want the answer", m, err)
			}
			l.cancel()
		}
	}
}

// What a server says that refuses without reading the hello is heard, though the
// hello could not be written.
func TestRefusedBeforeTheHello(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		says string
		want Reason
	}{
		{`{"t":"bye","reason":"TOO_MANY_CONNECTIONS","kept":false}`, "TOO_MANY_CONNECTIONS"},
		{`{"t":"bye","reason":"DRAINING","retry_after":2500,"kept":true}`, ReasonDraining},
	} {
		f := &liveFake{scripts: []func(*livePeer){func(p *livePeer) {
			p.says(tt.says)
			_ = p.conn.CloseNow()
		}}}
		liveBubble(t, f, func(t *testing.T, c *Client) {
			if _, err := c.Open(t.Context(), Options{}); ReasonOf(err) != tt.want {
				t.Errorf("Open: got %v, want %s", err, tt.want)
			}
		})
	}
}

// The server's goodbye answers ours when the session is over. One that keeps the
// session is none: the user stays online.
func TestLeaveIsCrossed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		says string
		code websocket.StatusCode
		want Reason
	}{
		{`{"t":"bye","reason":"SESSION_CLOSED","kept":false,"why":"ADMIN"}`, 1000, ""},
		{`{"t":"bye","reason":"SESSION_GONE","kept":false}`, 4410, ""},
		{`{"t":"bye","reason":"DRAINING","retry_after":2500,"kept":true}`, 1001, ReasonDraining},
		{`{"t":"bye","reason":"REPLACED_STREAM","kept":true}`, 4409, ReasonReplacedStream},
	} {
		f := &liveFake{scripts: []func(*livePeer){func(p *livePeer) {
			p.welcome(`"resume":"r1","q":0`)
			p.hears() // our goodbye, and this is no answer to it
			p.says(tt.says)
			_ = p.conn.Close(tt.code, "")
		}}}
		liveBubble(t, f, func(t *testing.T, c *Client) {
			s := open(t, c, Options{})
			if err := s.Leave(t.Context()); ReasonOf(err) != tt.want || (err == nil) != (tt.want == "") {
				t.Errorf("Leave crossed by %s: got %v, want %q", tt.says, err, tt.want)
			}
			if !errors.Is(s.Err(), ErrClosed) {
				t.Errorf("over by %v", s.Err())
			}
		})
	}
}
