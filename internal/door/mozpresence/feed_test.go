package mozpresence

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// The log is read a moment before the table shows what stands in it: a publisher
// is told of what the log says of a session, beside what the table says of others.
func TestStatusOfTheLogBeforeTheTable(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, _ := n.active()
		n.grant(id, "alice")
		n.device("alice", "online")
		wait(time.Second)
		table := n.Tracker.Presence(user("alice")).Sessions[0].Public
		other, third := presence.PublicID{1}, presence.PublicID{2}
		var got []string
		f := &feed{door: n.door, id: id, app: doortest.App, told: map[string]string{}, give: func(_ context.Context, e entry) error {
			got = append(got, e.status)
			return nil
		}}
		tell := func(kind presence.RecordKind, reason presence.Reason, public presence.PublicID, show presence.Show, there bool) {
			phase := presence.FoldOpen
			if kind == presence.RecordClosed {
				phase = presence.FoldClosed
			}
			e := &facts.Event{Fact: presence.Fact{
				Kind: kind, Reason: reason, User: user("alice"), Time: presence.At(time.Now()), ShownBefore: true, ShownAfter: there,
				Session: presence.FoldedSession{Public: public, Phase: phase, Status: &presence.Status{Show: show}},
			}}
			if err := f.event(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		for i, step := range []struct {
			kind   presence.RecordKind
			reason presence.Reason
			public presence.PublicID
			show   presence.Show
			want   string // "": nothing
		}{
			{presence.RecordOpened, presence.ReasonNone, other, presence.Busy, "unavailable"}, // which the table does not have
			{presence.RecordClosed, presence.ReasonLeft, other, presence.Busy, "online"},
			{presence.RecordCustom, presence.ReasonNone, table, presence.Away, "unavailable"}, // which the table has online
			{presence.RecordOpened, presence.ReasonNone, other, presence.Online, "online"},
			{presence.RecordClosed, presence.ReasonReplaced, other, presence.Online, ""},
			{presence.RecordOpened, presence.ReasonNone, third, presence.Away, "unavailable"},
		} {
			got = nil
			tell(step.kind, step.reason, step.public, step.show, true)
			if s := fmt.Sprint(got); s != fmt.Sprintf("[%s]", step.want) {
				t.Errorf("step %d: told %s, want [%s]", i, s, step.want)
			}
		}
		if len(f.seen[user("alice")]) > 3 {
			t.Errorf("%d sessions are kept, want those that are there", len(f.seen[user("alice")]))
		}
		tell(presence.RecordClosed, presence.ReasonLeft, third, presence.Away, false)
		if len(f.seen) != 0 {
			t.Error("the sessions of who is gone are kept")
		}
	})
}

// Who comes back invisible in the place of a session that was seen is gone for
// publishers.
func TestReplacedByAnInvisibleOne(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Policy: tracker.Policy{MultiDevice: presence.Single}}, func(t *testing.T, n *node) {
		id, key := n.active()
		uid := n.grant(id, "alice")
		l := n.listen(id, key)
		n.device("alice", "online")
		l.want("online", l.Came(), status(uid, "online"))
		n.device("alice", "online")
		l.want("replaced by one like it", l.Came())
		made, err := n.Tracker.Make(t.Context(), tracker.MakeParams{User: user("alice")})
		if err != nil {
			t.Fatal(err)
		}
		hidden := &presence.Status{Show: presence.Online, Invisible: true}
		if _, err := n.Tracker.Connect(t.Context(), made.Ref, tracker.ConnectParams{Initial: hidden, Link: silent{}}); err != nil {
			t.Fatal(err)
		}
		l.want("replaced by an invisible one", l.Came(), status(uid, "offline"))
	})
}

// silent is the link of another door.
type silent struct{}

func (silent) End(tracker.End)         {}
func (silent) LastRead() time.Duration { return 0 }
func (silent) Shared() bool            { return false }
