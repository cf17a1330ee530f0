package mozpresence

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// The words of a status.
const (
	statusOnline      = "online"
	statusOffline     = "offline"
	statusUnavailable = "unavailable"
)

// maxDevice bounds the id that a device gives itself, in bytes.
const maxDevice = 64

// device is the connection of a device. One at a time of its sessions is
// current: offline ends it, and the next status begins another.
type device struct {
	door   *Door
	sock   *socket.Conn
	origin string // of a foreign page; "" is none
	addr   string
	from   admit.Place // counted in door.from
	pace   admit.Pace
	timer  wheel.Timer // until somebody is known

	// Only Message uses these.
	who who    // of the newest assertion
	id  string // of the device, in the current session

	mu       sync.Mutex // guards all below
	name     string     // the user, as the device calls him
	visit    *visit     // the current session; nil: offline
	taker    *mailbox.Taker
	took     bool           // the last Fill took notifications
	parting  *mailbox.Taker // of a session that ended while they were written
	departed bool
	end      *tracker.End
}

// who is whom an assertion is of.
type who struct {
	access token.Access // App "": nobody yet
	email  string       // of its claim, if it has one
}

// visit is the link of one session.
type visit struct {
	*device
	ref tracker.Ref
}

var (
	_ tracker.Link = (*visit)(nil)
	_ tracker.Deaf = (*visit)(nil)
	_ socket.Door  = (*device)(nil)
)

// serveDevice takes the handshake of a device. What is wrong with an assertion in
// it is said on the connection, where a page can read it.
func (d *Door) serveDevice(w http.ResponseWriter, r *http.Request) {
	c := &device{door: d, addr: strings.Clone(r.RemoteAddr)}
	if origin := r.Header.Get("Origin"); origin != "" && !admit.SameOrigin(origin, r.Host) {
		if why := d.cfg.Gate.RefusesOrigin(origin); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		c.origin = strings.Clone(origin)
	}
	raw := bearer(r)
	if raw == "" {
		raw = r.URL.Query().Get("access_token")
	}
	var refused error
	if raw != "" {
		c.who, refused = c.believe(raw)
	}
	if c.from = admit.PlaceOf(c.addr); !d.roomFrom(w, c.from) {
		return
	}
	o := socket.Options{
		CheckOrigin: func(*http.Request) bool { return true },
		Silence:     max(2*d.cfg.LongestTimeout, time.Minute),
	}
	err := d.loop.Upgrade(w, r, o, func(s *socket.Conn) socket.Door {
		c.sock = s
		c.timer.Fire = c.late
		if refused != nil {
			no := d.refusalOf("presence", refused)
			c.say(no, "", "")
			s.Close(codeAccess, no.text)
			return c
		}
		d.cfg.Wheel.Set(&c.timer, FirstFrame)
		return c
	})
	if err != nil { // the peer was told
		d.from.Leave(c.from)
	}
}

// bearer is the credential of an Authorization header; "" is none.
func bearer(r *http.Request) string {
	scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(rest)
}

// late ends a connection of which nobody said in time who it is.
func (c *device) late() {
	c.mu.Lock()
	idle := c.name == "" && !c.departed
	c.mu.Unlock()
	if idle {
		c.sock.Close(codeLate, "no status came within "+FirstFrame.String())
	}
}

// LastRead is when the connection last gave a sign of life.
func (c *device) LastRead() time.Duration { return c.sock.LastRead() }

// Deaf implements tracker.Deaf.
func (c *device) Deaf() bool { return c.sock.Deaf() }

// Shared reports that nobody shares it.
func (c *device) Shared() bool { return false }

// End makes the connection end with its current session; it says so when it is
// its turn to be written, for locks of the tracker may be held here.
func (v *visit) End(e tracker.End) {
	c := v.device
	c.mu.Lock()
	current := c.visit == v && c.end == nil
	if current {
		c.end = &e
	}
	c.mu.Unlock()
	if current {
		c.sock.Wake()
	}
}

// Message takes a frame of the device. A bad one is answered and changes nothing.
func (c *device) Message(_ *socket.Conn, kind socket.Kind, b []byte) {
	began := time.Now()
	var f deviceFrame
	defer c.door.recovered("status", func() { c.say(refuse(errInternal, internalText), f.Status, f.name()) })
	ok, end := c.pace.Admit(c.door.cfg.Wheel.Now(), len(b))
	if end {
		c.sock.Close(codeTooMany, "more than "+strconv.Itoa(admit.FramesEnd)+" frames in a second")
		return
	}
	var no *refusal
	if kind != socket.Text {
		no = refuse(errJSON, errNoObject)
	} else {
		no = parse(b, &f)
	}
	if no == nil && !ok {
		no = slowDown(time.Second, "more than %d frames in a second", admit.FramesRefused)
	}
	if no == nil {
		if err := c.status(&f); err != nil {
			no = c.door.refusalOf("status", err)
		}
	}
	c.say(no, f.Status, f.name())
	code := "OK"
	switch {
	case no == nil:
		c.listen()
	case no.ends != 0:
		c.sock.Close(no.ends, no.text)
		fallthrough
	default:
		code = strconv.Itoa(no.no)
	}
	c.door.called("status", code, time.Since(began))
}

// say answers a status: the README's keys, and those that prototype clients
// read.
func (c *device) say(no *refusal, status, user string) {
	b := make([]byte, 0, 256)
	if no == nil {
		b = append(b, `{"result":"OK"`...)
		b = appendField(b, "status", status)
	} else {
		b = append(no.appendKO(append(b, '{')), `,"status":"error"`...)
	}
	if user == "" && no == nil {
		c.mu.Lock()
		user = c.name
		c.mu.Unlock()
	}
	if len(user) <= presence.MaxUserID {
		b = appendField(b, "user", user)
	}
	c.sock.Send(append(b, '}'))
}

// Closed is the end: the session's link is lost, unless another connection has it.
func (c *device) Closed(*socket.Conn, error) {
	c.door.cfg.Wheel.Clear(&c.timer)
	c.door.from.Leave(c.from)
	c.mu.Lock()
	c.departed = true
	v, parting := c.visit, c.parting
	c.mu.Unlock()
	if parting != nil {
		parting.Close() // closing twice does no harm
	}
	if v == nil {
		return
	}
	if taker := c.part(v); taker != nil {
		taker.Close()
	}
	c.door.cfg.Tracker.LinkLost(v.ref, v)
}

// Fill writes what waits: an end that the tracker said, or notifications.
func (c *device) Fill(_ *socket.Conn, out *socket.Out) (more bool) {
	defer c.door.recovered("fill", func() { c.sock.Close(socket.CodeInternal, internalText) })
	c.mu.Lock()
	end, taker, took, name, parting := c.end, c.taker, c.took, c.name, c.parting
	c.took, c.parting = false, nil
	c.mu.Unlock()
	if parting != nil {
		parting.Wrote()
		parting.Close()
	}
	if end != nil {
		c.goodbye(out, *end)
		return false
	}
	if taker == nil {
		return false
	}
	if took {
		taker.Wrote()
	}
	for more := true; more && !out.Full(); {
		var list []mailbox.Message
		var err error
		list, more, err = taker.Take(nil, notesInFrame)
		if err != nil {
			c.sock.Close(codeSlow, "notifications were not read in time; connect again")
			return false
		}
		if len(list) > 0 {
			took = true
			out.Text(func(b []byte) []byte { return appendNotes(b, name, list) })
			c.mu.Lock()
			c.took = c.taker == taker
			c.mu.Unlock()
		} else if !more {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.took // asked again when it is written
}

// notesInFrame is how many notifications one frame has: of 512 characters each
// they are 32 KiB at most as a rule.
const notesInFrame = 16

// goodbye ends the connection because its session ended.
func (c *device) goodbye(out *socket.Out, e tracker.End) {
	switch {
	case e.Cause == tracker.CauseDraining:
		no := slowDown(e.RetryAfter, "this node is stopping; connect again")
		out.Text(func(b []byte) []byte { return append(no.appendKO(append(b, '{')), `,"status":"error"}`...) })
		c.sock.Close(socket.CodeGoingAway, no.text)
	case e.Cause == tracker.CauseReplaced || e.Reason == presence.ReasonReplaced:
		c.sock.Close(codeReplaced, "a newer connection took over")
	default:
		c.sock.Close(codeClosed, "the session was closed: "+e.Reason.String())
	}
}

// appendNotes appends the frame with notifications.
func appendNotes(b []byte, user string, list []mailbox.Message) []byte {
	b = append(b, `{"status":"notification"`...)
	b = appendField(b, "user", user)
	b = append(b, `,"notifications":[`...)
	for i := range list {
		m := &list[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"userid":`...)
		id := m.Alias
		if id == "" {
			id = user
		}
		b = appendText(b, id)
		b = append(b, `,"appid":`...)
		b = appendText(b, m.Publisher)
		b = append(b, `,"message":`...)
		b = appendText(b, m.Text)
		b = append(b, `,"action":`...)
		b = appendText(b, m.Action)
		b = appendField(b, "source", m.Source)
		b = appendField(b, "id", m.ID)
		b = append(b, `,"ts":`...)
		b = append(strconv.AppendInt(b, int64(m.At), 10), '}')
	}
	return append(b, "]}"...)
}
