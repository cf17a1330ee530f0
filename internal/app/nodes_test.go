package app_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// cluster starts so many nodes whose engines form a cluster.
func cluster(t *testing.T, count int, more ...func(*app.Params)) []*app.App {
	t.Helper()
	dirs := make([]string, count)
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	return clusterIn(t, dirs, more...)
}

// clusterIn starts a node for each data directory.
func clusterIn(t *testing.T, dirs []string, more ...func(*app.Params)) []*app.App {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped in short mode: runs several nodes")
	}
	count := len(dirs)
	peers := natsbustest.Addresses(t, count)
	nodes := make([]*app.App, count)
	errs := make([]error, count)
	var starting sync.WaitGroup
	for i := range nodes {
		p := params(t, dirs[i])
		name := fmt.Sprintf("n%d", i+1)
		p.Logger = p.Logger.With("node", name)
		p.Nodes = &app.Nodes{Name: name, Peers: &natsbus.Peers{Name: name, Listen: peers[i], Peers: peers, Password: "among us"}}
		for _, m := range more {
			m(&p)
		}
		a, err := app.New(p)
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = a
		starting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			errs[i] = a.Start(ctx)
		})
	}
	starting.Wait()
	t.Cleanup(func() {
		// The last of them stops without a quorum, and may say so.
		patience := patience
		if slices.ContainsFunc(nodes, func(a *app.App) bool { return !listens(a) }) {
			patience = time.Second
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		var stopping sync.WaitGroup
		for _, a := range nodes {
			stopping.Go(func() {
				if err := a.Stop(ctx); err != nil {
					t.Log("stopped:", err)
				}
			})
		}
		stopping.Wait()
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	settle(t, nodes)
	return nodes
}

// settle waits until every node stores what happens: on a busy machine leaders are
// elected late, and once more, and until then a node refuses who comes. Of those that
// have a webhook nothing is asked, since it would be told.
func settle(t *testing.T, nodes []*app.App) {
	t.Helper()
	for _, a := range nodes {
		if code, m := restCode(t, a, "GET", "/api/v1/webhooks", ""); code == http.StatusOK && len(m["webhooks"].([]any)) > 0 {
			continue
		}
		said := map[string]int{} // what it answered, and how often: shown if it does not come to it
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("until it stored what happens a node answered %v", said)
			}
		})
		happens(t, "a node that has started stores what happens", func() bool {
			put, why := restCode(t, a, "PUT", "/api/v1/users/early/presence", `{"ttl":60}`)
			took, whyNot := restCode(t, a, "DELETE", "/api/v1/users/early/presence", "")
			if put == http.StatusOK && took == http.StatusOK {
				return true
			}
			said[fmt.Sprintf("%d %v, %d %v", put, why["reason"], took, whyNot["reason"])]++
			return false
		})
	}
}

// listens reports whether a node has its HTTP port open.
func listens(a *app.App) bool {
	if a.HTTPAddr() == nil {
		return false
	}
	c, err := net.Dial("tcp", a.HTTPAddr().String())
	if err == nil {
		c.Close()
	}
	return err == nil
}

// speaker is a user at one node.
type speaker struct {
	isonlinev1.IsOnlineServiceClient
	t   *testing.T
	ctx context.Context
}

func speak(t *testing.T, a *app.App, user presence.UserID) speaker {
	t.Helper()
	conn, err := grpc.NewClient(a.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	jwt, err := token.Sign(token.Development(), user, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return speaker{isonlinev1.NewIsOnlineServiceClient(conn), t, metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+jwt)}
}

// make comes again, as clients do, at a node that is cut off for a moment: on a busy
// machine servers elect a leader anew at any time.
func (s speaker) make() (tok string) {
	s.t.Helper()
	happens(s.t, "a session is made", func() bool {
		r, err := s.MakeIsOnlineSession(s.ctx, &isonlinev1.MakeIsOnlineSessionRequest{Client: &isonlinev1.ClientInfo{Platform: "web"}})
		if err != nil && status.Code(err) != codes.Unavailable {
			s.t.Fatal(err)
		}
		tok = r.GetSessionToken()
		return err == nil
	})
	return tok
}

// line is an events stream: what it said last of each user, and how often.
type line struct {
	mu   sync.Mutex
	says map[string]string
	told map[string]int
	err  error
	end  context.CancelFunc
}

func (s speaker) connect(tok string) *line {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	s.t.Cleanup(cancel)
	stream, err := s.ConnectToIsOnlineSession(ctx, &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: tok})
	if err != nil {
		s.t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetConnected() == nil {
		s.t.Fatalf("got %v, %v, want connected", first, err)
	}
	l := &line{says: map[string]string{}, told: map[string]int{}, end: cancel}
	go func() {
		for {
			m, err := stream.Recv()
			l.mu.Lock()
			if err != nil {
				l.err = err
				l.mu.Unlock()
				return
			}
			if n := m.GetNotification(); n != nil {
				l.says[n.GetUserId()] = n.GetSession().GetKind().String() + " " + n.GetSession().GetStatus().String()
				l.told[n.GetUserId()]++
			}
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *line) last(user string) (says string, told int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.says[user], l.told[user]
}

// happens polls for a condition.
func happens(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !done(); {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (s speaker) sees(user string) string {
	r, err := s.GetUserIsOnline(s.ctx, &isonlinev1.GetUserIsOnlineRequest{UserId: user})
	if err != nil {
		return err.Error()
	}
	if list := r.GetUser().GetSessions(); len(list) > 0 {
		return list[0].GetStatus().String()
	}
	return "nowhere"
}

func busy() *isonlinev1.IsOnlineUpdate {
	return &isonlinev1.IsOnlineUpdate{Status: isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY}
}

// TestThreeNodes walks through what a user sees of several nodes: nothing.
func TestThreeNodes(t *testing.T) {
	nodes := cluster(t, 3)
	bob, watcher := speak(t, nodes[0], "bob"), speak(t, nodes[1], "alice")
	mine := watcher.make()
	if _, err := watcher.SubscribeToUserIsOnline(watcher.ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: mine, UserId: "bob"}); err != nil {
		t.Fatal(err)
	}
	alice := watcher.connect(mine)

	his := bob.make()
	stream := bob.connect(his)
	happens(t, "bob's coming is told at another node", func() bool {
		says, _ := alice.last("bob")
		return says == "SESSION_EVENT_KIND_OPENED IS_ONLINE_STATUS_ONLINE"
	})
	for i := range nodes {
		asker := speak(t, nodes[i], "carol")
		happens(t, fmt.Sprintf("node %d knows bob", i), func() bool { return asker.sees("bob") == "IS_ONLINE_STATUS_ONLINE" })
	}

	// A call on his session is served wherever it arrives.
	far := speak(t, nodes[2], "bob")
	if _, err := far.UpdateIsOnlineSession(far.ctx, &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: his, Update: busy()}); err != nil {
		t.Fatalf("update at another node: %v", err)
	}
	happens(t, "the update is told", func() bool {
		says, _ := alice.last("bob")
		return says == "SESSION_EVENT_KIND_UPDATED IS_ONLINE_STATUS_BUSY"
	})

	// He comes back at another node, and nobody sees it.
	_, before := alice.last("bob")
	stream.end()
	far.connect(his)
	happens(t, "his session lives at the other node", func() bool {
		_, err := bob.HeartbeatIsOnlineSession(bob.ctx, &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: his})
		return err == nil
	})
	if _, err := bob.UpdateIsOnlineSession(bob.ctx, &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: his, Update: &isonlinev1.IsOnlineUpdate{Status: isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY}}); err != nil {
		t.Fatalf("update at the node that he left: %v", err)
	}
	happens(t, "the next update is told", func() bool {
		says, _ := alice.last("bob")
		return says == "SESSION_EVENT_KIND_UPDATED IS_ONLINE_STATUS_AWAY"
	})
	if _, after := alice.last("bob"); after != before+1 {
		t.Errorf("alice was told %d times more, want the update alone", after-before)
	}

	// A session that was made at one node may be connected at another, with what it
	// watches.
	made := watcher.make()
	if _, err := watcher.SubscribeToUserIsOnline(watcher.ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: made, UserId: "bob"}); err != nil {
		t.Fatal(err)
	}
	elsewhere := speak(t, nodes[2], "alice").connect(made)
	happens(t, "the watches came along", func() bool { _, n := elsewhere.last("bob"); return n > 0 })

	// He leaves at a node where he is not.
	if _, err := bob.CloseIsOnlineSession(bob.ctx, &isonlinev1.CloseIsOnlineSessionRequest{SessionToken: his}); err != nil {
		t.Fatal(err)
	}
	happens(t, "his leaving is told", func() bool {
		says, _ := alice.last("bob")
		return says == "SESSION_EVENT_KIND_CLOSED IS_ONLINE_STATUS_UNSPECIFIED" || says[:26] == "SESSION_EVENT_KIND_CLOSED "
	})
	for i := range nodes {
		asker := speak(t, nodes[i], "carol")
		happens(t, fmt.Sprintf("node %d knows that bob left", i), func() bool { return asker.sees("bob") == "nowhere" })
	}
}
