package roster

import (
	"context"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestErase(t *testing.T) {
	t.Parallel()
	for _, v := range []Visibility{Everyone, Friends} {
		inBubble(t, AppConfig{Visibility: v}, func(t *testing.T, r *rig) {
			ctx := context.Background()
			r.present.comes("alice")
			must[bool](t)(r.Add(ctx, demo("alice"), "bob", true))
			r.add("carol", "alice")
			r.add("carol", "bob")
			r.add("dave", "alice")
			must[bool](t)(r.Remove(ctx, demo("dave"), "alice", false)) // a former friend
			must[bool](t)(r.Block(ctx, demo("alice"), "erin"))
			must[bool](t)(r.Block(ctx, demo("bob"), "alice"))
			must[bool](t)(r.Block(ctx, demo("bob"), "erin"))
			other := presence.User{App: "other", ID: "carol"}
			must[bool](t)(r.Add(ctx, other, "alice", false))
			r.session("carol", 1)
			r.session("erin", 2)
			r.heard.take()
			if err := r.Erase(ctx, demo("alice")); err != nil {
				t.Fatal(err)
			}
			heard := map[string]bool{}
			for _, line := range r.heard.take() {
				heard[line] = true
			}
			for _, want := range []string{"friends of carol: +[] -[alice]", "friends of bob: +[] -[alice]", "friends of alice: +[] -[bob]", "sight of erin: [alice]"} {
				if !heard[want] {
					t.Errorf("the listener did not hear %q", want)
				}
			}
			for range 2 {
				r.wantFriends("alice")
				r.wantFriends("bob")
				r.wantFriends("carol", "bob")
				if got := must[[]presence.UserID](t)(r.Blocks(ctx, demo("bob"))); len(got) != 1 || got[0] != "erin" {
					t.Errorf("blocks of bob: got %v, want erin alone", got)
				}
				if got := must[[]presence.UserID](t)(r.Friends(ctx, other)); len(got) != 1 {
					t.Errorf("the list of another app: got %v, want alice on it", got)
				}
				r.session("dave", 3)
				r.wantSight("erin", "alice", v == Everyone, 0, 0)
				r.wantSight("dave", "alice", v == Everyone, 0, 0)
				r.restart()
				r.session("erin", 2)
			}
			if err := r.Erase(ctx, demo("alice")); err != nil {
				t.Errorf("a second time: got %v, want no error", err)
			}
		})
	}
}

// TestEraseBesideASource: what was stored before the lists were somebody else's
// goes too, and what the source says stays.
func TestEraseBesideASource(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		ctx := context.Background()
		r.add("alice", "bob")
		r.add("carol", "alice")
		b := &backend{lists: map[presence.UserID][]presence.UserID{"carol": {"alice", "dave"}}}
		r.SetApps(map[presence.AppID]AppConfig{"demo": {Source: b}})
		r.wantFollow("carol", "alice", "dave")
		r.heard.take()
		if err := r.Erase(ctx, demo("alice")); err != nil {
			t.Fatal(err)
		}
		r.wantHeard()
		r.wantFollow("carol", "alice", "dave")
		r.SetApps(map[presence.AppID]AppConfig{"demo": {}})
		r.wantFriends("alice")
		r.wantFriends("carol")
	})
}
