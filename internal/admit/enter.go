package admit

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// friendsWait is how long a device that comes back after a restart waits for
// its friend list before it is connected without.
const friendsWait = time.Second

// Entry is a session that may be taken up: nothing of it has changed yet.
type Entry struct {
	Device  *presence.Device // as it was made
	Watcher *hub.Watcher

	gate  *Gate
	ref   tracker.Ref
	after *uint64
}

// Prepare checks that a session may be taken up by a device that has the
// messages up to number after, or claims none with nil. It changes nothing that
// anybody sees, and fails with SessionGone, ResumeFromFuture, or, when another node
// has the session, NodeUnavailable. maker is the node that made it, by its token.
func (g *Gate) Prepare(ctx context.Context, ref tracker.Ref, maker uint64, after *uint64) (*Entry, error) {
	if err := g.cfg.Tracker.Look(ctx, ref, maker); err != nil {
		return nil, err
	}
	device, err := g.cfg.Tracker.CheckResume(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := g.cfg.Roster.Hold(ctx, ref.User, ref.Session); err != nil {
		// Being online does not depend on a list; whom one sees waits for it.
		g.cfg.Roster.Rejoin(ref.User, ref.Session, nil)
	}
	w, err := g.join(ref, device.Locale)
	if err != nil {
		return nil, err
	}
	if err := w.CanResume(after); err != nil {
		return nil, err
	}
	return &Entry{Device: device, Watcher: w, gate: g, ref: ref, after: after}, nil
}

// Reader is where a session's messages go from now on.
type Reader struct {
	Encoder hub.Encoder
	Wake    func() // see hub.Watcher.Attach
}

// Entered says how a session was taken up.
type Entered struct {
	tracker.Connected
	// Attachment names the reader to the watcher.
	Attachment uint64
	// Resync: what the device holds may be old; a full snapshot follows.
	Resync bool
}

// Enter puts the session on the link and its messages to the reader. With an
// error the link may be the session's all the same: the door calls
// Tracker.LinkLost, which does no harm where it is not. What the session watched
// before its node started anew is watched again.
func (e *Entry) Enter(ctx context.Context, p tracker.ConnectParams, r Reader) (Entered, error) {
	c, err := e.gate.cfg.Tracker.Connect(ctx, e.ref, p)
	if err != nil {
		return Entered{}, err
	}
	if err := e.restore(ctx, c); err != nil {
		return Entered{}, err
	}
	after := e.after
	if !c.Resumed {
		after = nil
	}
	a, err := e.Watcher.Attach(r.Encoder, r.Wake, after)
	if err != nil {
		return Entered{}, err
	}
	// Where its messages began anew, as at another node, the watcher cannot know that
	// the device, which does not say what it has, may hold what was there before.
	resync := a.Resync || c.Unclean || c.Resumed && e.after == nil
	return Entered{Connected: c, Attachment: a.Stream, Resync: resync}, nil
}

// restore takes up what the session watched before its node started anew.
func (e *Entry) restore(ctx context.Context, c tracker.Connected) error {
	if len(c.Restored) == 0 && !c.RestoredFriends {
		return nil
	}
	// With a number to go on from, Attach marks the end of the full snapshot.
	scope := hub.ScopeAll
	if e.after != nil || len(c.Restored) == 0 {
		scope = hub.ScopeNone
	}
	if err := e.Watcher.Restore(c.Restored, scope); err != nil {
		return err
	}
	if c.RestoredFriends {
		e.Watcher.WatchFriendsLater() // the subscription stands, with or without a list
		e.rejoin(ctx)
	}
	e.gate.cfg.Tracker.WatchesChanged(e.ref)
	return nil
}

// rejoin makes the session follow its friends again: at once, or if the list
// cannot be read now, when it can be. The device is told of them then.
func (e *Entry) rejoin(ctx context.Context) {
	w, roster := e.Watcher, e.gate.cfg.Roster
	follow := func(friends []presence.UserID) error {
		if !w.OwesFriends() {
			return nil // the device has subscribed or unsubscribed itself meanwhile
		}
		_, err := w.WatchFriends(friends)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, friendsWait)
	defer cancel()
	if roster.Follow(ctx, e.ref.User, follow) != nil {
		roster.Rejoin(e.ref.User, e.ref.Session, follow)
		if !e.gate.cfg.Tracker.Alive(e.ref) {
			roster.Gone(e.ref.Session) // it ended just before: nobody else would take this back
		}
	}
}
