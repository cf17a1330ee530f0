package live

import (
	"strconv"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// hello makes the session of a connection, or takes one up, and says welcome. It
// may wait for the store. Of what fails nobody sees anything.
func (c *conn) hello(r *request) error {
	d := c.door
	c.sock.MayBlock()
	a, err := c.bearer(r)
	if err != nil {
		return err
	}
	if g := c.greet; g.origin != "" {
		if why := d.cfg.Gate.RefusesOriginFor(a.App, g.origin); why != "" {
			return originError(why)
		}
	}
	var initial *presence.Status
	if r.Status != nil {
		if initial, err = r.Status.whole(); err != nil {
			return err
		}
	}
	user := presence.User{App: a.App, ID: a.User}
	defer d.coming.Leave(user, c)
	ref, maker, err := c.session(r, a, user)
	if err != nil {
		return err
	}
	entry, err := d.cfg.Gate.Prepare(d.ctx, ref, maker, r.After)
	if err != nil {
		if r.Resume == "" {
			d.cfg.Tracker.Close(d.ctx, ref, presence.ReasonLeft) // nobody will come for it
		}
		return err
	}
	c.ref, c.locale = ref, entry.Device.Locale
	c.trust(a)
	e, err := entry.Enter(d.ctx, tracker.ConnectParams{Link: c, Initial: initial, Addr: c.greet.addr, Door: Name, Maker: maker},
		admit.Reader{Encoder: d.enc, Wake: c.sock.Wake})
	if err != nil {
		d.cfg.Tracker.LinkLost(ref, c)
		return err
	}
	c.public = e.Public
	c.watcher, c.attachment, c.greet = entry.Watcher, e.Attachment, nil
	if r.Notifications {
		c.takeMessages(user)
	}
	users, rejected := usersOf(r.Watch)
	c.answer(func(b []byte) []byte { return c.welcome(b, &e, rejected) })
	c.move(open)
	c.subscribe(r, a, users)
	c.sock.Wake() // what waited for the welcome
	return nil
}

// bearer is the access token of a hello, or of the handshake before it.
func (c *conn) bearer(r *request) (token.Access, error) {
	switch {
	case r.Token != "":
		return c.door.cfg.Gate.Access(c.door.ctx, r.Token)
	case c.greet.access != nil:
		return *c.greet.access, nil
	}
	return token.Access{}, fault.New(fault.JWTInvalid,
		"the access token is missing: send it as token in the hello, in the Authorization header, or as access_token in the query")
}

// session finds the session that a hello resumes, or makes one.
// maker is the node that made it.
func (c *conn) session(r *request, a token.Access, user presence.User) (ref tracker.Ref, maker uint64, err error) {
	d := c.door
	if r.Resume != "" {
		if ref, maker, err = d.cfg.Gate.Session(a, r.Resume); err != nil {
			return ref, maker, err
		}
		return ref, maker, c.roomFor(user, ref.Session)
	}
	device, err := r.Device.record(c.greet.addr)
	if err != nil {
		return tracker.Ref{}, 0, err
	}
	if err := c.roomFor(user, presence.SessionID{}); err != nil {
		return tracker.Ref{}, 0, err
	}
	made, err := d.cfg.Tracker.Make(d.ctx, tracker.MakeParams{User: user, Device: device})
	if err == nil {
		if err = d.cfg.Gate.Publishes(d.ctx, a, made.Public); err != nil {
			d.cfg.Tracker.Close(d.ctx, made.Ref, presence.ReasonLeft) // nobody will come for it
		}
	}
	return made.Ref, made.Epoch.Incarnation, err
}

// roomFor refuses one more connection of a user who has too many; the one of the
// session that is taken up does not count.
func (c *conn) roomFor(user presence.User, id presence.SessionID) error {
	most := c.door.limits.Load().PerUser[user.App]
	if most == 0 {
		return nil
	}
	if n, ok := c.door.coming.Enter(c.door.cfg.Tracker, user, admit.Arrival{Link: c, Session: id}, most); !ok {
		return crowdError{n}
	}
	return nil
}

// subscribe does what a hello asks for beside the session. What fails is told,
// and the session stays.
func (c *conn) subscribe(r *request, a token.Access, users []presence.UserID) {
	d := c.door
	failed := func(part string, err error) {
		f := c.faultOf(frameHello, err)
		c.answer(func(b []byte) []byte { return appendError(b, r.ID, part, f) })
	}
	if len(users) > 0 {
		if _, err := d.cfg.Gate.Watch(d.ctx, c.ref, users, hub.ScopeAll); err != nil {
			failed("watch", err)
		}
	}
	if r.Friends {
		if _, _, err := d.cfg.Gate.WatchFriends(d.ctx, c.ref); err != nil {
			failed("friends", err)
		}
	}
	if r.Resume != "" { // else it was done before the session opened
		if err := d.cfg.Gate.Publishes(d.ctx, a, c.public); err != nil {
			failed("topics", err)
		}
	}
	if r.Topics {
		if err := c.listen(a); err != nil {
			failed("topics", err)
		}
	}
}

// usersOf takes a list apart into ids and what cannot be one.
func usersOf(list []string) (users []presence.UserID, rejected []string) {
	if len(list) == 0 {
		return nil, nil
	}
	users = make([]presence.UserID, 0, len(list))
	for _, s := range list {
		if presence.ValidUserID(s) {
			users = append(users, presence.UserID(s))
		} else {
			rejected = append(rejected, s)
		}
	}
	return users, rejected
}

// welcome appends the first frame that a session gets on its connection. It has
// a number among the notifications.
func (c *conn) welcome(b []byte, e *admit.Entered, rejected []string) []byte {
	d := c.door
	p, l := d.cfg.Tracker.PolicyOn(c.ref.User.App, e.Device.Platform), d.cfg.Gate.Limits(c.ref.User.App)
	b = append(b, `{"t":"welcome","session":"`...)
	b = append(b, e.Public.String()...)
	b = append(b, `","resume":"`...)
	b = append(b, d.cfg.Gate.Seal(c.ref, e.Epoch)...)
	b = append(b, `","resumed":`...)
	b = strconv.AppendBool(b, e.Resumed)
	b = append(b, `,"resync":`...)
	b = strconv.AppendBool(b, e.Resync)
	b = append(b, `,"q":`...)
	b = strconv.AppendUint(b, c.watcher.Next(c.attachment), 10)
	b = appendTime(b, "time", now())
	b = appendInt(b, "heartbeat", tracker.Interval(p.HeartbeatTimeout).Milliseconds())
	b = appendInt(b, "grace", p.Grace.Milliseconds())
	b = appendInt(b, "window", p.ResumeWindow.Milliseconds())
	b = append(b, `,"limits":{"watches":`...)
	b = strconv.AppendInt(b, int64(l.Watches), 10)
	b = appendInt(b, "batch", int64(l.Batch))
	b = appendInt(b, "properties", presence.MaxProperties)
	b = appendInt(b, "bytes", presence.MaxStatusBytes)
	b = appendInt(b, "updates_per_second", tracker.UpdatesPerSecond)
	b = append(b, '}')
	if c.messages != nil {
		b = append(b, `,"notifications":true`...)
	}
	b = appendList(b, "rejected", rejected)
	return append(b, '}')
}

func appendInt(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(appendKey(b, key), n, 10)
}

// appendList appends a key and texts; an empty list is left out.
func appendList[T ~string](b []byte, key string, list []T) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(appendKey(b, key), '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, string(s))
	}
	return append(b, ']')
}

// originError and crowdError end a hello for reasons of this door.
type originError string

func (e originError) Error() string { return string(e) }

type crowdError struct{ n int }

func (e crowdError) Error() string {
	return "the user has " + strconv.Itoa(e.n) + " connections, the most the app allows: close one first"
}
