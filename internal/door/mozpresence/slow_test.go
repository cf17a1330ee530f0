package mozpresence

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// unread is a socket of a publisher that reads its answer and then nothing.
func (n *node) unread(id, key string) *doortest.Peer {
	n.t.Helper()
	p := n.connect("/" + id)
	if err := p.Send(fmt.Sprintf(`{"key":%q}`, key)); err != nil {
		n.t.Fatal(err)
	}
	if err := p.Next(); err != nil {
		n.t.Fatal(err)
	}
	p.Take()
	synctest.Wait()
	return p
}

// queued is how many statuses wait for the one connection of a publisher.
func (n *node) queued(id string) int {
	synctest.Wait()
	l := n.door.listeners(id)
	if len(l) != 1 {
		n.t.Fatalf("%d connections of the publisher, want 1", len(l))
	}
	l[0].mu.Lock()
	defer l[0].mu.Unlock()
	return len(l[0].queue)
}

// A publisher that reads nothing holds a bounded queue in memory and no one else
// up; when it reads it gets what waited, in order, and of what waited in the log how
// the user is by then.
func TestSlowPublisher(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		uid := n.grant(id, "alice")
		slow := n.unread(id, key)
		a := n.device("alice", "online")
		const changes = mostQueued + 400
		for i := range changes {
			a.say(`{"status":%q}`, []string{"unavailable", "online"}[i%2])
			if i%50 == 49 {
				wait(time.Second) // the pace of frames
			}
		}
		if got := n.queued(id); got != mostQueued {
			t.Errorf("%d statuses wait in memory, want %d", got, mostQueued)
		}
		other := n.device("bob", "online")
		other.want("another device", other.say(`{"status":"unavailable"}`), `{"result":"OK","status":"unavailable","user":"bob"}`)
		go slow.Read()
		synctest.Wait()
		got := slow.Take()
		if len(got) < mostQueued/2 || got[0] != status(uid, "online") || got[len(got)-1] != status(uid, "online") {
			t.Fatalf("got %d statuses, %q to %q; want what waited, and online at the end", len(got), got[:min(2, len(got))], got[max(0, len(got)-2):])
		}
		for i := range got[1:] {
			if got[i] == got[i+1] {
				t.Fatalf("status %d comes twice: %s", i, got[i])
			}
		}
	})
}

// A device that does not read while others do is ended, and gets what is left when
// it comes again.
func TestSlowDevice(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		uid := n.grant(id, "alice")
		quick := n.device("alice", "online")
		slow := n.connect("/presence")
		if err := slow.Send(fmt.Sprintf(`{"status":"online","assertion":%q}`, n.JWT("alice"))); err != nil {
			t.Fatal(err)
		}
		if err := slow.Next(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i := range 2 * mailbox.MaxWaiting {
			n.post(id, key, noteFor(uid, fmt.Sprint(i)))
			if i%100 == 99 {
				wait(time.Second)
			}
			synctest.Wait()
		}
		if got := len(messages(t, quick.Came())); got != 2*mailbox.MaxWaiting {
			t.Errorf("the quick one got %d, want %d", got, 2*mailbox.MaxWaiting)
		}
		go slow.Read()
		synctest.Wait()
		if code, why, over := slow.End(); code != codeSlow {
			t.Errorf("the slow one: got %d %q, over %v, want %d", code, why, over, codeSlow)
		}
	})
}

// flaky is a log that cannot be followed now and then.
type flaky struct {
	Facts
	down atomic.Bool
	cut  chan struct{} // closed when it goes down
}

func (f *flaky) Follow(ctx context.Context, p facts.Params, give func([]*facts.Event, facts.Position) error) error {
	if f.down.Load() {
		return errors.New("the log cannot be read")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-f.cut:
			cancel()
		case <-ctx.Done():
		}
	}()
	return f.Facts.Follow(ctx, p, give)
}

// After an outage of the log a connected publisher is told what happened
// meanwhile, once.
func TestFeedAfterAnOutage(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		f := &flaky{Facts: n.door.cfg.Facts, cut: make(chan struct{})}
		n.door.cfg.Facts = f
		id, key := n.active()
		uid := n.grant(id, "alice")
		l := n.listen(id, key)
		a := n.device("alice", "online")
		l.want("before", l.Came(), status(uid, "online"))
		f.down.Store(true)
		close(f.cut)
		wait(5 * time.Second)
		a.say(`{"status":"offline"}`)
		wait(5 * time.Second)
		l.want("meanwhile", l.Came())
		f.cut = make(chan struct{})
		f.down.Store(false)
		wait(2 * retryFeed)
		l.want("after", l.Came(), status(uid, "offline"))
		a.say(`{"status":"online"}`)
		l.want("and on", l.Came(), status(uid, "online"))
	})
}

// A stream ends when its key is void, and goes on when only the proof was made anew.
func TestStreamAfterAKeyChange(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		uid := n.grant(id, "alice")
		a := n.device("alice", "online")
		p := n.stream("/"+id+"/presence.json", key)
		wait(time.Millisecond)
		p.lines()
		if _, err := n.reg.Prove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		a.say(`{"status":"unavailable"}`)
		if got, want := p.lines(), fmt.Sprintf("[%q,\"unavailable\"]", uid); got != want {
			t.Errorf("after another proof: got %q, want %q", got, want)
		}
		if _, _, err := n.reg.Activate(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
		a.say(`{"status":"online"}`)
		if got := p.lines(); got != "" {
			t.Errorf("with a void key: got %q", got)
		}
		if !p.ended() {
			t.Error("the stream goes on with a void key")
		}
	})
}

// A publisher hears at once of a revocation that another node made, and of a key
// that is void there, also when the nodes missed each other.
func TestRevokedAtAnotherNode(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		tell := func(c publisher.Change) { n.reg.Heard(t.Context(), c) }
		other, err := publisher.New(publisher.Config{Store: n.Store, Tell: func(c publisher.Change) { tell(c) }})
		if err != nil {
			t.Fatal(err)
		}
		l := n.listen(id, key)
		for _, missed := range []bool{false, true} {
			uid := n.grant(id, "alice")
			a := n.device("alice", "online")
			l.want("online", l.Came(), status(uid, "online"))
			if missed {
				tell = func(publisher.Change) {}
			}
			if _, _, err := other.Revoke(t.Context(), user("alice"), id); err != nil {
				t.Fatal(err)
			}
			if missed {
				l.want("not heard of", l.Came())
				n.door.Missed()
			}
			l.want(fmt.Sprintf("revoked, missed %v", missed), l.Came(), status(uid, "offline"))
			a.say(`{"status":"offline"}`)
			l.want("nothing after it", l.Came())
		}
		if _, err := other.Deactivate(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		n.door.Missed()
		l.ended("a key that is void elsewhere", codeAccess)
	})
}
