package topic

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("messages (-want +got):\n%s", diff)
	}
}

// TestTheDocumentsExample is the dialogue of the interface's document: a token
// with three mapped attributes, and a subscriber of two of the topics.
func TestTheDocumentsExample(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		agent := user("agent_1")
		e := r.listen("online_status_GRDHG0HI", AllCallStatus, "agent_manual_status")
		defer e.Close()
		r.maps(agent, 1, "onlineStatus", "online_status_GRDHG0HI", "call", "call_GRDHG0HI", "manual_status", "agent_manual_status")
		want(t, e.heard())
		r.world.comes(agent, 1, false)
		want(t, e.heard(), `online_status_GRDHG0HI agent_1 onlineStatus "online"`)
		if n := r.set(agent, "manual_status", ` "busy" `, "unmapped", `{"a": 1}`); n != 2 {
			t.Fatalf("%d attributes changed, want 2", n)
		}
		want(t, e.heard(), `agent_manual_status agent_1 manual_status "busy"`)
		if n := r.set(agent, "manual_status", `"busy"`); n != 0 {
			t.Fatalf("%d attributes changed, want none: it is the same value", n)
		}
		r.call("c1", Ringing, "agent_1", "bob")
		want(t, e.heard(), `ALL_CALL_STATUS agent_1 call "Ringing" in a call`, `ALL_CALL_STATUS bob call "Ringing" in a call`)
		r.call("c1", Ended, "agent_1", "bob")
		want(t, e.heard(), `ALL_CALL_STATUS agent_1 call "Ended"`, `ALL_CALL_STATUS bob call "Ended"`)
		r.world.goes(agent, 1)
		want(t, e.heard(), `online_status_GRDHG0HI agent_1 onlineStatus "offline"`)
		r.set(agent, "manual_status", `null`) // the map of who is offline counts
		want(t, e.heard(), `agent_manual_status agent_1 manual_status null`)
		got, err := r.Get(t.Context(), agent)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Attributes) != 2 || got.Attributes[0].Name != "manual_status" || string(got.Attributes[1].Value) != `{"a":1}` || string(got.Call.Value) != `"Ended"` {
			t.Fatalf("got %+v", got)
		}
	})
}

// TestLimits meets each limit from both sides; what is refused changes nothing.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	text := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name string
		do   func(u presence.User, n int) error
		most int
	}{
		{"name", func(u presence.User, n int) error {
			_, _, err := r.Set(t.Context(), u, []Attribute{{Name: text(n), Value: json.RawMessage(`1`)}})
			return err
		}, MaxName},
		{"value", func(u presence.User, n int) error {
			_, _, err := r.Set(t.Context(), u, []Attribute{{Name: "a", Value: json.RawMessage(` "` + text(n-2) + `" `)}})
			return err
		}, MaxValue},
		{"attributes", func(u presence.User, n int) (err error) {
			for i := range n {
				if _, _, err = r.Set(t.Context(), u, []Attribute{{Name: text(i%64) + string(rune('a'+i/64)), Value: json.RawMessage(`1`)}}); err != nil {
					return err
				}
			}
			return nil
		}, MaxAttributes},
		{"topic", func(u presence.User, n int) error {
			return r.SetMap(t.Context(), u, presence.PublicID{1}, []Mapping{{"a", text(n)}})
		}, MaxTopic},
		{"mappings", func(u presence.User, n int) error {
			all := make([]Mapping, n)
			for i := range all {
				all[i] = Mapping{"a", text(i + 1)}
			}
			return r.SetMap(t.Context(), u, presence.PublicID{1}, all)
		}, MaxMappings},
		{"topics", func(_ presence.User, n int) error {
			return CheckTopics("subscribe", strings.Split(strings.Repeat("t ", n-1)+"t", " "))
		}, MaxTopics},
		{"call id", func(u presence.User, n int) error {
			_, err := r.SetCall(t.Context(), CallParams{App: "demo", ID: text(n), Participants: []presence.UserID{u.ID}})
			return err
		}, MaxCallID},
		{"participants", func(u presence.User, n int) error {
			all := make([]presence.UserID, n)
			for i := range all {
				all[i] = u.ID
			}
			_, err := r.SetCall(t.Context(), CallParams{App: "demo", ID: "c", Participants: all})
			return err
		}, MaxCallUsers},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := c.do(user("fits "+c.name), c.most); err != nil {
				t.Errorf("%d: %v", c.most, err)
			}
			u := user("over " + c.name)
			if err := c.do(u, c.most+1); fault.KindOf(err) != fault.FieldInvalid {
				t.Errorf("%d: got %v, want FIELD_INVALID", c.most+1, err)
			}
			if got, err := r.Get(t.Context(), u); err != nil || got.Revision > 0 && len(got.Attributes) != MaxAttributes {
				t.Errorf("what was refused left %+v, %v", got, err)
			}
		})
	}
}

// TestBadAttributes: one that cannot be set leaves all others unset.
func TestBadAttributes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, bad := range map[string]Attribute{
		"no name":       {Name: "", Value: json.RawMessage(`1`)},
		"control":       {Name: "a\n", Value: json.RawMessage(`1`)},
		"bytes":         {Name: "\xff", Value: json.RawMessage(`1`)},
		"reserved":      {Name: "onlineStatus", Value: json.RawMessage(`"online"`)},
		"call":          {Name: "call", Value: json.RawMessage(`"Ended"`)},
		"call away":     {Name: "call"},
		"no JSON":       {Name: "a", Value: json.RawMessage(`{`)},
		"two":           {Name: "a", Value: json.RawMessage(`1 2`)},
		"empty":         {Name: "a", Value: json.RawMessage{}},
		"no UTF-8":      {Name: "a", Value: json.RawMessage("\"\xff\"")},
		"no UTF-8 away": {Name: "\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := user(name)
			_, _, err := r.Set(t.Context(), u, []Attribute{{Name: "good", Value: json.RawMessage(`1`)}, bad})
			if fault.KindOf(err) != fault.FieldInvalid || !strings.Contains(err.Error(), "attributes[1].") {
				t.Errorf("got %v, want FIELD_INVALID of attributes[1]", err)
			}
			if got, err := r.Get(t.Context(), u); err != nil || got.Revision != 0 {
				t.Errorf("got %+v, %v, want nothing", got, err)
			}
		})
	}
}

// TestStoredFirst: what cannot be stored is not published, and what was stored
// although the store could not say so is.
func TestStoredFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		alice := user("alice")
		r.maps(alice, 1, "a", "T")
		e := r.listen("T")
		defer e.Close()
		r.store.LoseRosters(1, false)
		if _, _, err := r.Set(t.Context(), alice, []Attribute{{Name: "a", Value: json.RawMessage(`1`)}}); fault.KindOf(err) != fault.LogUnavailable {
			t.Fatalf("got %v, want LOG_UNAVAILABLE", err)
		}
		want(t, e.heard())
		r.store.LoseRosters(1, true)
		r.set(alice, "a", `2`)
		want(t, e.heard(), `T alice a 2`)
	})
}

// TestRestart: attributes, calls and the last map outlive the node, and who was
// online before and after is not told of.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		first := newRigOn(t, store, nil)
		alice := user("alice")
		first.maps(alice, 1, "a", "T", "onlineStatus", "T")
		first.world.comes(alice, 1, false)
		first.set(alice, "a", `1`)
		first.call("c1", Answered, "alice")
		_ = first.Stop(t.Context())

		again := newRigOn(t, store, first.world)
		e := again.listen("T")
		defer e.Close()
		// A status update, and the session comes back within its grace: no change.
		again.world.tell(again.world.alter(alice, func(*presence.Presence) {}))
		want(t, e.heard())
		again.set(alice, "a", `2`)
		again.world.goes(alice, 1)
		want(t, e.heard(), `T alice a 2 in a call`, `T alice onlineStatus "offline" in a call`)
	})
}

// TestErase: nothing of a user is left, and nobody is told.
func TestErase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		alice := user("alice")
		r.maps(alice, 1, "a", "T")
		r.set(alice, "a", `1`)
		e := r.listen("T")
		defer e.Close()
		if err := r.Erase(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		r.set(alice, "a", `2`)
		want(t, e.heard())
		if err := r.Erase(t.Context(), user("nobody")); err != nil {
			t.Fatal(err)
		}
	})
}
