package isonline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// rosterOf is the lists of a test's node.
type rosterOf struct {
	mu    sync.Mutex // guards all below
	lists map[presence.User][]presence.UserID
	// strict: only friends see each other.
	strict  bool
	down    error // what reading a list fails with
	held    map[presence.SessionID]bool
	rejoins []func([]presence.UserID) error
}

// Hold implements Roster.
func (r *rosterOf) Hold(_ context.Context, _ presence.User, id presence.SessionID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.strict && r.down != nil {
		return r.down
	}
	r.held[id] = true
	return nil
}

// Rejoin implements Roster.
func (r *rosterOf) Rejoin(_ presence.User, id presence.SessionID, use func([]presence.UserID) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[id] = true
	if use != nil {
		r.rejoins = append(r.rejoins, use)
	}
}

// Gone implements Roster.
func (r *rosterOf) Gone(id presence.SessionID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, id)
}

// Follow implements Roster.
func (r *rosterOf) Follow(_ context.Context, user presence.User, use func([]presence.UserID) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != nil {
		return r.down
	}
	return use(r.lists[user])
}

// SightOf implements Roster.
func (r *rosterOf) SightOf(_ context.Context, user presence.User) (hub.Sight, error) {
	r.mu.Lock()
	down := r.down
	r.mu.Unlock()
	if r.strict && down != nil {
		return nil, down
	}
	return r.Sight(user), nil
}

// Sight implements hub.Seer.
func (r *rosterOf) Sight(user presence.User) hub.Sight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.strict {
		return nil
	}
	return onlyThese(r.lists[user])
}

// set changes a user's list, as a backend does.
func (r *rosterOf) set(h *hub.Hub, user presence.UserID, friends ...presence.UserID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := presence.User{App: "demo", ID: user}
	old := r.lists[name]
	r.lists[name] = friends
	without := func(a, b []presence.UserID) []presence.UserID {
		return slices.DeleteFunc(slices.Clone(a), func(u presence.UserID) bool { return slices.Contains(b, u) })
	}
	h.FriendsChanged(name, without(friends, old), without(old, friends))
}

func (r *rosterOf) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = err
}

func (r *rosterOf) holds() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}

// onlyThese is the sight of a user who sees nobody but his friends.
type onlyThese []presence.UserID

// Of implements hub.Sight.
func (s onlyThese) Of(u presence.UserID) (visible bool, since, seen presence.Time) {
	return slices.Contains(s, u), 0, 0
}

// ears hear of the tracker's changes, as in a whole node.
type ears struct {
	hub    *hub.Hub
	roster *rosterOf
}

// Changed implements tracker.Listener.
func (e ears) Changed(p *presence.Presence) { e.hub.Changed(p) }

// Gone implements tracker.Listener.
func (e ears) Gone(id presence.SessionID) { e.hub.Gone(id); e.roster.Gone(id) }

var errListsDown = fault.Retry(fault.FriendsUnavailable, 2*time.Second, "the friend list cannot be read now; nothing was subscribed")

func listsDown(_ *testing.T, n *node, d *device) error {
	n.roster.fail(errListsDown)
	defer n.roster.fail(nil)
	return onSession("friends", d)
}

func tooManyFriends(_ *testing.T, n *node, d *device) error {
	n.roster.fail(fault.New(fault.LimitFriends, "the list has more users than the app allows"))
	defer n.roster.fail(nil)
	return onSession("friends", d)
}

func (d *device) friends() *isonlinev1.SubscribeToFriendsIsOnlineResponse {
	d.n.t.Helper()
	r, err := d.api.SubscribeToFriendsIsOnline(d.ctx(), &isonlinev1.SubscribeToFriendsIsOnlineRequest{SessionToken: d.tok})
	if err != nil {
		d.n.t.Fatalf("friends of %s: %v", d.user, err)
	}
	return r
}

// told writes what came on a stream, short.
func told(list []*message) (lines []string) {
	for _, m := range list {
		switch e := m.GetEvent().(type) {
		case *isonlinev1.ConnectToIsOnlineSessionResponse_Connected:
			lines = append(lines, "connected")
		case *isonlinev1.ConnectToIsOnlineSessionResponse_Notification:
			lines = append(lines, fmt.Sprintf("%s %v %v", e.Notification.GetUserId(), e.Notification.GetUserFlag(), e.Notification.GetSession().GetKind()))
		case *isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone:
			lines = append(lines, fmt.Sprintf("done, friends %v, %d", e.SnapshotDone.GetFriends(), e.SnapshotDone.GetUsers()))
		case *isonlinev1.ConnectToIsOnlineSessionResponse_SubscriptionEnded:
			lines = append(lines, fmt.Sprintf("%s ended: %v", e.SubscriptionEnded.GetUserId(), e.SubscriptionEnded.GetReason()))
		}
	}
	return lines
}

func wantTold(t *testing.T, what string, got []*message, want ...string) {
	t.Helper()
	if lines := told(got); !slices.Equal(lines, want) {
		t.Errorf("%s: got %q, want %q", what, lines, want)
	}
}

const offline, online = "USER_FLAG_OFFLINE SESSION_EVENT_KIND_UNSPECIFIED", "USER_FLAG_ONLINE SESSION_EVENT_KIND_"

// Document, "Friend List Subscription": from a session that is made and not yet
// connected to the end of the subscription.
func TestFriends(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		n.roster.set(n.hub, "alice", "bob", "carol")
		n.device("bob").make().connect(nil)
		alice := n.device("alice").make()
		for _, already := range []bool{false, true} {
			if r := alice.friends(); r.GetFriends() != 2 || r.GetAlreadySubscribed() != already {
				t.Errorf("got %d friends, already %v, want 2 and %v", r.GetFriends(), r.GetAlreadySubscribed(), already)
			}
		}
		stream := alice.connect(nil)
		wantTold(t, "first", stream.take(), "connected", "bob "+online+"CURRENT", "carol "+offline, "done, friends true, 2", "done, friends true, 2")
		n.roster.set(n.hub, "alice", "carol", "dave")
		wantTold(t, "changed", stream.take(), "bob ended: NO_LONGER_FRIEND", "dave "+offline)
		alice.subscribe("carol")
		wantTold(t, "by name too", stream.take(), "carol "+offline, "done, friends false, 1")
		r, err := alice.api.UnsubscribeFromUserIsOnline(alice.ctx(), &isonlinev1.UnsubscribeFromUserIsOnlineRequest{SessionToken: alice.tok, UserId: "carol"})
		if err != nil || !r.GetWasSubscribed() || !r.GetStillWatchedAsFriend() {
			t.Errorf("unsubscribe: got %v, %v, want that she is still watched as a friend", r, err)
		}
		for _, was := range []bool{true, false} {
			r, err := alice.api.UnsubscribeFromFriendsIsOnline(alice.ctx(), &isonlinev1.UnsubscribeFromFriendsIsOnlineRequest{SessionToken: alice.tok})
			if err != nil || r.GetWasSubscribed() != was {
				t.Errorf("unsubscribe from friends: got %v, %v, want %v", r, err, was)
			}
		}
		wantTold(t, "ended", stream.take(), "carol ended: UNSUBSCRIBED", "dave ended: UNSUBSCRIBED")
		alice.must(closeSession(alice, isonlinev1.CloseMode_CLOSE_MODE_LOGOUT))
		if got := n.roster.holds(); got != 1 {
			t.Errorf("lists are held for %d sessions, want bob's alone", got)
		}
	})
}

// Where only friends see each other, and their lists cannot be read: whoever
// watches fails, whoever is online or stops watching does not.
func TestListsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		n.roster.strict = true
		n.roster.fail(errListsDown)
		alice := n.device("alice").make()
		for _, method := range []string{"subscribe", "subscribe many", "friends"} {
			got := refusalOf(onSession(method, alice))
			if got.code != codes.Unavailable || got.reason != "FRIENDS_UNAVAILABLE" {
				t.Errorf("%s: got %+v, want FRIENDS_UNAVAILABLE", method, got)
			}
		}
		for _, method := range []string{"unsubscribe", "unsubscribe from friends"} {
			alice.must(onSession(method, alice))
		}
		_, err := alice.api.GetUserIsOnline(alice.ctx(), &isonlinev1.GetUserIsOnlineRequest{UserId: "bob"})
		if got := refusalOf(err); got.reason != "FRIENDS_UNAVAILABLE" {
			t.Errorf("query: got %+v, want FRIENDS_UNAVAILABLE", got)
		}
		wantTold(t, "connect", alice.connect(nil).take(), "connected")
		for _, method := range []string{"unsubscribe", "unsubscribe from friends"} {
			alice.must(onSession(method, alice))
		}
	})
}

// A query shows one who may not be seen as one never heard of, byte for byte.
func TestQueriesObeyTheSight(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		n.roster.strict = true
		n.roster.set(n.hub, "alice", "carol")
		for _, u := range []string{"bob", "carol", "alice"} {
			n.device(u).make().connect(nil)
		}
		alice := n.device("alice")
		r, err := alice.api.BatchGetUserIsOnline(alice.ctx(), &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: []string{"bob", "nobody", "carol", "alice"}})
		alice.must(err)
		bob, nobody := r.GetUsers()[0], proto.CloneOf(r.GetUsers()[1])
		nobody.UserId = "bob"
		if !proto.Equal(bob, nobody) || !proto.Equal(alice.query("bob"), nobody) {
			t.Errorf("bob, who is no friend: got %v, want as one never heard of: %v", bob, nobody)
		}
		for _, u := range r.GetUsers()[2:] {
			if len(u.GetSessions()) != 1 {
				t.Errorf("%s: got %v, want a session", u.GetUserId(), u)
			}
		}
	})
}
