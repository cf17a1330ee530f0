package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// maxQueued bounds the frames that wait to be taken; beyond it nothing is read,
// and the server waits.
const maxQueued = 64 << 10

// liveLink is one connection to the live door. Its reader gives answers to the
// calls that wait for them, and lines everything else up for next; so a call is
// answered though nobody takes frames meanwhile.
type liveLink struct {
	door    *liveDoor
	addr    string
	conn    *websocket.Conn
	ctx     context.Context
	cancel  context.CancelFunc
	welcome liveMessage // set before the first call

	first chan liveMessage // capacity 1: the answer to the hello
	wake  chan struct{}    // capacity 1; full when next may have something to do
	taken chan struct{}    // capacity 1; full when the line got shorter
	done  chan struct{}    // closed at the end

	mu      sync.Mutex // guards all below
	token   string     // the access token that the server knows
	calls   uint64     // made so far
	waiting map[uint64]chan liveMessage
	line    []frame
	greeted bool
	err     error // why it ended
}

// newLiveLink is a link that outlives ctx on purpose: end ends it.
func newLiveLink(ctx context.Context, d *liveDoor) *liveLink {
	l := &liveLink{
		door: d, waiting: map[uint64]chan liveMessage{},
		first: make(chan liveMessage, 1), wake: make(chan struct{}, 1), taken: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return l
}

// read takes in what comes until the connection ends.
func (l *liveLink) read() {
	defer func() { _ = l.conn.CloseNow() }()
	for {
		kind, b, err := l.conn.Read(l.ctx)
		if err != nil {
			l.end(fromClosed(err))
			return
		}
		var m liveMessage
		if kind != websocket.MessageText || decode(b, &m) != nil {
			l.end(&Error{Code: CodeInternal, Detail: "the server sent something that is no JSON object"})
			return
		}
		if !l.take(&m) {
			return
		}
	}
}

// decode keeps numbers as they are written: 5 is an integer, 5.0 is not.
func decode(b []byte, m *liveMessage) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec.Decode(m)
}

// take gives a message to whom it is for. It returns false at the end.
func (l *liveLink) take(m *liveMessage) bool {
	switch m.T {
	case "n":
		if !l.push(m.frames()...) {
			return false
		}
	case "topic":
		l.door.topics.take(m)
	case "m":
		l.door.notes.take(m.M)
	case "welcome":
		l.received(*m)
	case "ok", "pong", "error":
		if !l.answer(*m) {
			l.received(*m) // the hello was refused
		}
	case "bye":
		l.received(*m)
		c := m.closing()
		if c == nil {
			l.end(m.fault())
			return false
		}
		l.answerAll(*m) // first: who takes the frame ends the link
		l.push(frame{closing: c})
	}
	return true // what we do not know is newer than we are
}

// received keeps the server's first message for greet.
func (l *liveLink) received(m liveMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.greeted {
		l.greeted = true
		l.first <- m
	}
}

// wordLimit is how long a connection that cannot be written to may take to say why.
const wordLimit = time.Second

// greet says hello and waits for the welcome. A server that refuses without reading
// the hello may have closed before all of it is written: what it said is there to
// be read, and says more than the writing.
func (l *liveLink) greet(ctx context.Context, hello liveRequest) error {
	l.token = hello.Token
	b, err := encode(hello)
	if err != nil {
		return err
	}
	if err = l.send(b); err == nil {
		return l.greeting(ctx)
	}
	brief, cancel := context.WithTimeout(ctx, wordLimit)
	defer cancel()
	if said := l.greeting(brief); said == nil || !errors.Is(said, brief.Err()) {
		return said
	}
	return err
}

// greeting waits for the server's first message. One that came before the end
// counts, whatever ended the connection, or our patience, right after it.
func (l *liveLink) greeting(ctx context.Context) error {
	select {
	case m := <-l.first:
		return l.greetedBy(m)
	case <-l.done:
	case <-ctx.Done():
	}
	select {
	case m := <-l.first: // both came
		return l.greetedBy(m)
	default:
	}
	if err := l.ended(); err != nil {
		return err
	}
	return ctx.Err()
}

// greetedBy takes the server's first message.
func (l *liveLink) greetedBy(m liveMessage) error {
	if m.T != "welcome" {
		return m.fault()
	}
	l.welcome = m
	return nil
}

// answer gives m to the call that waits for it; false when none does.
func (l *liveLink) answer(m liveMessage) bool {
	if m.ID == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.waiting[*m.ID]
	if ok {
		delete(l.waiting, *m.ID)
		c <- m // it has room for one
	}
	return ok
}

// answerAll ends all calls with the server's last word.
func (l *liveLink) answerAll(m liveMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, c := range l.waiting {
		delete(l.waiting, id)
		c <- m
	}
}

// call sends req and waits for its answer.
func (l *liveLink) call(ctx context.Context, req liveRequest) (liveMessage, error) {
	answered := make(chan liveMessage, 1)
	l.mu.Lock()
	l.calls++
	id := l.calls
	l.waiting[id] = answered
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.waiting, id)
		l.mu.Unlock()
	}()
	req.ID = id
	return l.outcome(ctx, req, answered, l.write(req))
}

// outcome waits for the answer to req, unless it could not be sent. An answer that
// came counts, whatever ended the connection, or our patience, right after it.
func (l *liveLink) outcome(ctx context.Context, req liveRequest, answered <-chan liveMessage, failed error) (liveMessage, error) {
	if failed == nil {
		select {
		case m := <-answered:
			return l.verdict(req, m)
		case <-l.done:
		case <-ctx.Done():
		}
	}
	select {
	case m := <-answered: // both came
		return l.verdict(req, m)
	default:
	}
	if failed == nil {
		failed = l.ended()
	}
	if failed == nil {
		failed = ended(ctx, "waiting for the answer to "+req.T)
	}
	return liveMessage{}, failed
}

// verdict makes an error of an answer that is one. The server's own goodbye answers
// ours when the session is over with it; where it is kept, nobody has left.
func (l *liveLink) verdict(req liveRequest, m liveMessage) (liveMessage, error) {
	switch {
	case m.T == "error":
		return liveMessage{}, m.fault()
	case m.T == "bye" && req.T != "bye":
		return liveMessage{}, errLinkDown
	case m.T == "bye" && Reason(m.Reason) != ReasonSessionClosed && !sessionLost(Reason(m.Reason)):
		return liveMessage{}, m.fault()
	}
	return m, nil
}

// write sends one message.
func (l *liveLink) write(req liveRequest) error {
	b, err := encode(req)
	if err != nil {
		return err
	}
	return l.send(b)
}

// encode fails for values that no message can carry.
func encode(req liveRequest) ([]byte, error) {
	b, err := json.Marshal(req)
	var e *Error
	switch {
	case errors.As(err, &e):
		return nil, e
	case err != nil:
		return nil, invalid("status", err.Error())
	}
	return b, nil
}

// send writes a message. A connection that takes nothing for long is over.
func (l *liveLink) send(b []byte) error {
	ctx, cancel := context.WithTimeout(l.ctx, writeTimeout)
	defer cancel()
	if err := l.conn.Write(ctx, websocket.MessageText, b); err != nil {
		if over := l.ended(); over != nil {
			return over
		}
		return &Error{Code: CodeUnavailable, Detail: "writing to the server: " + err.Error()}
	}
	return nil
}

// push lines frames up, and waits while the line is too long. It returns false
// at the end.
func (l *liveLink) push(frames ...frame) bool {
	for {
		l.mu.Lock()
		full := len(l.line) >= maxQueued
		if !full {
			l.line = append(l.line, frames...)
		}
		l.mu.Unlock()
		if !full {
			break
		}
		select {
		case <-l.taken:
		case <-l.ctx.Done():
			return false
		}
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

func (l *liveLink) next() (frame, error) {
	for {
		l.mu.Lock()
		if len(l.line) > 0 {
			f := l.line[0]
			if l.line = l.line[1:]; len(l.line) == 0 {
				l.line = nil
			}
			l.mu.Unlock()
			select {
			case l.taken <- struct{}{}:
			default:
			}
			return f, nil
		}
		err := l.err
		l.mu.Unlock()
		if err != nil {
			if ReasonOf(err) == ReasonJWTExpired {
				l.refuseToken()
			}
			return frame{}, err
		}
		select {
		case <-l.wake:
		case <-l.done:
		}
	}
}

func (l *liveLink) refuseToken() { l.door.tokens.refuse(l.accessToken()) }

// leave goes on to the next address: at this one the session would be refused.
func (l *liveLink) leave() { l.door.addrs.failed(l.addr) }

func (l *liveLink) accessToken() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token
}

func (l *liveLink) freshened(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token = token
}

// end closes the connection, for the first reason that is given.
func (l *liveLink) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.done)
	}
	l.cancel()
}

// ended returns why the connection ended, nil when it has not.
func (l *liveLink) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *liveLink) over() bool { return l.ended() != nil }
