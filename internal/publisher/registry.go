package publisher

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// retryStore is what a caller is told to wait when the store said no.
const retryStore = 2 * time.Second

// attempts bounds how often a write that another one overtook is tried.
const attempts = 8

// Store is what a Registry needs of a store.
type Store interface {
	store.Rosters
	store.Names
}

// Kind says what changed.
type Kind uint8

// The kinds. They go between nodes: never renumber them.
const (
	Granted     Kind = 1
	Revoked     Kind = 2 // the uid is dead
	Deactivated Kind = 3 // the API key is void, also because there is another
	Removed     Kind = 4 // the publisher is gone, after its grants
	Activated   Kind = 5
)

// Change is something that happened, at this node or at another. It can be
// serialised.
type Change struct {
	Kind      Kind          `json:"kind"`
	Publisher string        `json:"publisher"`
	User      presence.User `json:"user,omitzero"` // Granted and Revoked
	UID       string        `json:"uid,omitempty"` // Granted and Revoked
}

// Config is what a registry needs. Store is required.
type Config struct {
	Store Store
	// Tell, when not nil, tells other nodes of a change made here: they give it
	// to Heard.
	Tell   func(Change)
	Logger *slog.Logger // nil drops what is logged
}

// Registry has the publishers and grants of a node. Make it with New. It needs
// no Start.
type Registry struct {
	cfg     Config
	log     *slog.Logger
	listen  []func(context.Context, Change)
	cards   cache[string, Publisher]
	folders cache[presence.User, folder]
	holders cache[string, holder]
}

// New returns a registry.
func New(cfg Config) (*Registry, error) {
	if cfg.Store == nil {
		return nil, errors.New("publisher: a store is needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Registry{cfg: cfg, log: cfg.Logger}, nil
}

// Listen adds one who hears of changes, after they are stored and before the
// call that made them returns. Call it before the registry is used.
func (r *Registry) Listen(f func(context.Context, Change)) { r.listen = append(r.listen, f) }

// Heard takes a change that another node made.
func (r *Registry) Heard(ctx context.Context, c Change) {
	r.cards.drop(c.Publisher)
	if c.User.ID != "" {
		r.folders.drop(c.User)
		r.holders.drop(c.UID)
	}
	for _, f := range r.listen {
		f(ctx, c)
	}
}

// tell is Heard for a change that was made here.
func (r *Registry) tell(ctx context.Context, c Change) {
	r.Heard(ctx, c)
	if r.cfg.Tell != nil {
		r.cfg.Tell(c)
	}
}

// Register makes a publisher of an app, which is its owner's. Its errors are
// those of Registration.Check, ErrTooMany, and LogUnavailable.
func (r *Registry) Register(ctx context.Context, owner presence.User, reg Registration) (Publisher, error) {
	reg, err := reg.Check()
	if err != nil {
		return Publisher{}, err
	}
	p := Publisher{
		ID: random(IDLength), App: owner.App, Owner: owner.ID, Registration: reg, State: Registered, Proof: newKey(), Created: presence.At(time.Now()),
	}
	// In its owner's folder first: a publisher that nobody owns nobody could take
	// away, and one that there is not is passed over.
	err = r.edit(ctx, owner, func(f *folder) error {
		if len(f.Owned) >= MaxOwned {
			return fmt.Errorf("%w: a user may register %d publishers", ErrTooMany, MaxOwned)
		}
		f.Owned = append(slices.Clone(f.Owned), p.ID)
		return nil
	})
	if err != nil {
		return Publisher{}, err
	}
	if p.revision, err = r.cfg.Store.SaveName(ctx, store.NamePublisher, store.Named{Name: p.ID, Value: p.encode()}); err != nil {
		return Publisher{}, r.unavailable(ctx, err)
	}
	r.cards.drop(p.ID)
	return p, nil
}

// Get returns a publisher, or ErrNone.
func (r *Registry) Get(ctx context.Context, id string) (Publisher, error) {
	if !ValidID(id) {
		return Publisher{}, ErrNone
	}
	p, err := r.cards.get(ctx, id, r.read)
	if err == nil && p.ID == "" {
		err = ErrNone
	}
	return p, err
}

// Newest is Get for who is about to change it: what another node stored a moment ago
// counts.
func (r *Registry) Newest(ctx context.Context, id string) (Publisher, error) {
	if ValidID(id) {
		r.cards.drop(id)
	}
	return r.Get(ctx, id)
}

// read reads a publisher; one without an id is none.
func (r *Registry) read(ctx context.Context, id string) (Publisher, error) {
	n, err := r.cfg.Store.LoadName(ctx, store.NamePublisher, id)
	if err != nil {
		return Publisher{}, r.unavailable(ctx, err)
	}
	if n.Value == nil {
		return Publisher{}, nil
	}
	p, err := parseCard(n)
	if err != nil {
		return Publisher{}, r.unavailable(ctx, err)
	}
	return p, nil
}

// Check returns the publisher that an API key is of. Its errors are ErrNone,
// ErrNotActive, ErrKey and LogUnavailable.
func (r *Registry) Check(ctx context.Context, id, key string) (Publisher, error) {
	p, err := r.Get(ctx, id)
	switch {
	case err != nil:
		return Publisher{}, err
	case p.State != Active:
		return Publisher{}, ErrNotActive
	case len(key) != KeyLength || !p.keyIs(key):
		return Publisher{}, ErrKey
	}
	return p, nil
}

// Owned returns the publishers that a user registered, oldest first.
func (r *Registry) Owned(ctx context.Context, owner presence.User) ([]Publisher, error) {
	f, err := r.folder(ctx, owner)
	if err != nil {
		return nil, err
	}
	var all []Publisher
	for _, id := range f.Owned {
		p, err := r.Get(ctx, id)
		if err == nil && p.App == owner.App && p.Owner == owner.ID {
			all = append(all, p)
		} else if err != nil && !errors.Is(err, ErrNone) {
			return nil, err
		}
	}
	return all, nil
}

// Each calls f with the publishers of an app, of all if it is "", in no order.
func (r *Registry) Each(ctx context.Context, app presence.AppID, f func(Publisher) error) error {
	return r.cfg.Store.ScanNames(ctx, store.NamePublisher, func(n store.Named) error {
		p, err := parseCard(n)
		if err != nil || app != "" && p.App != app {
			return err
		}
		return f(p)
	})
}

// Prove notes that the publisher's domain served its proof; see
// Publisher.Proves. One that is beyond that stays as it is.
func (r *Registry) Prove(ctx context.Context, id string) (Publisher, error) {
	return r.change(ctx, id, func(p *Publisher) error {
		p.State = max(p.State, Proven)
		return nil
	})
}

// Activate makes a new API key, the only time that it is seen; one that there
// was is void. ErrNotProven comes before the domain is proven, and ErrMoved when
// expect is not 0 and not the publisher's revision any more, so that a form that is
// sent twice makes one key.
func (r *Registry) Activate(ctx context.Context, id string, expect uint64) (key string, _ Publisher, _ error) {
	key = newKey()
	was := Registered
	p, err := r.change(ctx, id, func(p *Publisher) error {
		if was = p.State; was < Proven {
			return ErrNotProven
		}
		if expect != 0 && expect != p.revision {
			return ErrMoved
		}
		p.State, p.keyHash = Active, sha256.Sum256([]byte(key))
		return nil
	})
	if err != nil {
		return "", p, err
	}
	if was == Active {
		r.tell(ctx, Change{Kind: Deactivated, Publisher: id})
	}
	r.tell(ctx, Change{Kind: Activated, Publisher: id})
	return key, p, nil
}

// Deactivate makes the API key void. Grants stay.
func (r *Registry) Deactivate(ctx context.Context, id string) (Publisher, error) {
	p, err := r.change(ctx, id, func(p *Publisher) error {
		p.State, p.keyHash = min(p.State, Proven), [sha256.Size]byte{}
		return nil
	})
	if err == nil {
		r.tell(ctx, Change{Kind: Deactivated, Publisher: id})
	}
	return p, err
}

// change edits a publisher and stores it.
func (r *Registry) change(ctx context.Context, id string, edit func(*Publisher) error) (Publisher, error) {
	if !ValidID(id) {
		return Publisher{}, ErrNone
	}
	defer r.cards.drop(id)
	var err error
	for range attempts {
		var p Publisher
		if p, err = r.read(ctx, id); err != nil {
			return p, err
		}
		if p.ID == "" {
			return p, ErrNone
		}
		if err = edit(&p); err != nil {
			return p, err
		}
		p.revision, err = r.cfg.Store.SaveName(ctx, store.NamePublisher, store.Named{Name: id, Value: p.encode(), Revision: p.revision})
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, store.ErrMoved) {
			break
		}
	}
	return Publisher{}, r.unavailable(ctx, err)
}

// Remove takes a publisher away: first its API key, then every grant of it, then
// itself. It reads what all users of the app granted. After an error something is
// left; repeat it.
func (r *Registry) Remove(ctx context.Context, id string) error {
	p, err := r.Deactivate(ctx, id)
	if err != nil {
		return err
	}
	err = r.EachGrant(ctx, p, func(g Grant) error {
		_, _, err := r.Revoke(ctx, g.User, id)
		return err
	})
	if err != nil {
		return err
	}
	for _, kind := range []store.NameKind{store.NameQueue, store.NamePublisher} {
		if err := r.unname(ctx, kind, id); err != nil {
			return err
		}
	}
	owner := presence.User{App: p.App, ID: p.Owner}
	err = r.edit(ctx, owner, func(f *folder) error {
		f.Owned = slices.DeleteFunc(slices.Clone(f.Owned), func(o string) bool { return o == id })
		return nil
	})
	if err == nil {
		r.tell(ctx, Change{Kind: Removed, Publisher: id})
	}
	return err
}

// unname takes a named value away.
func (r *Registry) unname(ctx context.Context, kind store.NameKind, name string) error {
	var err error
	for range attempts {
		var n store.Named
		if n, err = r.cfg.Store.LoadName(ctx, kind, name); err != nil || n.Value == nil {
			break
		}
		n.Value = nil
		if _, err = r.cfg.Store.SaveName(ctx, kind, n); err == nil || !errors.Is(err, store.ErrMoved) {
			break
		}
	}
	if err != nil {
		return r.unavailable(ctx, err)
	}
	return nil
}

// unavailable makes a fault of an error of the store.
func (r *Registry) unavailable(ctx context.Context, err error) error {
	if ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
		r.log.WarnContext(ctx, "publishers and grants cannot be read or stored", "error", err)
	}
	return fault.Retry(fault.LogUnavailable, retryStore, "what publishers and grants there are cannot be read or stored now; try again")
}
