package stringee

import (
	"math/rand/v2"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// authenticate makes the session of a connection, or takes up the one that the
// same client of the user has, and welcomes it. It may wait for the store. Of what
// fails nobody sees anything.
func (c *conn) authenticate(r *request) *refusal {
	if c.at() != fresh {
		return refuse(codeBad, "this connection is authenticated; open another one")
	}
	d := c.door
	var q authen
	if no := read(r.body, &q); no != nil {
		return no
	}
	now := time.Now()
	b, no := d.bear(q.Token, now)
	switch {
	case no != nil:
		return no
	case b.rest:
		return refuse(codePayload, "this is a token for REST calls; a client's has a userId, and no rest_api")
	}
	if err := d.cfg.Gate.Still(b.access, now); err != nil {
		return d.refusalOf("authen", err, nil)
	}
	if c.origin != "" {
		if why := d.cfg.Gate.RefusesOriginFor(b.access.App, c.origin); why != "" {
			return refuse(codeForbidden, "%s", why)
		}
	}
	device, no := deviceOf(&q, c.addr)
	if no != nil {
		return no
	}
	if !c.move(coming) {
		return nil
	}
	c.sock.MayBlock()
	if no = c.enter(b, device); no != nil {
		if d.sendsAway(no) && c.redirect(r) {
			return nil
		}
		return no
	}
	c.begin(r, b)
	return nil
}

// enter puts a session on the connection.
func (c *conn) enter(b *bearer, device presence.Device) *refusal {
	d, user := c.door, presence.User{App: b.access.App, ID: b.access.User}
	ref, public, resumed := d.cfg.Tracker.OfDevice(user, func(o *presence.Device) bool {
		return device.ID != "" && o.ID == device.ID && o.Door == Name
	})
	if !resumed {
		if no := ended(d.cfg.Tracker.Presence(user), device.ID, presence.At(time.Now())); no != nil {
			return no
		}
	}
	defer d.coming.Leave(user, c)
	if most := d.limits.Load().PerUser[user.App]; most != 0 {
		if n, ok := d.coming.Enter(d.cfg.Tracker, user, admit.Arrival{Link: c, Session: ref.Session}, most); !ok {
			return refuse(codeTooMany, "the user has %d connections, the most the app allows: close one first", n)
		}
	}
	if !resumed {
		made, err := d.cfg.Tracker.Make(d.ctx, tracker.MakeParams{User: user, Device: device})
		if err != nil {
			return d.refusalOf("authen", err, nil)
		}
		ref, public = made.Ref, made.Public
	}
	if err := c.connect(b, ref, public); err != nil {
		if !resumed {
			d.cfg.Tracker.Close(d.ctx, ref, presence.ReasonLeft) // nobody will come for it
		}
		return d.refusalOf("authen", err, nil)
	}
	return nil
}

// connect is enter's part of which others hear: where the user's attributes go and
// what the connection is told stand before anybody sees him come.
func (c *conn) connect(b *bearer, ref tracker.Ref, public presence.PublicID) error {
	d := c.door
	if err := d.cfg.Topics.SetMap(d.ctx, ref.User, public, b.mapping); err != nil {
		return err
	}
	if len(b.topics) > 0 {
		c.sub = d.cfg.Topics.Subscribe(topic.Params{App: ref.User.App, User: ref.User.ID, Topics: b.topics, Wake: c.sock.Wake})
	}
	c.ref, c.public, c.access = ref, public, b.access
	e, err := d.cfg.Tracker.Connect(d.ctx, ref, tracker.ConnectParams{Link: c, Addr: c.addr, Door: Name})
	if err != nil {
		d.cfg.Tracker.LinkLost(ref, c)
		return err
	}
	c.every = pingEvery(d.cfg.Tracker.PolicyOn(ref.User.App, e.Device.Platform).HeartbeatTimeout)
	d.users.enter(ref.User, c)
	return nil
}

// pingEvery is how often to ping under a heartbeat time-out: two answers may come
// late within it.
func pingEvery(timeout time.Duration) time.Duration { return min(PingEvery, timeout*3/7) }

// begin says welcome; what waited for it follows.
func (c *conn) begin(r *request, b *bearer) {
	d := c.door
	p := d.cfg.Tracker.Presence(c.ref.User)
	c.kin = kin{p.Version, clientsOf(p)}
	list := c.kin.told
	if list == nil {
		list = []client{}
	}
	c.answer(r.service, welcome{
		plain: plain{RequestID: r.id, Message: success}, User: string(c.ref.User.ID), Project: b.app.Project, ConnectionID: c.public.String(),
		PingAfter: PingAfter.Milliseconds(), IceServers: []string{}, Clients: list,
	})
	d.cfg.Wheel.Set(&c.timer, c.every)
	c.move(open)
	c.sock.Wake()
}

// endedFor is how long a client whose session ended by another's word is refused:
// it comes back by itself half a second later, for it knows no such end, and would
// undo it. Whoever comes later meant to.
const endedFor = 10 * time.Second

// ended refuses a client whose session was just replaced or dropped.
func ended(p *presence.Presence, device string, now presence.Time) *refusal {
	if device == "" {
		return nil
	}
	for _, v := range p.Sessions {
		if v.Device.ID != device || v.Device.Door != Name || v.True.Closed == 0 || now.Sub(v.True.ClosedAt) >= endedFor {
			continue
		}
		switch v.True.Reason {
		case presence.ReasonReplaced:
			return refuse(codeReplaced, "another device of the user took this one's place")
		case presence.ReasonDropped:
			return refuse(codeDropped, "the app's server ended the session")
		}
	}
	return nil
}

// sendsAway reports that the node stops and knows of others.
func (d *Door) sendsAway(no *refusal) bool {
	return no.draining && len(d.places.Load().Elsewhere) > 0
}

// redirect tells the client to connect elsewhere, if it wants an answer.
func (c *conn) redirect(r *request) bool {
	if r.id == nil {
		return false
	}
	list := c.door.places.Load().Elsewhere
	c.answer(r.service, plain{RequestID: r.id, R: codeRedirect, Message: "connect to change_to_server", Server: list[rand.IntN(len(list))]})
	c.door.redirected.Add(1)
	c.leave(closeUnavailable, fault.Draining.String())
	return true
}
