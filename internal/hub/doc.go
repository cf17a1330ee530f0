// Package hub tells the watchers of this node what changed: it keeps who
// watches whom, gives a new watch its snapshot and then every change, and
// bounds what a slow watcher costs.
//
// It knows watchers and pictures of presence, nothing of storage, sessions'
// lives or wires. A door makes a [Watcher] per session, attaches a connection
// with the door's [Encoder], and calls [Watcher.Drain] on its own goroutine when
// it is woken.
//
// How nothing is lost, doubled or reordered (design §5): a queue holds the
// targets that changed, not messages. An edge remembers the version of the
// target it last sent. A drain compares that with the target's newest picture
// and sends the difference. So a change during a snapshot is part of it or
// comes after it; an unsent older status is simply never seen again; and a
// queue is never longer than the list of what is watched.
//
// An edge has sources: the device asked for the target by name, or he is on the
// friend list that [Hub.FriendsChanged] keeps up to date; it lives while it has
// one, and each change is told once.
//
// Who may see whom (R11): a [Sight] says whom a watcher may not see. When that
// begins, the hub makes a picture of the target as if he had left, and tells the
// watcher of it by the same code as of any other; so what is sent, repeated and
// left out is bit for bit what it is for one who left. Two things follow for
// everybody: an edge never tells of closes from before its beginning, and of
// several sessions that closed only the last leaves the user offline.
//
// Locks, in the order they are taken: Watcher.mu, then shard.mu or target.mu,
// then Watcher.queue.mu. Hub.mu is held alone. Of the Seer nothing is asked with a
// lock held. Wake is called with target.mu held for reading, so it
// must not block nor call back into the hub on the same goroutine.
package hub
