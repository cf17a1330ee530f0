package topic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// attempts is how often a change is tried when others change the same user.
	attempts   = 10
	retryAfter = 2 * time.Second
)

// Get reads what is kept of a user; of one of whom nothing is, an empty Record.
// It fails with LogUnavailable.
func (t *Topics) Get(ctx context.Context, user presence.User) (Record, error) {
	r, revision, err := t.load(ctx, user)
	if err != nil {
		return Record{}, t.refine(ctx, err, user.App)
	}
	return r.show(user, revision, t.cfg.Source.Presence(user)), nil
}

// Set gives a user attributes, or takes those away that have no value: all of
// them or, after an error, none. What changed is on disk before it is published
// to the user's mapped topics, in the order of the array, and before Set
// returns; one that had that value already is not published. An attribute that
// was taken away is published as null. changed is how many changed.
//
// It fails with FieldInvalid, whose paths begin with "attributes[i]", with what
// Config.Takes says, and with LogUnavailable, after which it may be stored without
// being published: repeat it.
func (t *Topics) Set(ctx context.Context, user presence.User, attributes []Attribute) (_ Record, changed int, err error) {
	return t.SetWhile(ctx, user, attributes, func(context.Context) error { return t.takes() })
}

func (t *Topics) takes() error {
	if t.cfg.Takes == nil {
		return nil
	}
	return t.cfg.Takes()
}

// SetWhile is Set by somebody who may have been given up, and have said something
// newer at another node, while this one stood still or waited for the store: holds is
// asked after each reading of what is stored, and its error is SetWhile's. What is
// said elsewhere after holds was asked makes the store refuse this change, and holds is
// asked again.
func (t *Topics) SetWhile(ctx context.Context, user presence.User, attributes []Attribute, holds func(context.Context) error) (_ Record, changed int, err error) {
	if !presence.ValidUserID(string(user.ID)) {
		return Record{}, 0, fault.Invalid("user", "must be 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
	}
	if len(attributes) > MaxAttributes {
		return Record{}, 0, fault.Invalid("attributes", "has %d entries, at most %d are allowed", len(attributes), MaxAttributes)
	}
	attributes = slices.Clone(attributes)
	for i, a := range attributes {
		at := fmt.Sprintf("attributes[%d]", i)
		if err := CheckName(at+".name", a.Name); err != nil {
			return Record{}, 0, err
		}
		if a.Value != nil {
			if attributes[i].Value, err = tidy(at+".value", a.Value); err != nil {
				return Record{}, 0, err
			}
		}
	}
	return t.change(ctx, user, func(r *record, now presence.Time) ([]Attribute, bool, error) {
		if err := holds(ctx); err != nil {
			return nil, false, err
		}
		news := r.set(attributes, now)
		if len(r.attributes) > MaxAttributes {
			return nil, false, fault.Invalid("attributes", "the user would have %d, at most %d are allowed; take some away first", len(r.attributes), MaxAttributes)
		}
		return news, len(news) > 0, nil
	})
}

// set applies attributes and returns what is news, each name once.
func (r *record) set(attributes []Attribute, now presence.Time) (news []Attribute) {
	for i, a := range attributes {
		if slices.ContainsFunc(attributes[i+1:], func(b Attribute) bool { return b.Name == a.Name }) {
			continue // the last one counts
		}
		a.At = now
		at := slices.IndexFunc(r.attributes, func(b Attribute) bool { return b.Name == a.Name })
		switch {
		case at < 0 && a.Value == nil:
			continue
		case at < 0:
			r.attributes = append(r.attributes, a)
		case a.Value == nil:
			r.attributes = slices.Delete(r.attributes, at, at+1)
		case bytes.Equal(r.attributes[at].Value, a.Value):
			continue
		default:
			r.attributes[at] = a
		}
		news = append(news, a)
	}
	return news
}

// Erase forgets all that is kept of a user. Nothing is published. It fails with
// LogUnavailable; repeat it.
func (t *Topics) Erase(ctx context.Context, user presence.User) error {
	_, _, err := t.change(ctx, user, func(r *record, _ presence.Time) ([]Attribute, bool, error) {
		*r = record{}
		return nil, true, nil
	})
	return err
}

// change reads a user's record, lets f change it, stores it if f says so, and
// publishes the news that f returns. Its errors are faults, or ctx's.
func (t *Topics) change(ctx context.Context, user presence.User, f func(r *record, now presence.Time) (news []Attribute, write bool, err error)) (Record, int, error) {
	pass, err := t.turns.take(ctx, user)
	if err != nil {
		return Record{}, 0, err
	}
	defer pass()
	for range attempts {
		shown, n, err := t.changeOnce(ctx, user, f)
		if err == nil {
			return shown, n, nil
		}
		if !errors.Is(err, store.ErrMoved) {
			return Record{}, 0, t.refine(ctx, err, user.App)
		}
	}
	return Record{}, 0, fault.Retry(fault.LogUnavailable, retryAfter, "others change this user's attributes all the time; try again")
}

func (t *Topics) changeOnce(ctx context.Context, user presence.User, f func(r *record, now presence.Time) ([]Attribute, bool, error)) (Record, int, error) {
	r, revision, err := t.load(ctx, user)
	if err != nil {
		return Record{}, 0, err
	}
	news, write, err := f(r, presence.At(time.Now()))
	if err != nil {
		return Record{}, 0, err
	}
	if value := r.encode(); write && (value != nil || revision > 0) {
		if revision, err = t.save(ctx, store.Roster{User: user, Value: value, Revision: revision}); err != nil {
			return Record{}, 0, err
		}
	}
	shown := r.show(user, revision, t.cfg.Source.Presence(user))
	for _, a := range news {
		t.publish(&shown, a)
	}
	return shown, len(news), nil
}

// load reads a user's record.
func (t *Topics) load(ctx context.Context, user presence.User) (*record, uint64, error) {
	v, err := t.cfg.Store.LoadRoster(ctx, store.RosterAttributes, user)
	if err != nil {
		return nil, 0, err
	}
	r, err := parseRecord(v.Value)
	return r, v.Revision, err
}

// save stores a value; where the store does not know whether it did, it is
// looked for.
func (t *Topics) save(ctx context.Context, v store.Roster) (revision uint64, err error) {
	revision, err = t.cfg.Store.SaveRoster(ctx, store.RosterAttributes, v)
	if !errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrMoved) {
		return revision, err
	}
	if is, e := t.cfg.Store.LoadRoster(ctx, store.RosterAttributes, v.User); e == nil && is.Revision > v.Revision && bytes.Equal(is.Value, v.Value) {
		return is.Revision, nil
	}
	return 0, err
}

// refine makes a fault of what went wrong.
func (t *Topics) refine(ctx context.Context, err error, app presence.AppID) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		return ctx.Err()
	}
	t.log.Warn("attributes cannot be read or stored", "app", app, "error", err)
	return fault.Retry(fault.LogUnavailable, retryAfter, "the attributes cannot be read or stored at the moment; try again")
}
