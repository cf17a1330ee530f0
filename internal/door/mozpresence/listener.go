package mozpresence

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
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

// bury makes the publisher be told of a uid that was revoked, here or at another
// node: it need not be found in the queue, which a replica may give as it was.
func (l *listener) bury(uid string) {
	l.mu.Lock()
	l.buried = append(l.buried, uid)
	l.mu.Unlock()
	l.poke()
}

// look does what a poke is for.
func (l *listener) look() {
	l.mu.Lock()
	buried := l.buried
	l.buried = nil
	l.mu.Unlock()
	var heard publisher.Queue
	for _, uid := range buried {
		heard.Dead = append(heard.Dead, publisher.Dead{UID: uid, At: presence.At(time.Now())})
	}
	l.dies(heard)
	if q, err := l.door.cfg.Publishers.Queue(l.ctx, l.id); err == nil {
		l.dies(q)
	}
	if p, err := l.door.cfg.Publishers.Get(l.ctx, l.id); errors.Is(err, publisher.ErrNone) || err == nil && !p.SameKey(&l.pub) {
		l.leave(codeAccess, "the API key is void")
	}
}

// poke makes the revocations that wait be looked at.
func (l *listener) poke() {
	select {
	case l.poked <- struct{}{}:
	default:
	}
}

// tell follows the log for the publisher, and goes on after an outage.
func (l *listener) tell() {
	for l.ctx.Err() == nil {
		f := &feed{door: l.door, id: l.id, app: l.pub.App, told: map[string]string{}, give: l.give}
		q, err := l.door.cfg.Publishers.Queue(l.ctx, l.id)
		var at facts.Position
		if err == nil {
			at, err = l.begin(q)
		}
		if err == nil {
			l.dies(q)
			err = f.follow(l.ctx, at)
		}
		if l.ctx.Err() != nil {
			return
		}
		l.door.log.Warn("a publisher is told later: the log or the store cannot be read", "publisher", l.id, "error", err)
		select {
		case <-time.After(retryFeed):
		case <-l.ctx.Done():
		}
	}
}

// begin is where the feed begins, or begins again after an outage.
func (l *listener) begin(q publisher.Queue) (facts.Position, error) {
	at, err := l.door.start(l.ctx, q)
	if err != nil {
		return at, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.through == (facts.Position{}) {
		l.through = at
	} else if at.Before(l.through) {
		at = l.through
	}
	rest := slices.DeleteFunc(l.queue[l.writing:], func(e entry) bool { return !e.dead })
	l.queue = l.queue[:l.writing+len(rest)]
	return at, nil
}

// give puts an entry in the queue, and waits while that is full.
func (l *listener) give(ctx context.Context, e entry) error {
	for {
		l.mu.Lock()
		switch {
		case e.uid != "" && !e.dead && l.dead[e.uid]:
			l.mu.Unlock()
			return nil
		case len(l.queue) < mostQueued:
			if last := len(l.queue) - 1; e.uid == "" && last >= l.writing && l.queue[last].uid == "" {
				l.queue[last] = e
			} else {
				l.queue = append(l.queue, e)
			}
			l.mu.Unlock()
			l.sock.Wake()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-l.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dies tells of revocations that wait. Each uid is told offline, and nothing
// after it.
func (l *listener) dies(q publisher.Queue) {
	for _, dead := range q.Dead {
		l.mu.Lock()
		fresh := !l.dead[dead.UID]
		l.dead[dead.UID] = true
		l.mu.Unlock()
		if fresh && l.give(l.ctx, entry{uid: dead.UID, status: statusOffline, at: dead.At, dead: true}) != nil {
			return
		}
	}
}

// keep notes how far the publisher was told, and looks for revocations.
func (l *listener) keep() {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	var saved facts.Position
	at := time.Now()
	for {
		select {
		case <-tick.C:
			if l.fresh() || time.Since(at) >= saveSilent {
				saved, at = l.save(l.ctx, saved), time.Now()
			}
		case <-l.poked:
			l.look()
		case <-l.ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), saveLimit)
			defer cancel()
			l.save(ctx, saved)
			return
		}
	}
}

// fresh reports, once, that something was told.
func (l *listener) fresh() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.news
	l.news = false
	return was
}

// saveLimit bounds the last save of a connection.
const saveLimit = 2 * time.Second

// save notes how far the publisher was told, if that is further than before.
func (l *listener) save(ctx context.Context, saved facts.Position) facts.Position {
	l.mu.Lock()
	through, told := l.through, l.told
	l.mu.Unlock()
	if !saved.Before(through) && len(told) == 0 {
		return saved
	}
	_, err := l.door.cfg.Publishers.EditQueue(ctx, l.id, func(q *publisher.Queue) (changed bool) {
		if at, err := facts.ParsePosition(q.Position); err != nil || at.Before(through) {
			q.Position, q.At, changed = through.String(), presence.At(time.Now()), true
		}
		left := slices.DeleteFunc(slices.Clone(q.Dead), func(d publisher.Dead) bool { return slices.Contains(told, d.UID) })
		changed = changed || len(left) < len(q.Dead)
		q.Dead = left
		return changed
	})
	if err != nil {
		return saved
	}
	l.mu.Lock()
	l.told = l.told[len(told):]
	l.mu.Unlock()
	return through
}

// Fill writes what waits. What the last call gave has been written by now.
func (l *listener) Fill(_ *socket.Conn, out *socket.Out) (more bool) {
	defer l.door.recovered("fill", func() { l.leave(socket.CodeInternal, internalText) })
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.queue[:l.writing] {
		l.news = l.news || e.uid != ""
		if e.dead {
			l.told = append(l.told, e.uid)
		}
		if l.through.Before(e.through) {
			l.through = e.through
		}
	}
	full := len(l.queue) >= mostQueued
	l.queue = slices.Delete(l.queue, 0, l.writing)
	if l.writing = 0; len(l.queue) == 0 {
		l.queue = nil
	}
	old := presence.At(time.Now()).Add(-publisher.QueueLimit)
	for i := range l.queue {
		if out.Full() {
			break
		}
		l.writing++
		if e := &l.queue[i]; e.uid != "" && e.at >= old && (e.dead || !l.dead[e.uid]) {
			out.Text(e.append)
		}
	}
	if full {
		select {
		case l.room <- struct{}{}:
		default:
		}
	}
	return l.writing > 0
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
