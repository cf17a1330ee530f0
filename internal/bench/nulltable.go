package bench

import "sync"

// nullFrames are the messages about one user, encoded in advance. They have
// the fields, and so the size, of real ones.
type nullFrames struct {
	current, opened, changed, offline []byte
	topic                             []byte // a message of the load of topics
}

// nullTable is what a null server knows, at any door: user → watchers.
type nullTable struct {
	encode func(name string) (nullFrames, error)

	mu    sync.RWMutex // guards users, and the watchers and friends of each
	users map[string]*nullUser
}

func newNullTable(encode func(string) (nullFrames, error)) nullTable {
	return nullTable{encode: encode, users: make(map[string]*nullUser)}
}

// nullUser is one user: who watches him, his frames, his connection.
type nullUser struct {
	name     string
	watchers []*nullUser // guarded by nullTable.mu
	friends  []*nullUser // guarded by nullTable.mu
	frames   nullFrames

	mu   sync.Mutex // guards sink, which takes one message at a time
	sink nullSink   // nil while not connected
}

// nullSink is a user's connection.
type nullSink interface{ send(msg any) }

// send sends a message to the user, if he is connected.
func (u *nullUser) send(msg any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sink != nil {
		u.sink.send(msg)
	}
}

func (u *nullUser) connected(to nullSink) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sink = to
}

func (u *nullUser) online() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sink != nil
}

// user returns the entry of a user, making it when he is new. n.mu is held.
func (n *nullTable) user(name string) (*nullUser, error) {
	if u := n.users[name]; u != nil {
		return u, nil
	}
	frames, err := n.encode(name)
	if err != nil {
		return nil, err
	}
	u := &nullUser{name: name, frames: frames}
	n.users[name] = u
	return u, nil
}

// watch makes me a watcher of the named users.
func (n *nullTable) watch(me *nullUser, names []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		u, err := n.user(name)
		if err != nil {
			return err
		}
		u.watchers = append(u.watchers, me)
		me.friends = append(me.friends, u)
	}
	return nil
}

// around returns whom a user watches, and who watches him.
func (n *nullTable) around(u *nullUser) (friends, watchers []*nullUser) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return u.friends, u.watchers
}
