package mozpresence

import (
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// enter makes the device's session current: the one that it has here, if it lives,
// or a new one.
func (c *device) enter(id string, show presence.Show) error {
	resumed, err := c.tryEnter(id, show)
	if resumed && fault.KindOf(err) == fault.SessionGone { // it ended meanwhile
		_, err = c.tryEnter(id, show)
	}
	return err
}

// tryEnter does that once; resumed says that there was a session to take up. The
// interface has no token of a session, only a device's id, so that it is found by
// that: wherever it was made, also before a restart.
func (c *device) tryEnter(id string, show presence.Show) (resumed bool, err error) {
	d, user := c.door, presence.User{App: c.who.access.App, ID: c.who.access.User}
	v := &visit{device: c}
	if v.ref, _, resumed = d.cfg.Tracker.OfDevice(user, func(o *presence.Device) bool {
		return id != "" && o.ID == id && o.Door == Name
	}); !resumed {
		v.ref = tracker.Ref{}
	}
	defer d.coming.Leave(user, v)
	if most := d.limits.Load().PerUser[user.App]; most != 0 {
		if n, ok := d.coming.Enter(d.cfg.Tracker, user, admit.Arrival{Link: v, Session: v.ref.Session}, most); !ok {
			no := slowDown(crowded, "the user has %d connections, the most the app allows: close one first", n)
			no.ends = codeTooMany
			return resumed, no
		}
	}
	c.id = id
	if resumed {
		return true, c.connect(v, nil, show)
	}
	made, err := d.cfg.Tracker.Make(d.ctx, tracker.MakeParams{User: user, Device: presence.Device{ID: id, Addr: c.addr, Door: Name}})
	if err != nil {
		return false, err
	}
	v.ref = made.Ref
	if err = c.connect(v, &presence.Status{Show: show}, show); err != nil {
		d.cfg.Tracker.Close(d.ctx, made.Ref, presence.ReasonLeft) // nobody will come for it
	}
	return false, err
}

// connect puts a session on the connection. A new one begins with initial.
func (c *device) connect(v *visit, initial *presence.Status, show presence.Show) error {
	d := c.door
	c.mu.Lock()
	c.visit, c.end = v, nil
	c.mu.Unlock()
	done, err := d.cfg.Tracker.Connect(d.ctx, v.ref, tracker.ConnectParams{Link: v, Initial: initial, Addr: c.addr, Door: Name})
	if err != nil {
		d.cfg.Tracker.LinkLost(v.ref, v)
		c.mu.Lock()
		c.visit = nil
		c.mu.Unlock()
		return err
	}
	if done.Resumed {
		if err := c.update(v, show); err != nil && fault.KindOf(err) != fault.RateLimited {
			return err
		}
	}
	return nil
}

// listen makes the connection take notifications, once its status was answered.
func (c *device) listen() {
	c.mu.Lock()
	wanted := c.visit != nil && c.taker == nil && !c.departed
	v := c.visit
	c.mu.Unlock()
	if !wanted {
		return
	}
	taker := c.door.cfg.Mailboxes.Attach(c.door.ctx, v.ref.User, c.sock.Wake)
	c.mu.Lock()
	c.taker = taker
	c.mu.Unlock()
	c.sock.Wake() // it may have been woken before it was seen
}

// leave ends the current session by the device's word.
func (c *device) leave(v *visit) error {
	if v == nil {
		return nil
	}
	taker := c.part(v)
	if taker != nil {
		taker.Close()
	}
	_, err := c.door.cfg.Tracker.Close(c.door.ctx, v.ref, presence.ReasonLeft)
	if fault.KindOf(err) == fault.SessionGone {
		err = nil
	}
	return err
}

// part takes the current session off the connection.
func (c *device) part(v *visit) *mailbox.Taker {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.visit != v {
		return nil
	}
	taker := c.taker
	if c.took && c.parting == nil && !c.departed {
		taker, c.parting = nil, taker // the next Fill knows that they are written
	}
	c.visit, c.taker, c.took = nil, nil, false
	return taker
}
