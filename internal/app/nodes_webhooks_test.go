package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// told makes all nodes of a cluster tell one sink.
func (s *sink) told(p *app.Params) {
	for name, a := range p.Config.Apps {
		a.Webhooks = map[string]config.Webhook{"main": s.webhook()}
		p.Config.Apps[name] = a
	}
}

// served waits until all nodes say that one serves the webhook, and says which.
func served(t *testing.T, nodes []*app.App) (name string) {
	t.Helper()
	happens(t, "all nodes say who serves the webhook", func() bool {
		name = ""
		for _, a := range nodes {
			code, m := restCode(t, a, "GET", "/api/v1/webhooks/main", "")
			node, _ := m["node"].(string)
			if code != http.StatusOK || m["doing"] != "live" || node == "" || name != "" && node != name {
				return false
			}
			name = node
		}
		return true
	})
	return name
}

// put opens a served presence of a user at a node. On a busy machine the store may
// have to elect who leads first.
func put(t *testing.T, a *app.App, user string) {
	t.Helper()
	happens(t, "a presence is put", func() bool {
		code, m := restCode(t, a, "PUT", "/api/v1/users/"+user+"/presence", `{"ttl":600}`)
		if code != http.StatusOK && code != http.StatusServiceUnavailable {
			t.Fatalf("PUT of %s's presence: %d %v", user, code, m)
		}
		return code == http.StatusOK
	})
}

// inOrder reports the events of a user that came first, and fails when one came
// before a lower number.
func inOrder(t *testing.T, events []sunk, user string) (first []string) {
	t.Helper()
	last := uint64(0)
	seen := map[string]bool{}
	for _, e := range events {
		if e.User != user || seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		if e.Seq != last+1 {
			t.Errorf("%s: number %d came after %d", user, e.Seq, last)
		}
		last = e.Seq
		first = append(first, e.Kind)
	}
	return first
}

// goesOn waits until a node says that a replay does so. Until then it may only say
// that it runs, or that it cannot say.
func goesOn(t *testing.T, a *app.App, replay, doing string) {
	t.Helper()
	happens(t, "the replay is "+doing, func() bool {
		code, m := restCode(t, a, "GET", "/api/v1/webhooks/main", "")
		if code != http.StatusOK {
			return false
		}
		all := m["replays"].([]any)
		last := all[len(all)-1].(map[string]any)
		if last["replay"] != replay || last["doing"] != "running" && last["doing"] != doing {
			t.Fatalf("got %v, want replay %s among them", all, replay)
		}
		return last["doing"] == doing
	})
}

// TestWebhooksOfNodes asks every node for a webhook that one serves, and lets that
// one go.
func TestWebhooksOfNodes(t *testing.T) {
	s := newSink(t)
	nodes := cluster(t, 3, s.told)
	server := served(t, nodes)
	for i, a := range nodes {
		put(t, a, fmt.Sprint("user", i))
	}
	s.wait(t, 3)
	happens(t, "three deliveries are counted, wherever one asks", func() bool {
		for _, a := range nodes {
			if m := rest(t, a, "GET", "/api/v1/webhooks", "")["webhooks"].([]any)[0].(map[string]any); m["delivered"] != 3.0 || m["node"] != server {
				return false
			}
		}
		return true
	})
	for i, a := range nodes {
		replay := rest(t, a, "POST", "/api/v1/webhooks/main/replay", `{"time":"2000-01-01T00:00:00Z"}`)["replay"].(string)
		s.wait(t, 3*(i+2))
		happens(t, "the replay is done, wherever one asks", func() bool {
			for _, b := range nodes {
				all := rest(t, b, "GET", "/api/v1/webhooks/main", "")["replays"].([]any)
				if len(all) != i+1 || all[i].(map[string]any)["doing"] != "done" {
					return false
				}
			}
			return true
		})
		for _, b := range nodes {
			if m := rest(t, b, "DELETE", "/api/v1/webhooks/main/replays/"+replay, ""); m["doing"] != "done" || m["events"] != 3.0 {
				t.Errorf("a replay that is over: %v", m)
			}
		}
		if code, m := restCode(t, a, "DELETE", "/api/v1/webhooks/main/replays/rp_none", ""); code != http.StatusNotFound || m["code"] != "REPLAY_UNKNOWN" {
			t.Errorf("no replay: %d %v", code, m)
		}
		if code, m := restCode(t, a, "POST", "/api/v1/webhooks/none/replay", `{"position":"1"}`); code != http.StatusNotFound || m["code"] != "WEBHOOK_UNKNOWN" {
			t.Errorf("no webhook: %d %v", code, m)
		}
		if m := rest(t, a, "POST", "/api/v1/webhooks/main/resend", `{"all":true}`); m["sent"] != 0.0 {
			t.Errorf("resend: %v", m)
		}
		rest(t, a, "GET", "/api/v1/webhooks/main/dead", "")
	}

	// The one that serves it leaves; another takes over at once, and nothing is lost.
	gone := slices.IndexFunc(nodes, func(a *app.App) bool {
		return rest(t, a, "GET", "/api/v1/cluster", "")["self"] == server
	})
	left := slices.Delete(slices.Clone(nodes), gone, gone+1)
	put(t, left[0], "late")
	s.wait(t, 13)
	s.mu.Lock()
	s.again = http.StatusServiceUnavailable
	s.mu.Unlock()
	replay := rest(t, left[0], "POST", "/api/v1/webhooks/main/replay", `{"time":"2000-01-01T00:00:00Z"}`)["replay"].(string)
	began := time.Now()
	stop(t, nodes[gone])
	for _, a := range left {
		goesOn(t, a, replay, "running")
	}
	unknown := false // an answer that says so may have ended it all the same
	happens(t, "a presence ends at another node", func() bool {
		code, m := restCode(t, left[1], "DELETE", "/api/v1/users/late/presence", "")
		unknown = unknown || code != http.StatusOK
		return code == http.StatusOK && (m["removed"] == true || unknown)
	})
	if next := served(t, left); next == server {
		t.Errorf("%s serves it, which has left", next)
	}
	happens(t, "both events of late came", func() bool {
		s.mu.Lock()
		events := slices.Clone(s.events)
		s.mu.Unlock()
		return len(inOrder(t, events, "late")) == 2
	})
	s.mu.Lock()
	s.again = 0
	s.mu.Unlock()
	for _, a := range left {
		goesOn(t, a, replay, "done")
	}
	s.mu.Lock()
	if got := inOrder(t, s.replayed[replay], "user0"); len(s.replayed[replay]) != 4 || len(got) != 1 {
		t.Errorf("the replay gave %v, want what happened before it, once", s.replayed[replay])
	}
	s.mu.Unlock()
	t.Logf("all was told %v after the node was told to stop", time.Since(began).Round(time.Millisecond))
	if got := inOrder(t, s.wait(t, 18), "late"); !slices.Equal(got, []string{"opened", "closed"}) {
		t.Errorf("got %q of late", got)
	}
}
