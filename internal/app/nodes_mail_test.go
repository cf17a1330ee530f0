package app_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// inbox is a device at the live door that takes notifications.
type inbox struct {
	mu    sync.Mutex
	texts []string
}

func (b *inbox) read() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.texts)
}

func receive(t *testing.T, a *app.App, user presence.UserID) *inbox {
	t.Helper()
	b := &inbox{}
	c, err := client.New(client.Config{
		Addr: "ws://" + a.HTTPAddr().String(),
		Token: func(context.Context) (string, error) {
			return token.Sign(token.Development(), user, time.Hour, time.Now())
		},
		OnNotification: func(n client.LiveNotification) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.texts = append(b.texts, n.Text)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Open(t.Context(), client.Options{}); err != nil {
		t.Fatal(err)
	}
	return b
}

// notify puts one message at a node, and returns its queue's size.
func notify(t *testing.T, a *app.App, user, text string) float64 {
	t.Helper()
	m := rest(t, a, "POST", "/api/v1/users/"+user+"/notifications", fmt.Sprintf(`{"notifications":[{"message":%q}]}`, text))
	return m["notifications"].([]any)[0].(map[string]any)["queue_size"].(float64)
}

// TestMailboxesOfNodes puts messages at any node for users who are at others.
func TestMailboxesOfNodes(t *testing.T) {
	nodes := cluster(t, 3)
	desk, phone := receive(t, nodes[1], "bob"), receive(t, nodes[2], "bob")
	if n := notify(t, nodes[0], "bob", "come"); n != 1 {
		t.Errorf("the queue has %v, want 1", n)
	}
	for _, b := range []*inbox{desk, phone} {
		happens(t, "bob is told at each of his devices", func() bool { return slices.Equal(b.read(), []string{"come"}) })
	}
	empty := func() bool {
		for _, a := range nodes {
			if !strings.Contains(scrape(t, "http://"+a.HTTPAddr().String()), "porchlight_mailbox_messages 0\n") {
				return false
			}
		}
		return true
	}
	happens(t, "what was told has left the queue at all nodes", empty)

	// Sizes go on whoever puts, also when the node that put first has gone.
	for i, a := range nodes {
		if n := notify(t, a, "carol", fmt.Sprint(i)); n != float64(i+1) {
			t.Errorf("node %d: the queue has %v, want %d", i, n, i+1)
		}
	}
	rest(t, nodes[1], "POST", "/api/v1/users/dave/notifications", `{"notifications":[{"message":"x"},{"message":"y"}]}`)
	stop(t, nodes[0])
	nodes = nodes[1:]
	t.Cleanup(func() { // the first of these to stop takes the quorum from the other
		for _, a := range nodes {
			abandon(t, a)
		}
	})
	happens(t, "the others take messages", func() bool {
		code, m := restCode(t, nodes[0], "POST", "/api/v1/users/carol/notifications", `{"notifications":[{"message":"3","id":"once"}]}`)
		return code == 200 && m["notifications"].([]any)[0].(map[string]any)["queue_size"] == 4.0
	})
	late := receive(t, nodes[1], "carol")
	happens(t, "carol is told all in order", func() bool { return slices.Equal(late.read(), []string{"0", "1", "2", "3"}) })

	// Erasure at one node empties the mailbox at all.
	rest(t, nodes[1], "DELETE", "/api/v1/users/dave", "")
	if n := notify(t, nodes[0], "dave", "z"); n != 1 {
		t.Errorf("after the erasure the queue has %v, want 1", n)
	}
	dave := receive(t, nodes[1], "dave")
	happens(t, "dave is told what came after", func() bool { return slices.Equal(dave.read(), []string{"z"}) })
	happens(t, "all queues are empty", empty)
}
