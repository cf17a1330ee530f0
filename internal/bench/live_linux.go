package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// The dialogue of a device at the live door (docs/interfaces/live.md):
//
//	device                                           server
//	GET /live, Upgrade: websocket           ───────▶
//	                                        ◀───────  101
//	{"t":"hello","token":…,"watch":[…]}     ───────▶
//	                                        ◀───────  {"t":"welcome",…}, {"t":"n",…}, {"k":"done",…}
//	{"t":"set","id":1,"status":…}           ───────▶
//	                                        ◀───────  {"t":"ok","id":1,…}
//
// What comes is searched, not decoded: the load must not cost what the server
// does.
var (
	wordNews    = []byte(`{"t":"n"`)
	wordWelcome = []byte(`{"t":"welcome"`)
	wordOK      = []byte(`{"t":"ok"`)
	wordBye     = []byte(`{"t":"bye"`)
	wordError   = []byte(`{"t":"error"`)
	wordKind    = []byte(`"k":"`)
	wordDone    = []byte(`"k":"done"`)
	wordAll     = []byte(`"all":true`)
	wordUsers   = []byte(`"users":`)
	wordReject  = []byte(`"rejected":[`)
	wordTopic   = []byte(`{"t":"topic"`)
	wordMessage = []byte(`"topic":"`)
)

// liveDialect is the live door's: what all devices of a target share.
type liveDialect struct {
	upgrade []byte
	status  []byte // at login, as JSON
	change  *change
	topics  bool // the load of topics
}

func newTopicDialect(authority string) (*liveDialect, error) {
	l, err := newLiveDialect(authority)
	if err == nil {
		l.topics = true
		l.change, err = newTopicChange()
	}
	return l, err
}

func newLiveDialect(authority string) (*liveDialect, error) {
	status, err := json.Marshal(liveStatus(silentMarker))
	if err != nil {
		return nil, fmt.Errorf("bench: encode the first status: %w", err)
	}
	c, err := newLiveChange()
	if err != nil {
		return nil, err
	}
	return &liveDialect{
		upgrade: []byte("GET /live HTTP/1.1\r\nHost: " + authority + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + liveProtocol + "\r\n\r\n"),
		status: status, change: c,
	}, nil
}

func (l *liveDialect) speaker(d *device, token string) speaker {
	return &liveSpeaker{device: d, dialect: l, token: token}
}

// liveSpeaker is one device at the live door.
type liveSpeaker struct {
	device  *device
	dialect *liveDialect
	token   string // until the hello
	pending []byte // to be written
	open    bool   // the handshake is over
}

var _ speaker = (*liveSpeaker)(nil)

func (l *liveSpeaker) out() *[]byte { return &l.pending }

// start begins the handshake; the hello follows its answer.
func (l *liveSpeaker) start() error {
	l.device.busy = true
	l.pending = append(l.pending, l.dialect.upgrade...)
	return nil
}

func (l *liveSpeaker) feed(b []byte) ([]byte, error) {
	if !l.open {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return b, nil
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
			line, _, _ := bytes.Cut(b, []byte("\r\n"))
			return b, fmt.Errorf("the server answered the handshake with %q: %q", line, b[end+4:min(len(b), end+204)])
		}
		l.open, b = true, b[end+4:]
		if err := l.hello(); err != nil {
			return b, err
		}
	}
	for {
		f, size, err := cutFrame(b)
		switch {
		case err != nil:
			return b, fmt.Errorf("the server sent %w", err)
		case size == 0:
			return b, nil
		}
		if err := l.frame(f); err != nil {
			return b, err
		}
		b = b[size:]
	}
}

// hello logs in and watches all friends.
func (l *liveSpeaker) hello() error {
	var friends []string
	for _, friend := range l.device.friends {
		if !l.dialect.topics {
			friends = append(friends, userName(int(friend)))
		}
	}
	b, err := json.Marshal(liveHello{
		T: "hello", Token: l.token, Watch: friends, Topics: l.dialect.topics, Status: l.dialect.status,
		Device: liveDevice{"linux", "bench", "en-US", userName(int(l.device.user)), "1"},
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	l.token = ""
	l.device.step = stepSubscribe
	l.pending = appendMasked(l.pending, opText, b)
	return nil
}

// frame takes one frame of the server.
func (l *liveSpeaker) frame(f wsFrame) error {
	switch {
	case f.op == opText:
		return l.message(f.payload)
	case f.op == opPing:
		l.pending = appendMasked(l.pending, opPong, f.payload)
	case f.op == opClose && l.device.step == stepLeft:
		if l.device.busy {
			l.device.gone()
		}
	case f.op == opClose && len(f.payload) >= 2:
		return fmt.Errorf("the server closes the connection: %d %q", int(f.payload[0])<<8|int(f.payload[1]), f.payload[2:])
	case f.op == opClose:
		return errors.New("the server closes the connection")
	}
	return nil
}

// message takes one message of the dialect.
func (l *liveSpeaker) message(b []byte) error {
	d := l.device
	switch {
	case bytes.HasPrefix(b, wordNews):
		l.news(b)
	case bytes.HasPrefix(b, wordTopic):
		d.target.notifications += int64(bytes.Count(b, wordMessage))
		l.changes(b)
	case bytes.HasPrefix(b, wordOK):
		if d.step == stepLeft || !d.busy {
			return nil
		}
		d.busy = false
		d.target.answered++
	case bytes.HasPrefix(b, wordWelcome):
		if bytes.Contains(b, wordReject) {
			return fmt.Errorf("the server refused some of the %d subscriptions", len(d.friends))
		}
		if d.step, d.busy = stepSnapshot, false; l.dialect.topics {
			d.snapshot(0, true) // there is none
		}
	case d.step == stepLeft:
	case bytes.HasPrefix(b, wordBye), bytes.HasPrefix(b, wordError):
		return fmt.Errorf("the server says %s", b)
	}
	return nil
}

// news counts the notifications of a message, and measures those of changes.
func (l *liveSpeaker) news(b []byte) {
	t := l.device.target
	t.notifications += int64(bytes.Count(b, wordKind))
	l.changes(b)
	if l.device.step != stepSnapshot {
		return
	}
	for rest := b; ; {
		i := bytes.Index(rest, wordDone)
		if i < 0 {
			return
		}
		rest = rest[i+len(wordDone):]
		t.notifications--
		end := bytes.IndexByte(rest, '}') // the entry has no object within
		if end < 0 {
			return
		}
		l.device.snapshot(usersOf(rest[:end]), bytes.Contains(rest[:end], wordAll))
	}
}

// changes measures how long the changes in a message took.
func (l *liveSpeaker) changes(b []byte) {
	t := l.device.target
	for rest := b; !l.device.small; { // who stops reading is not counted
		i := bytes.Index(rest, []byte(marker))
		if i < 0 {
			return
		}
		if at, ok := sentAt(rest[i:]); ok {
			t.delivered(t.readAt - at)
		}
		rest = rest[i+len(marker):]
	}
}

// usersOf reads how many users an entry speaks of; 0 when it does not say.
func usersOf(entry []byte) int {
	i := bytes.Index(entry, wordUsers)
	if i < 0 {
		return 0
	}
	digits := entry[i+len(wordUsers):]
	if end := bytes.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return 0
	}
	return n
}

// update sends one change.
func (l *liveSpeaker) update(now int64) error {
	if l.device.busy {
		return errors.New("a second call before the first was answered")
	}
	l.device.busy = true
	l.pending = appendMasked(l.pending, opText, l.dialect.change.at(now))
	return nil
}

// leave says good-bye; the server's close frame is the answer.
func (l *liveSpeaker) leave() error {
	l.device.busy = true
	l.pending = appendMasked(l.pending, opText, []byte(`{"t":"bye","mode":"leave"}`))
	return nil
}
