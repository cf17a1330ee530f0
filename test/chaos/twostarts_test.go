package chaos

import (
	"testing"
	"time"
)

// shardDelay is longer than a node takes to write a part of its checkpoint
// whole (30 s) and the parts of everybody here (1 s).
const shardDelay = 33 * time.Second

// TestNotesSurviveStarts: a status and a watch that are only noted beside the
// checkpoint outlive starts after which nobody touched their session. They are
// acknowledged and noted after the session's part of the checkpoint was
// written; then the server is killed, started, asked to stop, and started
// again, all within the grace.
func TestNotesSurviveStarts(t *testing.T) {
	if testing.Short() {
		t.Skipf("takes %v: a node writes its checkpoint whole no sooner", shardDelay)
	}
	t.Parallel()
	n := newNode(t, "restart_grace: 30s", "")
	w := newWorld(t, n, seedOf(t), []string{"bob", "carol"})
	w.begin(t)
	bob := connected(t, w, "bob", nil, nil)
	connected(t, w, "carol", nil, nil) // the log goes on after bob
	pause(t.Context().Done(), shardDelay)
	if err := bob.update(false); err != nil {
		t.Fatal(err)
	}
	if err := bob.subscribe("carol"); err != nil {
		t.Fatal(err)
	}
	pause(t.Context().Done(), noteDelay+500*time.Millisecond)
	w.strike(false)
	w.begin(t)
	w.strike(true)
	w.begin(t)

	bob.drop()
	own, err := w.own("bob")
	if err != nil {
		t.Fatal(err)
	}
	w.blameAll(checkSessions(w.history.demands(false), view{"bob": own}))
	if err := bob.connect(resumes, false); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.eventually(time.Now().Add(converge), 10*time.Millisecond, func() bool { return bob.line.tells("carol") }); !ok {
		w.blame("bob's watch of carol does not deliver")
	}
	w.judge(t, "after two starts")
}
