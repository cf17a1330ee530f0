package live

import (
	"fmt"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
)

// The whole dialogue: hello, watch, another's opening, update and end.
func TestDialogue(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", `"watch":["bob"]`)
		if w := alice.welcome; len(w.Session) != 22 || w.Resumed || w.Resync || w.Q != 1 || w.Heartbeat != 11666 || w.Grace != 6000 || w.Window != 120000 ||
			fmt.Sprint(w.Limits) != "map[batch:200 bytes:8192 properties:32 updates_per_second:10 watches:2000]" {
			t.Errorf("welcome: %+v", w)
		}
		alice.wantNotes("before bob", "bob none off", "done  friends=false all=true users=1")
		bob := n.hello("bob", `"status":{"show":"busy","text":"hi","properties":{"n":5,"f":5.0,"ok":true,"s":"x"}}`)
		alice.wantNotes("bob comes", `bob opened on busy hi f=5.0 n=5 ok=true s="x"`)
		if got := bob.ask(`{"t":"set","id":1,"status":{"show":"away"}}`); !strings.HasPrefix(got, `{"t":"ok","id":1,"rev":2,"at":`) {
			t.Errorf("set: %s", got)
		}
		alice.wantNotes("bob is away", "bob updated on away")
		if got := bob.ask(`{"t":"set","status":{"show":"away"}}`); !strings.Contains(got, `"unchanged":true`) || strings.Contains(got, "id") {
			t.Errorf("set again: %s", got)
		}
		bob.ask(`{"t":"patch","id":2,"status":{"text":"soon","properties":{"n":6}}}`)
		alice.wantNotes("bob says more", "bob updated on away soon n=6")
		bob.ask(`{"t":"patch","id":2,"clear":["n"],"clear_text":true}`)
		alice.wantNotes("bob takes it back", "bob updated on away")
		bob.Say(`{"t":"bye","mode":"leave"}`)
		if code, last := bob.ended(); code != 1000 || last != `{"t":"bye","reason":"SESSION_CLOSED","kept":false,"why":"CLIENT"}` {
			t.Errorf("bye: %d %s", code, last)
		}
		alice.wantNotes("bob leaves", "bob closed off CLIENT")
		alice.stands()
	})
}
