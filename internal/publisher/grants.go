package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// MaxLabel bounds a grant's label, in characters.
const MaxLabel = 256

// Grant notes that a user lets an active publisher of his app know of him. Granted
// already, the grant stays as it is, with its uid. Its errors are ErrNone,
// ErrNotActive, ErrTooMany, a fault FieldInvalid for the label, and LogUnavailable.
func (r *Registry) Grant(ctx context.Context, user presence.User, id, label string) (Grant, error) {
	p, err := r.Get(ctx, id)
	switch {
	case err != nil:
		return Grant{}, err
	case p.App != user.App:
		return Grant{}, ErrNone
	case p.State != Active:
		return Grant{}, ErrNotActive
	case utf8.RuneCountInString(label) > MaxLabel || !oneLine(label):
		return Grant{}, fault.Invalid("id", "want at most %d characters on one line", MaxLabel)
	}
	if _, err := r.settle(ctx, user); err != nil {
		return Grant{}, err
	}
	g := Grant{Publisher: id, User: user, UID: random(UIDLength), Label: label, At: presence.At(time.Now())}
	// The uid first: it leads to the user before anybody is told of it.
	_, err = r.cfg.Store.SaveName(ctx, store.NameGrant, store.Named{Name: g.UID, Value: encode(holder{user.App, user.ID, id})})
	if err != nil {
		return Grant{}, r.unavailable(ctx, err)
	}
	unused := g.UID
	err = r.edit(ctx, user, func(f *folder) error {
		if e := f.live(id); e != nil {
			g = e.grant(user)
			return errUnchanged
		}
		if len(f.Grants) >= MaxGrants {
			return fmt.Errorf("%w: a user may authorise %d publishers", ErrTooMany, MaxGrants)
		}
		f.Grants = append(slices.Clone(f.Grants), entry{Publisher: id, UID: g.UID, Label: label, At: g.At})
		return nil
	})
	if err != nil || g.UID != unused {
		if err := r.unname(ctx, store.NameGrant, unused); err != nil {
			r.log.WarnContext(ctx, "a uid that nobody was given stays in the store", "error", err)
		}
		return g, err
	}
	r.tell(ctx, Change{Kind: Granted, Publisher: id, User: user, UID: g.UID})
	return g, nil
}

// Revoke ends a user's grant: its uid is dead, and the publisher's queue says so.
// was reports whether there was one.
func (r *Registry) Revoke(ctx context.Context, user presence.User, id string) (g Grant, was bool, err error) {
	l, err := r.load(ctx, user)
	if err != nil || l.live(id) == nil {
		return Grant{}, false, err
	}
	begun, err := r.begin(ctx, user)
	if err != nil {
		return Grant{}, false, err
	}
	at := presence.At(time.Now())
	err = r.edit(ctx, user, func(f *folder) error {
		f.Grants = slices.Clone(f.Grants)
		e := f.live(id)
		if was = e != nil; !was {
			return errUnchanged
		}
		e.Revoked, g = at, e.grant(user)
		return nil
	})
	if err != nil {
		return Grant{}, false, err
	}
	// From here on it is dead; what is left of it is cleared away.
	if _, err := r.settle(ctx, user); err != nil {
		return g, was, err
	}
	r.finished(ctx, begun)
	return g, was, nil
}

// settle does what follows from a user's revocations: the publisher's queue gets
// them, and the uids lead nowhere. Only then they leave the folder, so a crash
// between is made good by the next who comes by, or by Finish.
func (r *Registry) settle(ctx context.Context, user presence.User) (folder, error) {
	f, _, err := r.settled(ctx, user)
	return f, err
}

// settled is settle, and says how many revocations were left to it.
func (r *Registry) settled(ctx context.Context, user presence.User) (_ folder, left int, _ error) {
	f, err := r.load(ctx, user)
	if err != nil {
		return folder{}, 0, err
	}
	var done []Change
	for _, e := range f.folder.Grants {
		if e.Revoked == 0 {
			continue
		}
		if err := r.revoked(ctx, e); err != nil {
			return folder{}, 0, err
		}
		done = append(done, Change{Kind: Revoked, Publisher: e.Publisher, User: user, UID: e.UID})
	}
	if len(done) == 0 {
		return f.folder, 0, nil
	}
	for _, c := range done {
		r.tell(ctx, c) // before they leave the folder: a crash may make it twice, but not never
	}
	err = r.edit(ctx, user, func(f *folder) error {
		f.Grants = slices.DeleteFunc(slices.Clone(f.Grants), func(e entry) bool {
			return e.Revoked != 0 && slices.ContainsFunc(done, func(c Change) bool { return c.UID == e.UID })
		})
		return nil
	})
	return f.folder, len(done), err
}

// revoked does it for one.
func (r *Registry) revoked(ctx context.Context, e entry) error {
	p, err := r.Get(ctx, e.Publisher)
	if err == nil && p.State == Active {
		_, err = r.EditQueue(ctx, e.Publisher, func(q *Queue) bool {
			return q.add(Dead{UID: e.UID, At: e.Revoked})
		})
	}
	if err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	return r.unname(ctx, store.NameGrant, e.UID)
}

// Grants returns what a user granted, oldest first.
func (r *Registry) Grants(ctx context.Context, user presence.User) ([]Grant, error) {
	f, err := r.settle(ctx, user)
	if err != nil {
		return nil, err
	}
	return f.grants(user), nil
}

func (f *folder) grants(user presence.User) (all []Grant) {
	for i := range f.Grants {
		if e := &f.Grants[i]; e.Revoked == 0 {
			all = append(all, e.grant(user))
		}
	}
	return all
}

// Granted returns the user's grant of a publisher, if there is one.
func (r *Registry) Granted(ctx context.Context, user presence.User, id string) (g Grant, ok bool, err error) {
	f, err := r.folder(ctx, user)
	if err != nil {
		return Grant{}, false, err
	}
	if e := f.live(id); e != nil {
		return e.grant(user), true, nil
	}
	return Grant{}, false, nil
}

// Lookup returns the grant that has a uid of a publisher. ErrNoGrant says that no
// user of it has it, whatever the reason.
func (r *Registry) Lookup(ctx context.Context, id, uid string) (Grant, error) {
	if !ValidUID(uid) {
		return Grant{}, ErrNoGrant
	}
	h, err := r.holders.get(ctx, uid, func(ctx context.Context, uid string) (h holder, err error) {
		n, err := r.cfg.Store.LoadName(ctx, store.NameGrant, uid)
		if err == nil && n.Value != nil {
			err = decode(n.Value, &h)
		}
		if err != nil {
			return h, r.unavailable(ctx, err)
		}
		return h, nil
	})
	switch {
	case err != nil:
		return Grant{}, err
	case h.Publisher != id || id == "":
		return Grant{}, ErrNoGrant
	}
	g, ok, err := r.Granted(ctx, presence.User{App: h.App, ID: h.User}, id)
	switch {
	case err != nil:
		return Grant{}, err
	case !ok || g.UID != uid:
		return Grant{}, ErrNoGrant
	}
	return g, nil
}

// EachGrant calls f with the grants of a publisher, in no order. It reads what
// all users of the app granted.
func (r *Registry) EachGrant(ctx context.Context, p Publisher, f func(Grant) error) error {
	return r.cfg.Store.ScanRosters(ctx, store.RosterGrants, p.App, func(v store.Roster) error {
		var in folder
		if err := decode(v.Value, &in); err != nil {
			return fmt.Errorf("grants of a user of app %s: %w", v.User.App, err)
		}
		if e := in.live(p.ID); e != nil {
			return f(e.grant(v.User))
		}
		return nil
	})
}

// Erase forgets a user: his grants, whose publishers are told, and the publishers
// that he registered. After an error something is left; repeat it.
func (r *Registry) Erase(ctx context.Context, user presence.User) error {
	owned, err := r.Owned(ctx, user)
	if err != nil {
		return err
	}
	for _, p := range owned {
		if err := r.Remove(ctx, p.ID); err != nil && !errors.Is(err, ErrNone) {
			return err
		}
	}
	l, err := r.load(ctx, user)
	if err != nil || len(l.Grants)+len(l.Owned) == 0 {
		return err
	}
	begun, err := r.begin(ctx, user)
	if err != nil {
		return err
	}
	at := presence.At(time.Now())
	err = r.edit(ctx, user, func(f *folder) error {
		if len(f.Grants)+len(f.Owned) == 0 {
			return errUnchanged
		}
		f.Owned, f.Grants = nil, slices.Clone(f.Grants)
		for i := range f.Grants {
			f.Grants[i].Revoked = max(f.Grants[i].Revoked, at)
		}
		return nil
	})
	if err == nil {
		_, err = r.settle(ctx, user)
	}
	if err == nil {
		r.finished(ctx, begun)
	}
	return err
}

// errUnchanged ends an edit that has nothing to store.
var errUnchanged = errors.New("unchanged")

// loaded is a folder with its revision.
type loaded struct {
	folder
	revision uint64
}

func (r *Registry) load(ctx context.Context, user presence.User) (l loaded, err error) {
	v, err := r.cfg.Store.LoadRoster(ctx, store.RosterGrants, user)
	if err == nil && v.Value != nil {
		err = decode(v.Value, &l.folder)
	}
	if err != nil {
		return loaded{}, r.unavailable(ctx, err)
	}
	l.revision = v.Revision
	return l, nil
}

// folder is load from memory, where that is young enough.
func (r *Registry) folder(ctx context.Context, user presence.User) (folder, error) {
	return r.folders.get(ctx, user, func(ctx context.Context, user presence.User) (folder, error) {
		l, err := r.load(ctx, user)
		return l.folder, err
	})
}

// edit changes a user's folder and stores it. f gets a copy whose lists it may
// not change in place.
func (r *Registry) edit(ctx context.Context, user presence.User, f func(*folder) error) error {
	defer r.folders.drop(user)
	var err error
	for range attempts {
		var l loaded
		if l, err = r.load(ctx, user); err != nil {
			return err
		}
		if err = f(&l.folder); errors.Is(err, errUnchanged) {
			return nil
		} else if err != nil {
			return err
		}
		_, err = r.cfg.Store.SaveRoster(ctx, store.RosterGrants, store.Roster{User: user, Value: l.folder.encode(), Revision: l.revision})
		if !errors.Is(err, store.ErrMoved) {
			break
		}
	}
	if err != nil {
		return r.unavailable(ctx, err)
	}
	return nil
}
