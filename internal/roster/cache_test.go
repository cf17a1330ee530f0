package roster

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestFormerFriendsAreBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{Visibility: Friends, MaxFriends: 3}, func(t *testing.T, r *rig) {
		r.session("alice", 1)
		for i := range 10 {
			id := presence.UserID(fmt.Sprint("friend ", i))
			r.present.goes(presence.Time(100+i), id)
			if _, _, err := r.Replace(context.Background(), demo("alice"), []presence.UserID{id}); err != nil {
				t.Fatal(err)
			}
		}
		now := presence.At(time.Now())
		r.wantSight("alice", "friend 9", true, 0, 0)
		r.wantSight("alice", "friend 8", false, now, 108)
		r.wantSight("alice", "friend 6", false, now, 106)
		r.wantSight("alice", "friend 5", false, 0, 0)
	})
}

// TestCacheIsBounded: lists that no session needs go, the others stay.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, AppConfig{Visibility: Friends})
		r.stop()
		r.cache = 100_000
		r.start()
		for i := range 200 {
			user := presence.UserID(fmt.Sprint("user ", i))
			r.add(user, "bob")
			if i < 10 {
				r.session(user, byte(i))
			}
		}
		r.mu.RLock()
		if len(r.pages) > 200 || len(r.pages) < 100 || r.bytes > r.cache {
			t.Errorf("got %d pages in memory and %d bytes of idle ones, want it near the limit of %d", len(r.pages), r.bytes, r.cache)
		}
		r.mu.RUnlock()
		for i := range 10 {
			r.wantSight(presence.UserID(fmt.Sprint("user ", i)), "bob", true, 0, 0)
			r.Gone(presence.SessionID{byte(i)})
			r.Gone(presence.SessionID{byte(i)})
		}
		r.wantFriends("user 5", "bob")
		r.mu.RLock()
		if r.bytes > r.cache || len(r.sessions) > 0 {
			t.Errorf("after all sessions went: %d bytes of idle pages and %d sessions, want at most %d and none", r.bytes, len(r.sessions), r.cache)
		}
		total := 0
		for _, p := range r.pages {
			total += p.size
			if p.idle == nil || p.users > 0 || p.sessions > 0 {
				t.Errorf("page of %s is still in use", p.user.ID)
			}
		}
		if total != r.bytes {
			t.Errorf("idle pages have %d bytes, and %d are counted", total, r.bytes)
		}
		r.mu.RUnlock()
		r.stop()
	})
}

// TestCacheCountsEmptyLists: users without friends, whom anybody may ask about,
// take room too.
func TestCacheCountsEmptyLists(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, AppConfig{Visibility: Friends})
		r.stop()
		r.cache = 20_000
		r.start()
		for i := range 1000 {
			r.wantFriends(presence.UserID(fmt.Sprint("user ", i)))
		}
		r.mu.RLock()
		if n := len(r.pages); n > 100 || n < 10 {
			t.Errorf("got %d pages of users without friends in memory, want the limit of %d bytes to count them", n, r.cache)
		}
		r.mu.RUnlock()
		r.stop()
	})
}
