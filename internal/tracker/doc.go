// Package tracker knows who is online on this node: it keeps the sessions in a
// sharded table, lives their lives (made, connected, lost, resumed, closed),
// gives time its say, applies what the log acknowledged, and publishes a new
// picture of a user with every visible change.
//
// It knows the rules of presence and the contract of the store; it knows no
// wire, no watcher and no engine. Doors call it; a [Listener], wired in app,
// hears of new pictures; a connection is to it a [Link].
//
// What waits for the disk and what does not (design §2): opening, moving,
// hiding and showing are stored, then visible, then answered. Closing is
// visible at once and answered when stored. A status change, a heartbeat and a
// resume never wait. What a server sets or erases waits for the checkpoint, too:
// a server does not say it again after a crash.
//
// With several nodes (Config.Cluster) each tracker holds the sessions of all: its
// own as above, those of others as their owners tell of them (merge.go), packed
// (packed.go) and without timers. The log decides which sessions there are: every
// tracker follows it, folds all of it in its order, and its own claims take effect
// when they are read there (follow.go). A device that comes back at another node
// is taken over (take.go); who is gone is swept (origin.go); a node that was cut
// off lets time stand still (isolate.go). A session's owner is the incarnation in
// its epoch.
//
// Each session has one pending operation at most (session.pending). A caller
// whom it stands in the way waits for it, ten seconds at most: an opening for
// everyone who needs to know whether the session is open, hiding and showing for
// those who change its status only, so that a session ends although the store
// does not answer. All fields of users and sessions are guarded by
// the lock of their shard. The listener is called without that lock: pictures
// carry versions, so their order does not matter.
package tracker
