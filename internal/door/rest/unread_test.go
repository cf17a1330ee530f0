package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// unreadable are webhooks whose store cannot be read.
type unreadable struct{ Webhooks }

var errNoLeader = errors.New("natsstore: no leader of PL_DEAD")

func (unreadable) Status(context.Context, presence.AppID) ([]webhook.Status, error) {
	return nil, errNoLeader
}

func (unreadable) Endpoint(context.Context, presence.AppID, string) (webhook.Status, error) {
	return webhook.Status{}, errNoLeader
}

func (unreadable) Letters(context.Context, presence.AppID, string, string, int) ([]webhook.Letter, string, error) {
	return nil, "", errNoLeader
}

func (unreadable) Replay(context.Context, presence.AppID, string, webhook.From) (webhook.Replay, error) {
	return webhook.Replay{}, errNoLeader
}

// TestStoreThatCannotBeRead: while the store elects a leader calls are worth another
// try, and the caller learns nothing of how it is built.
func TestStoreThatCannotBeRead(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.door.cfg.Webhooks = unreadable{n.webhooks}
		for _, c := range [][3]string{{"GET", "/webhooks", ""}, {"GET", "/webhooks/main", ""}, {"GET", "/webhooks/main/dead", ""}, {"POST", "/webhooks/main/replay", `{"position":"1"}`}} {
			w := n.do(c[0], c[1], c[2])
			n.problem(w, c[0]+" "+c[1], http.StatusServiceUnavailable, "LOG_UNAVAILABLE")
			if w.Header().Get("Retry-After") != "2" || strings.Contains(w.Body.String(), "PL_DEAD") {
				t.Errorf("%s %s: %v %s", c[0], c[1], w.Header(), w.Body)
			}
		}
		if !strings.Contains(n.book.String(), "no leader of PL_DEAD") {
			t.Error("the log does not say why")
		}
	})
}
