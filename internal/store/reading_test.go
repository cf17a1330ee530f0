package store_test

import (
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Marks are stored: they are the first bytes of the SHA-256 of both names with
// their lengths before them.
func TestUserMark(t *testing.T) {
	t.Parallel()
	if got := store.UserMark(presence.User{App: "demo", ID: "alice"}); got != 0x018a4607bce7ec4b {
		t.Errorf("got %#x", got)
	}
	if store.UserMark(presence.User{App: "demo", ID: "xy"}) == store.UserMark(presence.User{App: "demox", ID: "y"}) {
		t.Error("app and id run into each other")
	}
}
