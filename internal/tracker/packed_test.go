package tracker

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// TestPackedComesBack packs users and makes them whole again.
func TestPackedComesBack(t *testing.T) {
	t.Parallel()
	tr := New(Config{Cluster: &Cluster{}})
	sh := &tr.shards[0]
	rapidtest.Check(t, func(t *rapid.T) {
		u := &user{name: presence.User{App: app, ID: "u"}, tally: sh.tallies.app(app), version: rapid.Uint32().Draw(t, "version"), floor: 3, veiled: 2, seen: 7, shown: 5}
		u.folded.Seq = 9
		for range rapid.IntRange(0, 3).Draw(t, "sessions") {
			m := genTold(t)
			m.truth.Closed, m.shown.Closed, m.truth.ClosedAt, m.truth.Reason, m.shown.ClosedAt, m.shown.Reason = 0, 0, 0, 0, 0, 0
			s := &session{id: m.ref.Session, public: m.public, user: u, foreign: true, phase: presence.PhaseLive, device: &m.device, epoch: m.epoch, revision: m.revision, status: m.status, truth: m.truth, shown: m.shown}
			if m.ttl > 0 {
				s.life.ttl, s.seldom().until = m.ttl, m.until
			}
			if rapid.Bool().Draw(t, "folded") {
				u.folded.Sessions = append(u.folded.Sessions, presence.FoldedSession{ID: s.id, Public: s.public, Phase: presence.FoldOpen, Epoch: s.epoch, Device: m.device})
			}
			u.sessions = append(u.sessions, s)
		}
		p := packed(u.pack(nil))
		got := sh.unpack(u.name, p)
		if d := cmp.Diff(u.paint(), got.newest()); d != "" {
			t.Fatalf("the picture is another (-want +got):\n%s", d)
		}
		for i, s := range u.sessions {
			if d := cmp.Diff(s.told(), got.sessions[i].told(), cmp.AllowUnexported(told{})); d != "" {
				t.Fatalf("session %d is another (-want +got):\n%s", i, d)
			}
			if !p.ofOwner(s.epoch.Incarnation) {
				t.Fatalf("it does not say that node %d has session %d", s.epoch.Incarnation, i)
			}
		}
	})
}

func TestOthersUsersAreAtRest(t *testing.T) {
	inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{Platform: "ios"})
		wait(10 * time.Millisecond)
		atRest := func() bool {
			sh := b.tr.shard(bob)
			sh.mu.Lock()
			defer sh.mu.Unlock()
			_, ok := sh.peers.packed[bob]
			return ok
		}
		online := func() []presence.UserID {
			users, _, _ := b.tr.Online(app, Place{}, 10)
			return users
		}
		if !atRest() || !slices.Equal(online(), []presence.UserID{"bob"}) || b.tr.Count(app).Users != 1 {
			t.Errorf("at rest %v, online %v, counted %+v", atRest(), online(), b.tr.Count(app))
		}
		if _, err := b.connect(ref, nil); err != nil {
			t.Fatal(err)
		}
		wait(10 * time.Millisecond)
		if atRest() || !slices.Equal(online(), []presence.UserID{"bob"}) || b.tr.Count(app) != (Count{Users: 1, Live: 1}) {
			t.Errorf("taken over: at rest %v, online %v, counted %+v", atRest(), online(), b.tr.Count(app))
		}
		if _, err := a.tr.Close(context.Background(), ref, presence.ReasonLeft); err != nil {
			t.Fatal(err)
		}
		wait(5 * time.Minute) // its close is remembered for a while
		if len(online()) != 0 || a.tr.Count(app).Users != 0 {
			t.Errorf("closed: online %v, counted %+v", online(), a.tr.Count(app))
		}
	})
}

// A sweep forgets of the packed what the fold need not know any more, and puts
// nobody among the others for it.
func TestRestForgetsOfThePacked(t *testing.T) {
	t.Parallel()
	tr := New(Config{Cluster: &Cluster{}})
	sh := &tr.shards[0]
	long := tr.now().Add(-presence.KeepClosed - time.Minute)
	for name, sessions := range map[presence.UserID][]presence.FoldedSession{
		"gone": {{ID: presence.SessionID{1}, Phase: presence.FoldClosed, ClosedAt: long}},
		"left": {{ID: presence.SessionID{2}, Phase: presence.FoldClosed, ClosedAt: tr.now()}},
		"here": {{ID: presence.SessionID{3}, Phase: presence.FoldOpen}},
	} {
		u := &user{name: presence.User{App: app, ID: name}, tally: sh.tallies.app(app)}
		u.folded.Seq, u.folded.Sessions = 1, sessions
		sh.users[u.name] = u
		tr.rest(sh, u)
	}
	if tr.restAll(sh); len(sh.users) != 0 || len(sh.peers.packed) != 3 {
		t.Fatalf("got %d users awake and %d packed, want all three packed", len(sh.users), len(sh.peers.packed))
	}
	for name, want := range map[presence.UserID]int{"gone": 0, "left": 1, "here": 1} {
		u := sh.peek(presence.User{App: app, ID: name})
		if got := len(u.folded.Sessions); got != want {
			t.Errorf("%s: got %d sessions in the fold, want %d", name, got, want)
		}
		if p := sh.peers.packed[u.name]; name == "here" && p[0]&packedForgets != 0 || name == "left" && p[0]&packedForgets == 0 {
			t.Errorf("%s: got the flags %b", name, p[0])
		}
	}
}
