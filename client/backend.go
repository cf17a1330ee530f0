package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// BackendConfig says where a Backend speaks to and with which key.
type BackendConfig struct {
	// URL is the server's HTTP address, such as "https://presence.example:7400".
	URL string
	// Key is a server key of the app. It selects the app and may do everything in
	// it: it belongs on servers, never on devices.
	Key string
	// Locale is the language of texts that are references, such as "pt-BR"; empty
	// shows their fallback.
	Locale string
	// HTTP makes the requests; nil is one that waits at most 30 s for an answer.
	HTTP *http.Client
}

// Format hides the key from every verb, and the URL, which may hold a secret.
func (BackendConfig) Format(f fmt.State, _ rune) {
	io.WriteString(f, "backend (URL and key not shown)")
}

// LogValue hides it from log/slog.
func (c BackendConfig) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Backend is what an app's own server tells and asks about its users, by the
// REST API: friend lists, blocks, sessions, presences of bots. Its methods may
// be called from several goroutines and may be repeated: what is done already is
// done again without harm. They fail with an [*Error], or with the caller's
// context.
type Backend struct {
	locale string
	base   string
	key    func() string // a func, because it prints as an address
	http   *http.Client
}

// answerLimit bounds one request.
const answerLimit = 30 * time.Second

// NewBackend checks cfg; nothing is asked yet.
func NewBackend(cfg BackendConfig) (*Backend, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("porchlight: the URL of a backend is http:// or https:// with a host and nothing secret, such as https://presence.example:7400")
	}
	if cfg.Key == "" {
		return nil, errors.New("porchlight: a backend needs a server key of its app")
	}
	b := &Backend{locale: cfg.Locale, base: u.JoinPath("api", "v1").String(), key: func() string { return cfg.Key }, http: cfg.HTTP}
	if b.http == nil {
		b.http = &http.Client{Timeout: answerLimit}
	}
	return b, nil
}

// Query asks for users, at most 1,000 at a time here; one Presence comes for
// each, in their order. With truth it tells what only the user's own devices
// see otherwise: sessions that are invisible, marked by Presence.Invisible, and
// the true last seen.
func (b *Backend) Query(ctx context.Context, truth bool, users ...string) ([]Presence, error) {
	var answer struct {
		Users []backendUser `json:"users"`
	}
	ask := map[string]any{"users": users}
	if truth {
		ask["view"] = true
	}
	if b.locale != "" {
		ask["locale"] = b.locale
	}
	if err := b.call(ctx, http.MethodPost, b.path("users", "query"), ask, &answer); err != nil {
		return nil, err
	}
	list := make([]Presence, len(answer.Users))
	for i := range answer.Users {
		list[i] = answer.Users[i].presence()
	}
	return list, nil
}

// Online counts the app's users who are available as others see them.
func (b *Backend) Online(ctx context.Context) (users int, err error) {
	var answer struct {
		Users int `json:"users"`
	}
	err = b.call(ctx, http.MethodGet, b.path("online", "count"), nil, &answer)
	return answer.Users, err
}

// Friends returns a user's whole list, in its order.
func (b *Backend) Friends(ctx context.Context, user string) ([]string, error) {
	return b.pages(ctx, b.path("users", user, "friends"), "friends")
}

// SetFriends makes friends the user's whole list; sessions that follow it are
// told of the difference.
func (b *Backend) SetFriends(ctx context.Context, user string, friends []string) (added, removed int, err error) {
	var answer struct{ Added, Removed int }
	if friends == nil {
		friends = []string{}
	}
	err = b.call(ctx, http.MethodPut, b.path("users", user, "friends"), map[string]any{"friends": friends}, &answer)
	return answer.Added, answer.Removed, err
}

// AddFriend puts friend on the user's list, and with both the user on friend's.
// changed is false when it was so already.
func (b *Backend) AddFriend(ctx context.Context, user, friend string, both bool) (changed bool, err error) {
	return b.change(ctx, http.MethodPut, b.path("users", user, "friends", friend)+direction(both))
}

// RemoveFriend is the opposite of AddFriend.
func (b *Backend) RemoveFriend(ctx context.Context, user, friend string, both bool) (changed bool, err error) {
	return b.change(ctx, http.MethodDelete, b.path("users", user, "friends", friend)+direction(both))
}

// Blocks returns whom the user blocks.
func (b *Backend) Blocks(ctx context.Context, user string) ([]string, error) {
	return b.pages(ctx, b.path("users", user, "blocks"), "blocks")
}

// Block makes user look offline to other from now on.
func (b *Backend) Block(ctx context.Context, user, other string) (changed bool, err error) {
	return b.change(ctx, http.MethodPut, b.path("users", user, "blocks", other))
}

// Unblock is the opposite of Block.
func (b *Backend) Unblock(ctx context.Context, user, other string) (changed bool, err error) {
	return b.change(ctx, http.MethodDelete, b.path("users", user, "blocks", other))
}

// Drop ends all sessions of a user, whose devices are told so and do not come
// back by themselves, and says how many there were. With revoke the access
// tokens that the user has are void too: to come back he needs a new one.
func (b *Backend) Drop(ctx context.Context, user string, revoke bool) (sessions int, err error) {
	path := b.path("users", user, "sessions")
	if revoke {
		path += "?revoke_tokens=true"
	}
	return b.drop(ctx, path)
}

// DropSession ends one session, named by its public id; 0 when it was over.
func (b *Backend) DropSession(ctx context.Context, user, session string) (sessions int, err error) {
	return b.drop(ctx, b.path("users", user, "sessions", session))
}

// ServerPresence is a status that a server sets for a user, for a bot or a
// device that cannot hold a session.
type ServerPresence struct {
	Name   string // tells several of one user apart; "" is "server"
	Status Status
	TTL    time.Duration // after it the user is gone unless it is put again; a second to a day, in whole seconds
	Device Device        // as which device it is shown
}

// PutPresence sets or renews a presence; session is its public id.
func (b *Backend) PutPresence(ctx context.Context, user string, p ServerPresence) (session string, err error) {
	if err := p.Status.check(); err != nil {
		return "", err
	}
	var answer struct {
		Session string `json:"session"`
	}
	err = b.call(ctx, http.MethodPut, b.path("users", user, "presence")+named(p.Name), p.wire(), &answer)
	return answer.Session, err
}

// RemovePresence ends what PutPresence set.
func (b *Backend) RemovePresence(ctx context.Context, user, name string) (removed bool, err error) {
	var answer struct {
		Removed bool `json:"removed"`
	}
	err = b.call(ctx, http.MethodDelete, b.path("users", user, "presence")+named(name), nil, &answer)
	return answer.Removed, err
}

// Erase forgets a person: sessions, list, blocks, last seen. goneBy is when the
// last bytes of it leave the server's log.
func (b *Backend) Erase(ctx context.Context, user string) (goneBy time.Time, err error) {
	var answer struct {
		GoneBy time.Time `json:"gone_by"`
	}
	err = b.call(ctx, http.MethodDelete, b.path("users", user), nil, &answer)
	return answer.GoneBy, err
}

func (b *Backend) change(ctx context.Context, method, path string) (bool, error) {
	var answer struct {
		Changed bool `json:"changed"`
	}
	err := b.call(ctx, method, path, nil, &answer)
	return answer.Changed, err
}

func (b *Backend) drop(ctx context.Context, path string) (int, error) {
	var answer struct {
		Dropped int `json:"dropped"`
	}
	err := b.call(ctx, http.MethodDelete, path, nil, &answer)
	return answer.Dropped, err
}

// pages reads a list that comes in several answers; key is its name in them.
func (b *Backend) pages(ctx context.Context, path, key string) ([]string, error) {
	var all []string
	query := url.Values{"limit": {strconv.Itoa(1000)}}
	for {
		var answer map[string]any
		if err := b.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &answer); err != nil {
			return nil, err
		}
		list, _ := answer[key].([]any)
		all = slices.Grow(all, len(list))
		for _, one := range list {
			id, ok := one.(string)
			if !ok {
				return nil, fmt.Errorf("porchlight: the server's list of %s has something that is no user id", key)
			}
			all = append(all, id)
		}
		next, _ := answer["next"].(string)
		if next == "" {
			return all, nil
		}
		query.Set("next", next)
	}
}

func direction(both bool) string {
	if both {
		return "?direction=both"
	}
	return ""
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return "?" + url.Values{"name": {name}}.Encode()
}
