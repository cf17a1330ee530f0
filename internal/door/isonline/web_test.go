package isonline

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// onGRPC is a device on the gRPC port, whatever the others speak.
func (n *node) onGRPC(user string) *device { return n.device(user, grpc.EmptyDialOption{}) }

// A frame says the same in JSON as in protobuf, and what it shares is made once.
func TestFramesAsJSON(t *testing.T) {
	t.Parallel()
	for name, g := range goldens() {
		shared := goldenEncoder().Encode(g).(mem.Buffer)
		for _, sequence := range []uint64{1, 1 << 60} {
			f := newFrame(sequence, shared)
			text, err := webJSON{"json"}.Marshal(&outgoing{f})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := &message{}
			if err := protojson.Unmarshal(text, got); err != nil {
				t.Fatalf("%s: %v in %s", name, err, text)
			}
			wire, err := webBinary{}.Marshal(&outgoing{f})
			want := &message{}
			if err != nil || proto.Unmarshal(wire, want) != nil || !proto.Equal(got, want) || got.GetSequence() != sequence {
				t.Errorf("%s: JSON says %v, binary %v (%v)", name, got, want, err)
			}
		}
		once, _ := shared.(*body).json()
		again, _ := shared.(*body).json()
		if &once[0] != &again[0] {
			t.Errorf("%s: the JSON was made twice", name)
		}
	}
}

// What comes on a stream is the same on the gRPC port and in each dialect: a
// friend comes, changes and goes.
func TestSameStoryInEachDialect(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
				native := n.onGRPC("alice").make().subscribe("bob")
				heard := native.connect(nil)
				n.speaks = &d
				web := n.device("alice").make().subscribe("bob")
				seen := web.connect(nil)
				heard.take() // the snapshot is checked on the other
				if list := seen.take(); len(list) != 3 || list[0].GetConnected() == nil || list[1].GetNotification() == nil || list[2].GetSnapshotDone() == nil {
					t.Fatalf("the stream begins with %v", list)
				}
				bob := n.onGRPC("bob").make()
				bob.connect(&isonlinev1.ConnectToIsOnlineSessionRequest{Initial: &isonlinev1.IsOnlineUpdate{RichText: literal("hi")}}).stands()
				for i := range 3 {
					bob.must(bob.update(&isonlinev1.IsOnlineUpdate{RichText: literal(fmt.Sprint(i)), Properties: properties("n", text("v"))}))
					wait(time.Second)
				}
				bob.must(closeSession(bob, 0))
				a, b := notifications(heard.take()), notifications(seen.take())
				if len(a) != 5 || len(b) != 5 {
					t.Fatalf("got %d notifications, on the gRPC port %d; want 5", len(b), len(a))
				}
				for i := range a {
					if !proto.Equal(a[i], b[i]) {
						t.Errorf("got %v, on the gRPC port %v", b[i], a[i])
					}
				}
			})
		})
	}
}

// Over HTTP/1.1 nothing comes from a device that only listens: it must call
// Heartbeat. Over HTTP/2 it answers pings, and so lives.
func TestSignsOfLifeOnTheHTTPPort(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name          string
		http2, beats  bool
		closes        bool
		afterSeconds  int
		wantsGoodbyes int
	}{
		{"HTTP 1.1, silent", false, false, true, 36, 1},
		{"HTTP 1.1, heartbeats", false, true, false, 120, 0},
		{"HTTP 2, silent", true, false, false, 120, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, tracker.Policy{HeartbeatTimeout: 35 * time.Second}, admit.Limits{}, func(t *testing.T, n *node) {
				n.speaks = &dialect{http2: row.http2, json: true}
				alice := n.device("alice").make()
				stream := alice.connect(nil)
				for range row.afterSeconds / 12 {
					wait(12 * time.Second)
					if row.beats {
						alice.must(onSession("heartbeat", alice))
					}
				}
				list := stream.take()
				if got := len(closings(list)); got != row.wantsGoodbyes {
					t.Errorf("%d closing messages after %d s, want %d", got, row.afterSeconds, row.wantsGoodbyes)
				}
				if !row.closes {
					stream.stands()
					return
				}
				if got := refusalOf(stream.end()); got.reason != "SESSION_GONE" {
					t.Errorf("the stream ends with %v, want SESSION_GONE", got)
				}
			})
		})
	}
}

// A page that is loaded anew, or a link that breaks, is a loss and no leave: who
// watches sees nothing when the session is back within its grace.
func TestReloadDoesNotFlap(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
				n.speaks = &d
				watcher := n.onGRPC("bob").make().subscribe("alice")
				seen := watcher.connect(nil)
				alice := n.device("alice").make()
				stream := alice.connect(nil)
				seen.take()
				stream.cancel()
				wait(3 * time.Second)
				again := alice.connect(nil)
				if c := again.take()[0].GetConnected(); !c.GetResumed() || c.GetSessionId() != alice.id {
					t.Errorf("got %v, want the same session resumed", c)
				}
				wait(15 * time.Second)
				if told := seen.take(); len(notifications(told)) > 0 {
					t.Errorf("who watches was told %v", told)
				}
				again.cancel()
				wait(10 * time.Second)
				if told := notifications(seen.take()); len(told) != 1 || told[0].GetSession().GetCloseReason() != isonlinev1.CloseReason_CLOSE_REASON_DISCONNECTED {
					t.Errorf("after the grace: told %v, want one close, disconnected", told)
				}
			})
		})
	}
}

// deafPage is a page of bob's that has stopped reading, after alice changed
// often enough for its stream to be ended.
func deafPage(t *testing.T, n *node, http2 bool) (bob *device, stream *ear, newest string) {
	t.Helper()
	n.speaks = &dialect{http2: http2}
	alice := n.onGRPC("alice").make()
	alice.connect(nil)
	bob = n.device("bob").make().subscribe("alice")
	stream = bob.connectDeaf(nil)
	const updates = 300
	began := time.Now()
	for i := range updates {
		newest = fmt.Sprint(i)
		alice.must(alice.update(&isonlinev1.IsOnlineUpdate{Properties: many(20, strings.Repeat("v", 200)), RichText: literal(newest)}))
		wait(100 * time.Millisecond)
		if i%50 == 0 {
			bob.must(onSession("heartbeat", bob))
		}
	}
	// A browser's windows may have held some of it.
	for time.Since(began) < 2*WriteLimit+sweepEvery+4*farewell {
		wait(4 * time.Second)
		bob.must(onSession("heartbeat", bob))
	}
	return bob, stream, newest
}

// A page that stops reading holds up nobody: its stream ends after WriteLimit,
// its session stays, and what comes back is the newest.
func TestSlowConsumerOnTheHTTPPort(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP 2 %v", http2), func(t *testing.T) {
			t.Parallel()
			inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
				bob, stream, newest := deafPage(t, n, http2)
				var err error
				for err == nil {
					_, err = stream.stream.Recv()
				}
				if err == io.EOF {
					t.Error("a stream that nobody read ended well")
				}
				told := notifications(bob.connect(nil).take()) // his session is kept
				if len(told) != 1 || told[0].GetSession().GetRichText() != newest {
					t.Errorf("the resume tells %v, want the newest status alone", told)
				}
			})
			inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
				_, stream, _ := deafPage(t, n, http2)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if err := n.web().server.Shutdown(ctx); err != nil {
					t.Errorf("its request is still served: %v", err)
				}
				stream.cancel()
			})
		})
	}
}

// Streams that are cancelled while flushers write to them: net/http takes an
// answer's memory back when its handler returns (the race detector looks).
func TestStreamsCancelledWhileWritten(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		inBubble(t, tracker.Policy{SessionsPerUser: 100, MultiDevice: presence.AllowAll}, admit.Limits{}, func(t *testing.T, n *node) {
			n.speaks = &dialect{http2: http2, json: http2}
			alice := n.onGRPC("alice").make()
			alice.connect(nil)
			var stop atomic.Bool
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := 0; !stop.Load(); i++ {
					alice.update(&isonlinev1.IsOnlineUpdate{RichText: literal(fmt.Sprint(i))})
					<-time.After(10 * time.Millisecond)
				}
			}()
			for i := range 40 {
				d := n.device("bob").make().subscribe("alice")
				s := d.connect(nil)
				<-time.After(time.Duration(1+i) * time.Millisecond)
				s.cancel()
				synctest.Wait()
			}
			stop.Store(true)
			<-done
		})
	}
}

// writes counts what a connection is given at a time.
type writes struct {
	net.Conn
	n *atomic.Int64
}

// Write counts.
func (w writes) Write(b []byte) (int, error) { w.n.Add(1); return w.Conn.Write(b) }

// What waits for a stream leaves in few writes, not one for each message.
func TestStreamsGatherWrites(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
			var count atomic.Int64
			n.web().listener.wrap = func(c net.Conn) net.Conn { return writes{c, &count} }
			n.speaks = &dialect{http2: http2}
			alice := n.device("alice").make()
			var ids []string
			for i := range 200 {
				ids = append(ids, fmt.Sprint("u", i))
			}
			if _, err := alice.api.SubscribeToUsersIsOnline(alice.ctx(), &isonlinev1.SubscribeToUsersIsOnlineRequest{SessionToken: alice.tok, UserIds: ids}); err != nil {
				t.Fatal(err)
			}
			before := count.Load()
			if told := notifications(alice.connect(nil).take()); len(told) != 200 {
				t.Fatalf("%d notifications, want 200", len(told))
			}
			if n := count.Load() - before; n > 20 {
				t.Errorf("HTTP 2 %v: 200 messages left in %d writes, want at most 20", http2, n)
			}
		})
	}
}
