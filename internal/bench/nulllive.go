package bench

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// liveNull is the null server of the live door, whatever carries its
// connections.
type liveNull struct {
	nullTable
	subscribers []*nullUser // of the topic; guarded by nullTable.mu
}

// LiveNullServer is NullServer for the live door, in the manner that most Go
// servers of WebSocket have: a goroutine for each connection, and one write for
// each delivery. It is what the live door's figures are compared with.
func LiveNullServer(ctx context.Context, listenAddr string, ready func(addr string) error) error {
	if _, err := loopback(listenAddr); err != nil {
		return err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", listenAddr)
	if err != nil {
		return fmt.Errorf("bench: null server: %w", err)
	}
	n := &liveNull{nullTable: newNullTable(newLiveFrames)}
	var open nullConns
	stop := context.AfterFunc(ctx, func() { _ = ln.Close(); open.close() })
	defer stop()
	if err := ready(ln.Addr().String()); err != nil {
		return errors.Join(err, ln.Close())
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			open.close()
			open.work.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("bench: null server: %w", err)
		}
		open.serve(c, func() { n.converse(c) })
	}
}

// nullConns are the open connections of a null server.
type nullConns struct {
	work sync.WaitGroup

	mu     sync.Mutex // guards all below
	open   map[net.Conn]struct{}
	closed bool
}

func (o *nullConns) serve(c net.Conn, converse func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		_ = c.Close()
		return
	}
	if o.open == nil {
		o.open = make(map[net.Conn]struct{})
	}
	o.open[c] = struct{}{}
	o.work.Go(func() {
		converse()
		_ = c.Close()
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.open, c)
	})
}

func (o *nullConns) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for c := range o.open {
		_ = c.Close()
	}
}

// netSink writes each message at once.
type netSink struct{ net.Conn }

// send writes; a connection that fails is found out by its own reader.
func (s netSink) send(msg any) {
	if b, ok := msg.([]byte); ok {
		_, _ = s.Write(b)
	}
}

// firstRead holds what a device of the standard load says in one go.
const firstRead = 2 << 10

// converse reads one connection until it ends.
func (n *liveNull) converse(c net.Conn) {
	p := &livePeer{server: n, sink: netSink{c}}
	defer p.end()
	buf, have := make([]byte, firstRead), 0
	for {
		got, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		rest, err := p.feed(buf[:have+got])
		if err != nil {
			return
		}
		if have = copy(buf, rest); have == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// livePeer is one connection's end of the dialogue: bytes in, messages out.
type livePeer struct {
	server *liveNull
	sink   nullSink
	user   *nullUser // nil before the hello
	topics bool      // it is of the load of topics
	open   bool      // the handshake is over
}

// feed takes what is whole off b and returns the rest. An error ends the
// connection.
func (p *livePeer) feed(b []byte) ([]byte, error) {
	if !p.open {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return b, nil
		}
		answer, err := upgraded(b[:end])
		if err != nil {
			return b, err
		}
		p.sink.send(answer)
		p.open, b = true, b[end+4:]
	}
	for {
		f, size, err := cutFrame(b)
		if err != nil || size == 0 {
			return b, err
		}
		if err := p.frame(f); err != nil {
			return b, err
		}
		b = b[size:]
	}
}

// upgraded answers a handshake.
func upgraded(request []byte) ([]byte, error) {
	for line := range strings.Lines(string(request)) {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(name, "Sec-WebSocket-Key") {
			continue
		}
		// The constant is the protocol's (RFC 6455 section 1.3).
		sum := sha1.Sum([]byte(strings.TrimSpace(value) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
			base64.StdEncoding.EncodeToString(sum[:]) + "\r\nSec-WebSocket-Protocol: " + liveProtocol + "\r\n\r\n"), nil
	}
	return nil, errors.New("bench: null server: no WebSocket handshake")
}

var errNotOfTheLoad = errors.New("bench: null server: not a message of the standard load")

func (p *livePeer) frame(f wsFrame) error {
	if f.op != opText {
		return nil
	}
	switch {
	case p.user == nil:
		return p.hello(f.payload)
	case bytes.Contains(f.payload, []byte(`"t":"bye"`)):
		p.sink.send(append(appendHead(nil, opClose, 2), 1000>>8, 1000&0xff))
		return nil
	}
	return p.update(f.payload)
}

// hello sends the snapshot in one write, and tells the watchers.
func (p *livePeer) hello(b []byte) error {
	var in liveHello
	if err := json.Unmarshal(b, &in); err != nil || in.T != "hello" {
		return errNotOfTheLoad
	}
	me, err := p.enter(in)
	if err != nil {
		return err
	}
	friends, watchers := p.server.around(me)
	out := appendText(nil, liveWelcome)
	news := []byte(`{"t":"n","q":1000,"n":[`)
	for _, f := range friends {
		if f.online() {
			news = append(news, f.frames.current...)
		} else {
			news = append(news, f.frames.offline...)
		}
		news = append(news, ',')
	}
	news = fmt.Appendf(news, `{"k":"done","all":true,"users":%d}]}`, len(friends))
	// In the table before the snapshot is out, as in any server: whatever
	// changes now comes after it, because the sink takes one at a time.
	me.mu.Lock()
	me.sink = p.sink
	if !in.Topics {
		out = appendText(out, news)
	}
	p.sink.send(out)
	me.mu.Unlock()
	p.user = me
	if in.Topics {
		p.server.mu.Lock()
		p.server.subscribers = append(p.server.subscribers[:len(p.server.subscribers):len(p.server.subscribers)], me)
		p.server.mu.Unlock()
		p.topics = true
	}
	var opened any = me.frames.opened
	for _, w := range watchers {
		w.send(opened)
	}
	return nil
}

func (p *livePeer) enter(in liveHello) (*nullUser, error) {
	p.server.mu.Lock()
	me, err := p.server.user(in.Device.ID)
	p.server.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return me, p.server.watch(me, in.Watch)
}

// update sends the change to all watchers: one frame, copied once, with the
// request's time stamp in it.
func (p *livePeer) update(b []byte) error {
	sent := stampOf(b)
	if sent == nil {
		return errNotOfTheLoad
	}
	frame, watchers := p.news()
	copy(stampOf(frame), sent)
	var msg any = frame
	for _, w := range watchers {
		w.send(msg)
	}
	p.user.send(liveUpdated)
	return nil
}

// news is a copy of what a change of the user is told as, and to whom.
func (p *livePeer) news() (frame []byte, to []*nullUser) {
	if !p.topics {
		_, to = p.server.around(p.user)
		return bytes.Clone(p.user.frames.changed), to
	}
	p.server.mu.RLock()
	defer p.server.mu.RUnlock()
	return bytes.Clone(p.user.frames.topic), p.server.subscribers
}

// end forgets the connection.
func (p *livePeer) end() {
	if p.user != nil {
		p.user.connected(nil)
	}
}

// appendText appends a text message.
func appendText(b, payload []byte) []byte {
	return append(appendHead(b, opText, len(payload)), payload...)
}

// The answers that are the same for everybody.
var (
	liveUpdated any = appendText(nil, []byte(`{"t":"ok","id":1,"rev":2,"at":1764115200000}`))
	liveWelcome     = []byte(`{"t":"welcome","session":"Zk3vN8pQx1LwT5rYb7HcDe","resume":"` + nullToken +
		`","resumed":false,"resync":false,"q":0,"time":1764115200000,"heartbeat":11666,"grace":6000,"window":120000,` +
		`"limits":{"watches":2000,"properties":32,"bytes":8192,"batch":200,"updates_per_second":10}}`)
)

// newLiveFrames makes the messages about one user. current and offline are
// entries of a snapshot, the others whole frames.
func newLiveFrames(name string) (nullFrames, error) {
	now := time.Now().UnixMilli()
	entry := func(kind, mark string) ([]byte, error) {
		status := liveStatus(mark)
		return json.Marshal(liveNews{U: name, K: kind, On: true, At: now, S: &liveSession{
			ID: "Zk3vN8pQx1LwT5rYb7HcDe", Platform: "linux", Product: "bench",
			Show: status["show"], Text: status["text"], Properties: status["properties"], Rev: 2, Since: now, At: now,
		}})
	}
	frame := func(entry []byte) []byte {
		return appendText(nil, append(append([]byte(`{"t":"n","q":1000,"n":[`), entry...), "]}"...))
	}
	current, err := entry("current", silentMarker)
	opened, err2 := entry("opened", silentMarker)
	changed, err3 := entry("updated", marker)
	topic, err5 := newTopicFrame(name, now)
	offline, err4 := json.Marshal(liveNews{U: name, K: "none", Seen: now, At: now})
	f := nullFrames{current: current, opened: frame(opened), changed: frame(changed), offline: offline, topic: topic}
	if err := errors.Join(err, err2, err3, err4, err5); err != nil || stampOf(f.changed) == nil {
		return f, errors.Join(errors.New("bench: null server: frames cannot be encoded"), err)
	}
	return f, nil
}

// liveNews is one notification of the live door.
type liveNews struct {
	U    string       `json:"u"`
	K    string       `json:"k"`
	On   bool         `json:"on"`
	Seen int64        `json:"seen,omitzero"`
	At   int64        `json:"at"`
	S    *liveSession `json:"s,omitempty"`
}

type liveSession struct {
	ID         string `json:"id"`
	Platform   string `json:"platform"`
	Product    string `json:"product"`
	Show       any    `json:"show"`
	Text       any    `json:"text"`
	Properties any    `json:"properties"`
	Rev        int    `json:"rev"`
	Since      int64  `json:"since"`
	At         int64  `json:"at"`
}
