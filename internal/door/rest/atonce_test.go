package rest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Servers do everything at once to a few users: no call is answered with an
// internal error, and in the end the counts agree with what each user shows.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	users := []string{"alice", "bob", "carol"}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 7))
			for range 60 {
				u, o := users[random.IntN(3)], users[random.IntN(3)]
				call := [][3]string{
					{"PUT", "/users/" + u + "/presence?name=" + o, fmt.Sprintf(`{"ttl":60,"invisible":%v}`, random.IntN(3) == 0)},
					{"PUT", "/users/" + u + "/presence?name=" + o, `{"ttl":60,"status":"away"}`},
					{"DELETE", "/users/" + u + "/presence?name=" + o, ""},
					{"DELETE", "/users/" + u + "/sessions", ""},
					{"DELETE", "/users/" + u, ""},
					{"GET", "/users/" + u + "/sessions?view=true", ""},
					{"GET", "/online", ""},
					{"PUT", "/users/" + u + "/friends/x" + o + "?direction=both", ""},
					{"PUT", "/users/" + u + "/blocks/x" + o, ""},
				}[random.IntN(9)]
				w := n.do(call[0], call[1], call[2])
				if !fair(w) {
					t.Errorf("%v: got %d %s", call, w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	online, sessions := 0, 0
	for _, u := range users {
		name := presence.User{App: "demo", ID: presence.UserID(u)}
		if n.tracker.Presence(name).Available(false) != presence.Unavailable {
			online++
		}
		sessions += len(n.tracker.Sessions(name))
	}
	if c := n.tracker.Count("demo"); c.Users != online || c.Live != sessions || c.Created+c.Lost != 0 {
		t.Errorf("counted %+v, want %d users and %d sessions", c, online, sessions)
	}
}

// fair is what a call may be answered while others erase its user.
func fair(w *httptest.ResponseRecorder) bool {
	return w.Code == http.StatusOK || w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != "" ||
		w.Code == http.StatusTooManyRequests
}
