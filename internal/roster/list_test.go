package roster

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestListsAreKept(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		ctx := context.Background()
		r.wantFriends("alice")
		if !r.add("alice", "bob") || r.add("alice", "bob") {
			t.Error("adding bob twice: want a change once")
		}
		must[bool](t)(r.Add(ctx, demo("alice"), "carol", true))
		r.wantFriends("alice", "bob", "carol")
		r.wantFriends("carol", "alice")
		r.wantHeard("friends of alice: +[bob] -[]", "friends of alice: +[carol] -[]", "friends of carol: +[alice] -[]")
		r.restart()
		r.wantFriends("alice", "bob", "carol")
		if !must[bool](t)(r.Remove(ctx, demo("alice"), "bob", true)) || must[bool](t)(r.Remove(ctx, demo("alice"), "bob", true)) {
			t.Error("removing bob twice: want a change once")
		}
		r.wantHeard("friends of alice: +[] -[bob]")
		added, removed, err := r.Replace(ctx, demo("alice"), []presence.UserID{"dave", "carol", "dave", "erin"})
		if added != 2 || removed != 0 || err != nil {
			t.Errorf("Replace: got +%d -%d, %v, want +2 -0", added, removed, err)
		}
		r.wantHeard("friends of alice: +[dave erin] -[]")
		r.restart()
		r.wantFriends("alice", "dave", "carol", "erin")
		if added, removed, err = r.Replace(ctx, demo("alice"), nil); added != 0 || removed != 3 || err != nil {
			t.Errorf("Replace with nobody: got +%d -%d, %v, want +0 -3", added, removed, err)
		}
		r.restart()
		r.wantFriends("alice")
		if r.Sight(demo("alice")) != nil {
			t.Error("Sight where nobody is limited: got one, want nil")
		}
	})
}

func TestRefusesWhatCannotBeAFriend(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{MaxFriends: 2}, func(t *testing.T, r *rig) {
		ctx := context.Background()
		for _, id := range []presence.UserID{"", "alice", "a\nb", presence.UserID(strings.Repeat("x", presence.MaxUserID+1)), "\xff"} {
			_, err := r.Add(ctx, demo("alice"), id, true)
			wantKind(t, err, fault.FieldInvalid)
			_, _, err = r.Replace(ctx, demo("alice"), []presence.UserID{"bob", id})
			wantKind(t, err, fault.FieldInvalid)
			_, err = r.Block(ctx, demo("alice"), id)
			wantKind(t, err, fault.FieldInvalid)
			_, err = r.Unblock(ctx, demo("alice"), id)
			wantKind(t, err, fault.FieldInvalid)
		}
		_, err := r.Add(ctx, demo(""), "bob", false)
		wantKind(t, err, fault.FieldInvalid)
		wantKind(t, r.Push(ctx, demo("alice"), []presence.UserID{"bob"}, nil), fault.FieldInvalid)
		r.wantFriends("alice")
		r.wantHeard()
	})
}

func TestFullListsTakeNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{MaxFriends: 2}, func(t *testing.T, r *rig) {
		ctx := context.Background()
		r.add("bob", "x")
		r.add("bob", "y")
		r.add("alice", "x")
		r.heard.take()
		_, err := r.Add(ctx, demo("alice"), "bob", true) // bob's list is full
		wantKind(t, err, fault.LimitFriends)
		_, err = r.Add(ctx, demo("bob"), "alice", true)
		wantKind(t, err, fault.LimitFriends)
		_, _, err = r.Replace(ctx, demo("alice"), []presence.UserID{"a", "b", "c"})
		wantKind(t, err, fault.LimitFriends)
		r.wantFriends("alice", "x")
		r.wantFriends("bob", "x", "y")
		r.wantHeard()
		for i := range 3 {
			_, err = r.Block(ctx, demo("alice"), presence.UserID(fmt.Sprint("blocked ", i)))
		}
		wantKind(t, err, fault.LimitFriends)
		// A limit that was lowered takes nothing away, and lets a list shrink.
		r.SetApps(map[presence.AppID]AppConfig{"demo": {MaxFriends: 1}})
		r.wantFriends("bob", "x", "y")
		_, err = r.Add(ctx, demo("bob"), "z", false)
		wantKind(t, err, fault.LimitFriends)
		if !must[bool](t)(r.Remove(ctx, demo("bob"), "x", false)) {
			t.Error("removing from a list above the limit: got no change, want one")
		}
	})
}
