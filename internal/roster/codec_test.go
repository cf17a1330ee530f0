package roster

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func FuzzStored(f *testing.F) {
	veils := []veiled{{"alice", veil{1_700_000_000_000, 5}}, {"bob", veil{}}}
	f.Add(appendList(nil, []presence.UserID{"alice", "bob"}, veils))
	f.Add(appendBlocks(nil, veils))
	f.Add(appendList(nil, nil, nil))
	f.Add([]byte{listVersion, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{2, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if friends, former, err := parseList(b); err == nil {
			if again := appendList(nil, friends, former); !bytes.Equal(again, b) {
				t.Errorf("list % x was written again as % x", b, again)
			}
		}
		if entries, err := parseBlocks(b); err == nil {
			if again := appendBlocks(nil, entries); !bytes.Equal(again, b) {
				t.Errorf("blocks % x were written again as % x", b, again)
			}
		}
	})
}

func TestRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	list := appendList(nil, []presence.UserID{"bob"}, nil)
	for name, b := range map[string][]byte{
		"nothing": {}, "a newer version": append([]byte{listVersion + 1}, list[1:]...), "cut": list[:len(list)-1], "more": append(slices.Clone(list), 0),
		"twice":      appendList(nil, []presence.UserID{"bob", "bob"}, nil),
		"no id":      appendList(nil, []presence.UserID{""}, nil),
		"a long id":  appendList(nil, []presence.UserID{presence.UserID(strings.Repeat("x", 129))}, nil),
		"not a time": append(appendList(nil, nil, nil)[:2], 1, 1, 'x', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0),
	} {
		if _, _, err := parseList(b); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
	// A node that cannot read who blocks whom does not start: it would show what
	// must not be seen.
	m := storetest.NewMemory()
	if _, err := m.SaveRoster(context.Background(), store.RosterBlocks, store.Roster{User: demo("alice"), Value: []byte{9}}); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Store: m})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("Start: got %v, want an error that says what may be wrong", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New without a store: got no error, want one")
	}
}

// TestTheLargestList is stored, read and told whole.
func TestTheLargestList(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{Visibility: Friends}, func(t *testing.T, r *rig) {
		list := longest(10_000)
		added, _, err := r.Replace(context.Background(), demo("alice"), list)
		if err != nil || added != len(list) {
			t.Fatalf("Replace: got +%d, %v, want +10,000", added, err)
		}
		r.restart()
		r.session("alice", 1)
		r.wantFriends("alice", list...)
		r.wantSight("alice", list[9999], true, 0, 0)
		if _, removed, err := r.Replace(context.Background(), demo("alice"), nil); err != nil || removed != len(list) {
			t.Fatalf("Replace: got -%d, %v, want -10,000", removed, err)
		}
		r.restart() // now all of them are former friends
		r.session("alice", 1)
		r.wantFriends("alice")
	})
}

// longest returns n of the longest ids.
func longest(n int) []presence.UserID {
	list := make([]presence.UserID, n)
	for i := range list {
		list[i] = presence.UserID(fmt.Sprintf("%0*d", presence.MaxUserID, i))
	}
	return list
}
