package client

import (
	"iter"
	"maps"
	"slices"
	"unicode/utf8"
)

// wants is what this end wants of the server, and how much of it the server
// may not know yet. It has no lock.
type wants struct {
	watched map[string]struct{}
	// unwatched are those the server may still watch for us.
	unwatched map[string]struct{}
	// watchOwed: the server may not know all of watched.
	watchOwed bool
	friends   friends

	status  Status  // the last one that the server took, or the first
	version uint64  // grows with status
	pending *Status // a newer one that did not reach the server
	telling bool    // what is owed is on its way already, though the link never went down
}

// owed reports whether the server may not know all that is wanted.
func (w *wants) owed() bool {
	return w.watchOwed || len(w.unwatched) > 0 || w.pending != nil || w.friends.owed || w.friends.left
}

func newWants(o Options) wants {
	w := wants{watched: map[string]struct{}{}, unwatched: map[string]struct{}{}, status: o.Status.clone()}
	w.friends = friends{wanted: o.Friends, owed: o.Friends, parted: map[string]struct{}{}}
	for _, u := range o.Watch {
		w.watched[u] = struct{}{}
	}
	return w
}

// wish is the status that the program wants by now.
func (w *wants) wish() Status {
	if w.pending != nil {
		return *w.pending
	}
	return w.status
}

// took notes that the server has s.
func (w *wants) took(s Status) {
	w.status, w.pending = s, nil
	w.version++
}

func (w *wants) watches(user string) bool {
	_, ok := w.watched[user]
	return ok
}

// users lists the watched users in order.
func (w *wants) users() []string { return slices.Sorted(maps.Keys(w.watched)) }

// chunks cuts users into parts for one call each.
func chunks(users []string) iter.Seq[[]string] { return slices.Chunk(users, chunk) }

// maxUserID is the longest user id in bytes (protocol note A5).
const maxUserID = 128

// checkUsers refuses ids that no server takes.
func checkUsers(users []string) error {
	for _, u := range users {
		if u == "" || len(u) > maxUserID || !utf8.ValidString(u) {
			return invalid("user_id", "a user id is 1 to 128 bytes of UTF-8")
		}
	}
	return nil
}
