package isonline

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// The last message of a stream that the server ends is closing, whatever the
// end; then comes the code of the protocol note's table.
func TestStreamsEndWithClosing(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		policy tracker.Policy
		end    func(n *node, alice *device)
		want   *isonlinev1.Closing
		code   codes.Code
		reason string
	}{
		{"close by the device", tracker.Policy{}, func(_ *node, d *device) { d.must(closeSession(d, isonlinev1.CloseMode_CLOSE_MODE_LOGOUT)) },
			&isonlinev1.Closing{Reason: isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED, SessionCloseReason: isonlinev1.CloseReason_CLOSE_REASON_CLIENT}, codes.OK, ""},
		{"leave", tracker.Policy{}, func(_ *node, d *device) { d.must(closeSession(d, isonlinev1.CloseMode_CLOSE_MODE_LEAVE)) },
			&isonlinev1.Closing{Reason: isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED, SessionCloseReason: isonlinev1.CloseReason_CLOSE_REASON_CLIENT}, codes.OK, ""},
		{"replaced by another stream", tracker.Policy{}, func(_ *node, d *device) { d.connect(nil).stands() },
			&isonlinev1.Closing{Reason: isonlinev1.ClosingReason_CLOSING_REASON_REPLACED_STREAM, SessionKept: true}, codes.Aborted, "REPLACED_STREAM"},
		{"superseded by another device", tracker.Policy{MultiDevice: 2}, func(n *node, _ *device) { n.device("alice").make().connect(nil).stands() },
			&isonlinev1.Closing{Reason: isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED, SessionCloseReason: isonlinev1.CloseReason_CLOSE_REASON_SUPERSEDED}, codes.NotFound, "SESSION_GONE"},
		{"node that stops", tracker.Policy{}, func(n *node, d *device) { drained("")(n.t, n, d) },
			&isonlinev1.Closing{Reason: isonlinev1.ClosingReason_CLOSING_REASON_DRAINING, SessionKept: true}, codes.Unavailable, "DRAINING"},
		{"no sign of life on a shared connection", tracker.Policy{}, func(n *node, d *device) {
			d.beside("bob").make().connect(nil)
			wait(36 * time.Second)
		}, &isonlinev1.Closing{Reason: isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED, SessionCloseReason: isonlinev1.CloseReason_CLOSE_REASON_HEARTBEAT}, codes.NotFound, "SESSION_GONE"},
	}
	overDialects(t, dialects, func(t *testing.T, in bubble) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				in(t, row.policy, admit.Limits{}, func(t *testing.T, n *node) {
					alice := n.device("alice").make()
					stream := alice.connect(nil)
					row.end(n, alice)
					list := stream.take()
					last := list[len(list)-1].GetClosing()
					if last == nil || len(closings(list)) != 1 {
						t.Fatalf("the messages end with %v, want one closing at the end", list[len(list)-1])
					}
					if last.Reason != row.want.Reason || last.SessionKept != row.want.SessionKept || last.SessionCloseReason != row.want.SessionCloseReason {
						t.Errorf("got closing %v, want %v", last, row.want)
					}
					for i, m := range list {
						// What is said to a replaced stream takes no number from its successor.
						if m.GetSequence() != uint64(i+1) && !(m.GetClosing() != nil && row.reason == "REPLACED_STREAM") {
							t.Errorf("message %d has number %d", i+1, m.GetSequence())
						}
					}
					got := refusalOf(stream.end())
					if got.code != row.code || got.reason != row.reason {
						t.Errorf("the stream ends with %v %s, want %v %s", got.code, got.reason, row.code, row.reason)
					}
					if draining := row.reason == "DRAINING"; draining != (got.retry > 0) || draining != (last.GetRetryAfter() != nil) {
						t.Errorf("RetryInfo %v, retry_after %v; want both: %v", got.retry, last.GetRetryAfter(), draining)
					}
				})
			})
		}
	})
}

// A device that stops reading costs what is watched and what the transport
// holds, no more; after WriteLimit its stream ends, its session stays, and a
// resume brings it the newest of everything.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		alice := n.device("alice").make()
		alice.connect(nil)
		bob := n.device("bob").make().subscribe("alice")
		deaf := bob.connectDeaf(nil)
		eve := n.device("eve").make().subscribe("alice")
		reads := eve.connect(nil)
		say := func(i int) *isonlinev1.IsOnlineUpdate {
			return &isonlinev1.IsOnlineUpdate{Properties: many(20, strings.Repeat("v", 200)), RichText: literal(fmt.Sprint(i))}
		}
		const updates = 300
		began := time.Now()
		for i := range updates {
			alice.must(alice.update(say(i)))
			wait(100 * time.Millisecond)
			if c := n.hub.Counts(); c.Edges != 2 {
				t.Fatalf("%d edges, want 2", c.Edges)
			}
		}
		if told := notifications(reads.take()); len(told) < updates {
			t.Errorf("who reads got %d of %d updates while another did not read", len(told), updates)
		}
		wait(WriteLimit + sweepEvery + 2*farewell - time.Since(began))
		var last *message
		count := 0
		var err error
		for {
			m, e := deaf.stream.Recv()
			if err = e; err != nil {
				break
			}
			last, count = m, count+1
		}
		got := refusalOf(err)
		if got.code != codes.ResourceExhausted || got.reason != "SLOW_CONSUMER" {
			t.Fatalf("the stream of who does not read ends with %v %s, want ResourceExhausted SLOW_CONSUMER", got.code, got.reason)
		}
		if bytes := count * 4500; bytes > 4*window {
			t.Errorf("%d messages of about 4.5 KB waited in the transport, want no more than its windows hold", count)
		}
		if v := bob.query("bob"); v.GetUserFlag() != isonlinev1.UserFlag_USER_FLAG_ONLINE {
			t.Errorf("bob is %v, want online: his session is kept", v.GetUserFlag())
		}
		t.Logf("%d messages waited, the last: %T", count, last.GetEvent())
		after := last.GetSequence()
		again := bob.connect(&isonlinev1.ConnectToIsOnlineSessionRequest{ResumeAfter: &after})
		list := again.take()
		if c := list[0].GetConnected(); !c.GetResumed() || c.GetResync() || list[0].GetSequence() != after+1 {
			t.Errorf("resume after %d: got %v", after, list[0])
		}
		told := notifications(list)
		if len(told) != 1 || told[0].GetSession().GetRichText() != fmt.Sprint(updates-1) {
			t.Errorf("the resume tells %v, want the newest status alone", told)
		}
	})
}

// A stream that stands still gets keep-alives, and none of them while it is used.
func TestKeepAliveOnSilence(t *testing.T) {
	t.Parallel()
	overDialects(t, onHTTP2(), func(t *testing.T, in bubble) {
		in(t, tracker.Policy{HeartbeatTimeout: 36 * time.Second}, admit.Limits{}, func(t *testing.T, n *node) {
			alice := n.device("alice").make()
			stream := alice.connect(nil)
			stream.take()
			const span = 2 * time.Minute
			wait(span)
			list := stream.take()
			for _, m := range list {
				if m.GetKeepAlive() == nil {
					t.Errorf("got %v on a silent stream, want keep-alives alone", m)
				}
			}
			if most, least := int(span/(8*time.Second)), int(span/(20*time.Second)); len(list) < least || len(list) > most {
				t.Errorf("%d keep-alives in %v at an interval of 12s, want %d to %d", len(list), span, least, most)
			}
		})
	})
}

// Devices that ping every 10 s are not sent away with "too many pings", as
// grpc's default would after half a minute (protocol note A6); those that ping
// all the time are.
func TestPingPolicy(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		every time.Duration
		ok    bool
	}{{10 * time.Second, true}, {minPing + time.Second, true}, {time.Second, false}} {
		t.Run(row.every.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
				c, err := n.listener.DialContext(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				var sentAway atomic.Bool
				framer := http2.NewFramer(c, c)
				io.WriteString(c, http2.ClientPreface)
				framer.WriteSettings()
				go func() {
					reader := http2.NewFramer(nil, c)
					for {
						f, err := reader.ReadFrame()
						if err != nil {
							return
						}
						if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode == http2.ErrCodeEnhanceYourCalm {
							sentAway.Store(true)
						}
					}
				}()
				for began := time.Now(); time.Since(began) < 2*time.Minute && !sentAway.Load(); wait(row.every) {
					framer.WritePing(false, [8]byte{1})
				}
				if sentAway.Load() == row.ok {
					t.Errorf("pinging every %v: sent away %v, want %v", row.every, sentAway.Load(), !row.ok)
				}
			})
		})
	}
}

// A device of the usual kind, with grpc's own keep-alive, stays for as long as
// it pings.
func TestFrequentPingsAreAllowed(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{HeartbeatTimeout: 15 * time.Second}, admit.Limits{}, func(t *testing.T, n *node) {
		pings := grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 20 * time.Second, PermitWithoutStream: true})
		alice := n.device("alice", pings).make()
		stream := alice.connect(nil)
		idle := n.device("bob", pings)
		idle.query("alice") // then only pings, without a stream
		wait(2 * time.Minute)
		stream.stands()
		if state := idle.conn.(*grpc.ClientConn).GetState(); state != connectivity.Ready {
			t.Errorf("the connection without a stream is %v after two minutes of pings, want it to stand", state)
		}
		if got := idle.query("alice").GetUserFlag(); got != isonlinev1.UserFlag_USER_FLAG_ONLINE {
			t.Errorf("alice is %v, want online", got)
		}
	})
}

// Bytes on a connection that carries several users prove nothing of one of
// them, and who once called Heartbeat is bound to it (design §4, sign of life).
func TestWhatCountsAsLife(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		begin func(alice *device)
		each  func(alice *device) // every 10 s
		lives bool
	}{
		{"alone, and only pings", func(*device) {}, func(*device) {}, true},
		{"a second session of the same user", func(d *device) { d.beside("alice").make().connect(nil) }, func(*device) {}, true},
		{"a second user, and only pings", func(d *device) { d.beside("bob").make().connect(nil) }, func(*device) {}, false},
		{"a second user, and heartbeats", func(d *device) { d.beside("bob").make().connect(nil) },
			func(d *device) { d.must(onSession("heartbeat", d)) }, true},
		{"a heartbeat once, then only pings", func(d *device) { d.must(onSession("heartbeat", d)) }, func(*device) {}, false},
		{"a heartbeat once, then other calls on it", func(d *device) { d.must(onSession("heartbeat", d)) },
			func(d *device) { d.subscribe("carol") }, true},
	}
	overDialects(t, onHTTP2(), func(t *testing.T, in bubble) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				in(t, tracker.Policy{HeartbeatTimeout: 35 * time.Second}, admit.Limits{}, func(t *testing.T, n *node) {
					alice := n.device("alice").make()
					stream := alice.connect(nil)
					row.begin(alice)
					for range 9 {
						wait(10 * time.Second)
						if row.lives {
							row.each(alice)
						}
					}
					closed := len(closings(stream.take())) > 0
					if closed == row.lives {
						t.Errorf("the session is closed after 90s: %v, want %v", closed, !row.lives)
					}
				})
			})
		}
	})
}
