package live

import (
	"errors"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// answered is what a call adds to its ok frame, in place.
type answered func(b []byte) []byte

// Message takes a frame of the device. A bad one is answered, changes nothing,
// and ends the connection only if it is no JSON object at all.
func (c *conn) Message(_ *socket.Conn, kind socket.Kind, b []byte) {
	began := time.Now()
	var r request
	defer c.door.recovered("message", func() {
		if err := fault.New(fault.Internal, internalDetail); c.at() == open {
			c.fail(&r, err)
		} else {
			c.refuse(c.farewellOf(err, r.Resume != ""))
		}
	})
	ok, end := c.pace.Admit(c.door.cfg.Wheel.Now(), len(b))
	switch {
	case end:
		c.refuse(goodbye{
			reason: fault.RateLimited.String(), message: "more than 1000 frames in a second, a long one counting for each 4 KiB", retryAfter: time.Second, kept: c.at() == open,
		})
		return
	case kind != socket.Text:
		c.refuse(goodbye{reason: frameInvalid, message: errNoObject.Error(), kept: c.at() == open})
		return
	}
	err := parse(b, &r)
	switch {
	case errors.Is(err, errNoObject):
		c.refuse(goodbye{reason: frameInvalid, message: errNoObject.Error(), kept: c.at() == open})
		return
	case !ok && c.at() != fresh:
		err = fault.Retry(fault.RateLimited, time.Second, "more than %d frames in a second, a long one counting for each 4 KiB", admit.FramesRefused)
	}
	if c.at() == fresh {
		c.begin(&r, err, began)
		return
	}
	if err == nil {
		err = c.call(&r)
	}
	if err != nil {
		c.fail(&r, err)
	}
	c.told(&r, err, began)
}

// begin takes the first frame, which must be a hello that works: else it is the
// last.
func (c *conn) begin(r *request, err error, began time.Time) {
	c.door.fresh.remove(c)
	if r.T != frameHello && err == nil {
		err = fault.Invalid("t", "the first frame is hello")
	}
	if err == nil && c.move(greeted) {
		err = c.hello(r)
	}
	var origin originError
	var crowd crowdError
	switch {
	case err == nil:
	case errors.As(err, &origin):
		c.refuse(goodbye{reason: originRefused, message: origin.Error(), kept: r.Resume != ""})
	case errors.As(err, &crowd):
		c.refuse(goodbye{reason: tooManyConnections, message: crowd.Error(), kept: r.Resume != ""})
	default:
		c.refuse(c.farewellOf(err, r.Resume != ""))
	}
	c.told(r, err, began)
}

// call does what a frame asks for, and answers it unless it fails.
func (c *conn) call(r *request) error {
	switch r.T {
	case framePing:
		c.answer(func(b []byte) []byte {
			b = appendID(append(b, `{"t":"pong"`...), r.ID)
			return append(appendTime(b, "time", now()), '}')
		})
		return nil
	case frameToken:
		return c.renew(r)
	case frameBye:
		return c.leave(r)
	}
	work := c.work(r.T)
	if work == nil {
		return unknown(r.T)
	}
	if err := c.door.cfg.Gate.Still(c.access(), time.Now()); err != nil {
		return err
	}
	return c.ok(r, work)
}

// work finds what does a call on the session; nil for what is none.
func (c *conn) work(t string) func(r *request) (answered, error) {
	switch t {
	case frameSet, framePatch:
		return c.update
	case frameWatch:
		return c.watch
	case frameUnwatch:
		return c.unwatch
	case frameGet:
		return c.get
	case frameAttrs:
		return c.attributes
	}
	return nil
}

func unknown(t string) error {
	switch t {
	case "":
		return fault.Invalid("t", "it says what the frame is; want one of hello, set, patch, watch, unwatch, get, attributes, ping, token, bye")
	case frameHello:
		return fault.Invalid("t", "hello comes once, as the first frame; open another connection")
	}
	return fault.Invalid("t", "unknown frame %.40q; want one of set, patch, watch, unwatch, get, attributes, ping, token, bye", t)
}

// ok answers a call that works.
func (c *conn) ok(r *request, work func(r *request) (answered, error)) error {
	more, err := work(r)
	if err != nil {
		return err
	}
	c.answer(func(b []byte) []byte {
		b = appendID(append(b, `{"t":"ok"`...), r.ID)
		if more != nil {
			b = more(b)
		}
		return append(b, '}')
	})
	return nil
}

// fail answers one that does not.
func (c *conn) fail(r *request, err error) {
	f := c.faultOf(frameOf(r), err)
	c.answer(func(b []byte) []byte { return appendError(b, r.ID, "", f) })
}

// told counts a frame that was answered.
func (c *conn) told(r *request, err error, began time.Time) {
	code := "OK"
	if err != nil {
		code = fault.KindOf(err).String()
	}
	c.door.called(frameOf(r), code, time.Since(began))
}

// frameOf names a frame in logs and metrics: what a peer made up is not.
func frameOf(r *request) string {
	switch r.T {
	case frameHello, frameSet, framePatch, frameWatch, frameUnwatch, frameGet, frameAttrs, framePing, frameToken, frameBye:
		return r.T
	}
	return "unknown"
}

// errWaits is a try that must not wait and would.
var errWaits = errors.New("the update waits for the store")

// update makes a status current, or changes some of it.
func (c *conn) update(r *request) (answered, error) {
	edit, err := c.edit(r)
	if err != nil {
		return nil, err
	}
	t := c.door.cfg.Tracker
	// Hardly an update waits for anything, so one is tried first that cannot: other
	// connections need no other worker then.
	u, err := t.Update(c.door.never, c.ref, func(old *presence.Status) (*presence.Status, error) {
		s, err := edit(old)
		if err == nil && s.Invisible != old.Invisible {
			err = errWaits
		}
		return s, err
	})
	if err == errWaits || fault.KindOf(err) == fault.LogUnavailable {
		c.sock.MayBlock()
		u, err = t.Update(c.door.ctx, c.ref, edit)
	}
	if err != nil {
		return nil, err
	}
	return func(b []byte) []byte {
		b = appendInt(b, "rev", int64(u.Revision))
		b = appendTime(b, "at", u.At)
		if u.Unchanged {
			b = append(b, `,"unchanged":true`...)
		}
		return b
	}, nil
}

// edit is the change of status that a frame asks for.
func (c *conn) edit(r *request) (func(*presence.Status) (*presence.Status, error), error) {
	if r.T == frameSet {
		if r.Status == nil {
			return nil, fault.Invalid(statusAt, `it is missing; {} is a status that says nothing but "online"`)
		}
		s, err := r.Status.whole()
		return func(*presence.Status) (*presence.Status, error) { return s, nil }, err
	}
	p, err := r.patch()
	if err != nil {
		return nil, err
	}
	return func(old *presence.Status) (*presence.Status, error) {
		s := p.Apply(old)
		return s, check(s)
	}, nil
}

// oneOf checks that a frame names users or friends.
func (c *conn) oneOf(r *request) error {
	most := c.door.cfg.Gate.Limits(c.ref.User.App).Watches
	switch {
	case r.Friends == (len(r.Users) > 0):
		return fault.Invalid("users", `want a list of user ids, or "friends": true in its place`)
	case len(r.Users) > most:
		return fault.New(fault.LimitSubscriptions, "%d users were asked for; a session may watch %d", len(r.Users), most)
	}
	return nil
}

// watch subscribes to users or to the friends.
func (c *conn) watch(r *request) (answered, error) {
	if err := c.oneOf(r); err != nil {
		return nil, err
	}
	c.sock.MayBlock()
	gate, ctx := c.door.cfg.Gate, c.door.ctx
	if r.Friends {
		n, already, err := gate.WatchFriends(ctx, c.ref)
		return func(b []byte) []byte {
			b = appendInt(b, "friends", int64(n))
			if already {
				b = append(b, `,"already":true`...)
			}
			return b
		}, err
	}
	users, rejected := usersOf(r.Users)
	scope := hub.ScopeAll
	if len(r.Users) == 1 {
		scope = hub.ScopeUser
	}
	var already []presence.UserID
	if len(users) > 0 {
		var err error
		if already, err = gate.Watch(ctx, c.ref, users, scope); err != nil {
			return nil, err
		}
	}
	return func(b []byte) []byte {
		return appendList(appendList(b, "already", already), "rejected", rejected)
	}, nil
}

// unwatch ends subscriptions to users or to the friends.
func (c *conn) unwatch(r *request) (answered, error) {
	if err := c.oneOf(r); err != nil {
		return nil, err
	}
	c.sock.MayBlock()
	gate, ctx := c.door.cfg.Gate, c.door.ctx
	if r.Friends {
		was, err := gate.UnwatchFriends(ctx, c.ref)
		return func(b []byte) []byte {
			if was {
				b = append(b, `,"was":true`...)
			}
			return b
		}, err
	}
	users, rejected := usersOf(r.Users)
	var ended, still []presence.UserID
	for _, u := range users {
		was, friend, err := gate.Unwatch(ctx, c.ref, u)
		if err != nil {
			return nil, err
		}
		if was {
			ended = append(ended, u)
		}
		if friend {
			still = append(still, u)
		}
	}
	return func(b []byte) []byte {
		return appendList(appendList(appendList(b, "was", ended), "still", still), "rejected", rejected)
	}, nil
}

// get answers a direct query: one entry for each id, in the order asked.
func (c *conn) get(r *request) (answered, error) {
	gate, app := c.door.cfg.Gate, c.ref.User.App
	if len(r.Users) == 0 {
		return nil, fault.Invalid("users", "want a list of user ids")
	}
	if err := gate.CheckBatch(app, len(r.Users)); err != nil {
		return nil, err
	}
	users, err := admit.Users("users", r.Users)
	if err != nil {
		return nil, err
	}
	locale := c.locale
	if r.Locale != "" {
		if locale, err = admit.Locale("locale", r.Locale); err != nil {
			return nil, err
		}
	}
	c.sock.MayBlock()
	asker, err := gate.Asker(c.door.ctx, c.ref.User)
	if err != nil {
		return nil, err
	}
	reader := c.door.cfg.Texts.Reader(app, locale)
	return func(b []byte) []byte {
		b = append(b, `,"users":[`...)
		for i, id := range users {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendUser(b, id, asker.See(id, r.Sessions), r.Sessions, reader)
		}
		return append(b, ']')
	}, nil
}

// renew takes a fresh access token of the same user.
func (c *conn) renew(r *request) error {
	c.sock.MayBlock()
	a, err := c.door.cfg.Gate.Access(c.door.ctx, r.Token)
	if err != nil {
		return err
	}
	if a.App != c.ref.User.App || a.User != c.ref.User.ID {
		return fault.New(fault.SessionTokenNotYours, "the access token belongs to another user than the session")
	}
	if err := c.retopic(a); err != nil {
		return err
	}
	c.trust(a)
	return c.ok(r, func(*request) (answered, error) {
		return func(b []byte) []byte { return appendTime(b, "expires", presence.At(a.Expires)) }, nil
	})
}

// leave ends the session by an explicit word. The goodbye waits for the store:
// only then is it sure that no webhook misses it.
func (c *conn) leave(r *request) error {
	reason := presence.ReasonLogout
	switch r.Mode {
	case "", "logout":
	case "leave":
		reason = presence.ReasonLeft
	default:
		return fault.Invalid("mode", "unknown mode %.40q; use logout or leave", r.Mode)
	}
	c.sock.MayBlock()
	if !c.move(leaving) {
		return nil
	}
	_, err := c.door.cfg.Tracker.Close(c.door.ctx, c.ref, reason)
	if err != nil {
		c.fail(r, err)
	}
	c.mu.Lock()
	if c.stage == leaving {
		c.set(open)
	}
	if c.end.Cause == 0 { // it was closed before, or another connection had it
		c.end = tracker.End{Cause: tracker.CauseClosed, Reason: reason}
	}
	c.mu.Unlock()
	c.sock.Wake()
	return nil
}
