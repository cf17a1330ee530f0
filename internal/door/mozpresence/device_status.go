package mozpresence

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// status does what a frame asks for.
func (c *device) status(f *deviceFrame) error {
	show := presence.Online
	switch f.Status {
	case statusOnline, statusOffline:
	case statusUnavailable:
		show = presence.Busy
	default:
		return refuse(errStatus, "unknown status %.40q; use online, unavailable or offline", f.Status)
	}
	if len(f.Device) > maxDevice || !utf8.ValidString(f.Device) {
		return refuse(errTooLong, "device has %d bytes; at most %d are allowed", len(f.Device), maxDevice)
	}
	c.sock.MayBlock()
	speaker := c.who
	if f.Assertion != "" {
		var err error
		if speaker, err = c.believe(f.Assertion); err != nil {
			return err
		}
	}
	if err := c.mayAct(f, speaker); err != nil {
		return err
	}
	c.who = speaker
	c.mu.Lock()
	if c.name = f.name(); c.name == "" {
		c.name = string(c.who.access.User)
	}
	v := c.visit
	c.mu.Unlock()
	c.door.cfg.Wheel.Clear(&c.timer)
	switch {
	case f.Status == statusOffline:
		return c.leave(v)
	case v != nil && (f.Device == "" || f.Device == c.id):
		return c.update(v, show)
	case v != nil:
		if err := c.leave(v); err != nil {
			return err
		}
	}
	return c.enter(f.Device, show)
}

// believe takes an assertion: an access token of the user whose connection this
// is.
func (c *device) believe(raw string) (who, error) {
	a, err := c.door.cfg.Gate.Access(c.door.ctx, raw)
	if err != nil {
		return who{}, err
	}
	if _, served := c.door.app(a.App); !served {
		return who{}, refuse(errAssertion, "the assertion's app has no Mozilla interface here (apps.%s.mozpresence)", a.App)
	}
	if known := c.who.access; known.App != "" && (known.App != a.App || known.User != a.User) {
		return who{}, refuse(errAssertion, "the assertion is of another user; a connection is of one")
	}
	if c.origin != "" {
		if why := c.door.cfg.Gate.RefusesOriginFor(a.App, c.origin); why != "" {
			return who{}, refuse(errAssertion, "%s", why)
		}
	}
	return who{a, emailOf(raw)}, nil
}

// mayAct checks that whoever speaks is known, still good, and the one he says.
func (c *device) mayAct(f *deviceFrame, w who) error {
	if w.access.App == "" {
		return refuse(errAssertion, "the assertion is missing: send an access token (JWT) as assertion, or in the Authorization header of the handshake")
	}
	if err := c.door.cfg.Gate.Still(w.access, time.Now()); err != nil {
		return err
	}
	for _, name := range []string{f.Email, f.User} {
		if name != "" && name != string(w.access.User) && (w.email == "" || !strings.EqualFold(name, w.email)) {
			return refuse(errAssertion, "the assertion is not of this user")
		}
	}
	return nil
}

// emailOf is the claim email of an access token that was found good.
func emailOf(raw string) string {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Email string `json:"email"`
	}
	if json.Unmarshal(b, &claims) != nil || len(claims.Email) > presence.MaxUserID {
		return ""
	}
	return claims.Email
}

// edit makes a status of a show.
func edit(show presence.Show) func(*presence.Status) (*presence.Status, error) {
	return func(old *presence.Status) (*presence.Status, error) {
		return (&presence.Patch{Show: &show}).Apply(old), nil
	}
}

func (c *device) update(v *visit, show presence.Show) error {
	_, err := c.door.cfg.Tracker.Update(c.door.ctx, v.ref, edit(show))
	return err
}
