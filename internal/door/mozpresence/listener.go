package mozpresence

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

const (
	// mostQueued is how many statuses wait in memory for a publisher that reads
	// slowly; the log keeps the others.
	mostQueued = 1000
	// saveEvery is how often it is noted how far a publisher was told: so much he
	// may be told twice after a crash.
	saveEvery = time.Second
	// saveSilent is the same while nothing is told: then nothing is told twice.
	saveSilent = time.Minute
	// retryFeed is how long a feed waits after an error of the store.
	retryFeed = time.Second
)

// listener is the connection of a publisher.
type listener struct {
	door  *Door
	sock  *socket.Conn
	id    string      // of the publisher
	from  admit.Place // counted in door.from
	pace  admit.Pace
	timer wheel.Timer

	pub publisher.Publisher // once it is known; only Message sets it

	ctx    context.Context
	cancel context.CancelFunc
	poked  chan struct{} // holds one when revocations may wait, or the key be void
	room   chan struct{} // holds one when the queue has room again

	mu       sync.Mutex // guards all below
	known    bool
	departed bool
	queue    []entry
	writing  int            // of the queue's front: in the write under way
	through  facts.Position // everything up to here was written
	told     []string       // revoked uids that were written
	buried   []string       // uids whose revocation was heard of
	dead     map[string]bool
	news     bool // a status was written since the last save
}

var _ socket.Door = (*listener)(nil)

// servePublisher takes the handshake of a publisher's server.
func (d *Door) servePublisher(w http.ResponseWriter, r *http.Request, id string) {
	from := admit.PlaceOf(r.RemoteAddr)
	if !d.roomFrom(w, from) {
		return
	}
	err := d.loop.Upgrade(w, r, socket.Options{Silence: time.Minute}, func(s *socket.Conn) socket.Door {
		l := &listener{door: d, sock: s, id: id, from: from, poked: make(chan struct{}, 1), room: make(chan struct{}, 1), dead: map[string]bool{}}
		l.ctx, l.cancel = context.WithCancel(d.ctx)
		l.timer.Fire = l.late
		d.cfg.Wheel.Set(&l.timer, FirstFrame)
		return l
	})
	if err != nil { // the peer was told
		d.from.Leave(from)
	}
}

// late ends a connection that did not say its key in time.
func (l *listener) late() {
	l.mu.Lock()
	late := !l.known
	l.mu.Unlock()
	if late {
		l.leave(codeLate, "no key came within "+FirstFrame.String())
	}
}

// leave ends the connection. Nothing is told after it.
func (l *listener) leave(code int, why string) {
	l.cancel()
	l.sock.Close(code, why)
}

// Message takes a frame of the publisher.
func (l *listener) Message(_ *socket.Conn, kind socket.Kind, b []byte) {
	began := time.Now()
	var f publisherFrame
	defer l.door.recovered("publisher", func() { l.ko("error", refuse(errInternal, internalText)) })
	ok, end := l.pace.Admit(l.door.cfg.Wheel.Now(), len(b))
	if end {
		l.leave(codeTooMany, "more than "+strconv.Itoa(admit.FramesEnd)+" frames in a second")
		return
	}
	no := refuse(errJSON, errNoObject)
	if kind == socket.Text {
		no = parse(b, &f)
	}
	if no == nil && !ok {
		no = slowDown(time.Second, "more than %d frames in a second", admit.FramesRefused)
	}
	method := "notify"
	if l.pub.ID == "" {
		method = "auth"
		l.auth(&f, no)
	} else {
		no = l.notify(&f, no)
	}
	code := "OK"
	if no != nil {
		code = strconv.Itoa(no.no)
	}
	l.door.called(method, code, time.Since(began))
}

// ko answers a frame that was refused.
func (l *listener) ko(action string, no *refusal) {
	b := append([]byte(`{"action":`), strconv.Quote(action)...)
	l.sock.Send(append(no.appendKO(append(b, ',')), '}'))
}

// auth takes the first frame, which must have the API key.
func (l *listener) auth(f *publisherFrame, no *refusal) {
	if no == nil {
		l.sock.MayBlock()
		key := f.Key
		if key == "" && (f.Action == "" || f.Action == "auth") {
			key = f.Token
		}
		if err := l.admit(key); err != nil {
			no = l.door.refusalOf("auth", err)
		}
	}
	if no != nil {
		l.ko("auth", no)
		l.leave(codeAccess, no.text)
		return
	}
	l.door.cfg.Wheel.Clear(&l.timer)
	l.sock.Send([]byte(`{"action":"auth","result":"OK"}`))
	if !l.enter() {
		l.leave(socket.CodeGoingAway, "this node is stopping; connect again")
	}
}

func (l *listener) admit(key string) error {
	if key == "" {
		return refuse(errKey, `the first frame has the API key: {"key": KEY}, or {"token": KEY, "action": "auth"}`)
	}
	p, err := l.door.cfg.Publishers.Check(l.ctx, l.id, key)
	if err != nil {
		return err
	}
	if _, served := l.door.app(p.App); !served {
		return publisher.ErrNone
	}
	// A queue that never began begins before the publisher is told that it does.
	l.door.begin(l.ctx, l.id)
	l.pub = p
	return nil
}

// enter begins to tell the publisher.
func (l *listener) enter() bool {
	d := l.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return false
	}
	l.mu.Lock()
	l.known = true
	gone := l.departed
	l.mu.Unlock()
	if gone {
		return true
	}
	if d.open[l.id] == nil {
		d.open[l.id] = map[*listener]struct{}{}
	}
	d.open[l.id][l] = struct{}{}
	d.working.Add(2)
	go func() {
		defer d.working.Done()
		l.tell()
	}()
	go func() {
		defer d.working.Done()
		l.keep()
	}()
	return true
}

// notify takes a notification over the socket, the prototype's way.
func (l *listener) notify(f *publisherFrame, no *refusal) *refusal {
	if no == nil && f.Action != "notify" {
		no = refuse(errJSON, "unknown action %.40q; use notify", f.Action)
	}
	action := "notify"
	var a ack
	if no == nil {
		l.sock.MayBlock()
		n := f.note
		if n.userid() == "" {
			n.UserID = f.Target
		}
		url := f.ActionURL
		if url == "" {
			url = n.URL
		}
		var err error
		if a, err = l.door.put(l.ctx, l.pub, []note{n}, []string{url}); err != nil {
			var bad *badItems
			if errors.As(err, &bad) {
				err = bad.first
			}
			no = l.door.refusalOf(action, err)
		}
	}
	if no != nil {
		l.ko(action, no)
		return no
	}
	b := append([]byte(`{"action":"notify","result":"OK","queue_size":`), strconv.Itoa(a.QueueSize)...)
	l.sock.Send(append(b, '}'))
	return nil
}

// Closed is the end: what was not written is told to the next connection.
func (l *listener) Closed(*socket.Conn, error) {
	l.door.cfg.Wheel.Clear(&l.timer)
	l.door.from.Leave(l.from)
	l.cancel()
	l.mu.Lock()
	l.departed = true
	l.mu.Unlock()
	d := l.door
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open[l.id], l)
	if len(d.open[l.id]) == 0 {
		delete(d.open, l.id)
	}
}
