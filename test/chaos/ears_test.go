package chaos

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ears are the receivers of the foreign formats. They fold what comes: which
// connections RongCloud's knows of, and whom Tencent's knows to be logged in.
type ears struct {
	rong, tencent string // addresses

	mu      sync.Mutex // guards all below
	conns   map[string]*heardOf
	users   map[string]*heardOf
	found   []string
	events  int
	repeats int
}

// heardOf is what came of a connection, or of a user.
type heardOf struct {
	there  bool          // as the last one says, a repeat or not
	newest heardEvent    // that is no repeat
	last   [8]heardEvent // to know repeats
	next   int
}

type heardEvent struct {
	there bool
	time  int64
}

// newEars listens on loopback; it ends with the test.
func newEarsAt(t *testing.T, addr string) *ears {
	t.Helper()
	e := &ears{conns: map[string]*heardOf{}, users: map[string]*heardOf{}}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	e.rong, e.tencent = "http://"+l.Addr().String()+"/rong", "http://"+l.Addr().String()+"/tencent"
	mux := http.NewServeMux()
	mux.HandleFunc("/rong", e.serve(e.hearRong))
	mux.HandleFunc("/tencent", e.serve(e.hearTencent))
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return e
}

func (e *ears) serve(hear func(r *http.Request, body []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the node was killed while it sent
		}
		e.mu.Lock()
		hear(r, body)
		e.mu.Unlock()
		_, _ = io.WriteString(w, `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`)
	}
}

func (e *ears) blame(format string, args ...any) {
	if len(e.found) < mostBlame {
		e.found = append(e.found, fmt.Sprintf(format, args...))
	}
}

// hearRong takes a callback of RongCloud's; mu is held.
func (e *ears) hearRong(r *http.Request, body []byte) {
	q := r.URL.Query()
	sum := sha1.Sum([]byte(rongAppSecret + q.Get("nonce") + q.Get("timestamp")))
	if q.Get("signature") != hex.EncodeToString(sum[:]) {
		e.blame("rongcloud: a callback with a wrong signature")
	}
	var events []struct {
		UserID    string `json:"userid"`
		Status    string `json:"status"`
		Time      int64  `json:"time"`
		SessionID string `json:"sessionId"`
	}
	if err := json.Unmarshal(body, &events); err != nil {
		e.blame("rongcloud: %q: %v", body, err)
	}
	for _, one := range events {
		if wrong := e.take(e.conns, one.SessionID, heardEvent{one.Status == "0", one.Time}, true); wrong != "" {
			e.blame("R5: rongcloud: of session %s of %s: %s", one.SessionID, one.UserID, wrong)
		}
	}
}

// hearTencent takes a callback of Tencent's; mu is held.
func (e *ears) hearTencent(_ *http.Request, body []byte) {
	var b struct {
		EventTime int64
		Info      struct {
			Action  string
			Account string `json:"To_Account"`
		}
	}
	if err := json.Unmarshal(body, &b); err != nil || b.EventTime == 0 || b.Info.Account == "" {
		e.blame("tencentim: %q: %v", body, err)
	}
	if b.Info.Action == "CustomStatusChange" {
		return
	}
	// A body names no session, and of several the log decides the order, not their
	// clocks; its numbers are held against each other where they are told.
	e.take(e.users, b.Info.Account, heardEvent{b.Info.Action == "Login", b.EventTime}, false)
}

// take folds an event and says what is wrong with its order, unless it is a
// repeat; of a connection coming and going take turns.
func (e *ears) take(list map[string]*heardOf, key string, event heardEvent, turns bool) string {
	e.events++
	h := list[key]
	if h == nil {
		h = &heardOf{}
		list[key] = h
	}
	h.there = event.there
	if h.next > 0 && slices.Contains(h.last[:], event) {
		e.repeats++
		return ""
	}
	before, first := h.newest, h.next == 0
	h.last[h.next%len(h.last)] = event
	h.next++
	h.newest = event
	switch {
	case first || !turns:
	case event.time < before.time:
		return fmt.Sprintf("%+v came for the first time after %+v", event, before)
	case event.there == before.there:
		return fmt.Sprintf("%+v follows %+v", event, before)
	}
	return ""
}

// wrong gives what may never be told, once.
func (e *ears) wrong() (found []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	found, e.found = e.found, nil
	return found
}

// differ says where the two receivers know something else than a query shows:
// RongCloud's of all sessions, Tencent's of the users that have one at most.
func (e *ears) differ(query view, single []string) (found []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	open := map[string]bool{}
	for user, p := range query {
		for id := range p.sessions {
			open[id] = true
			if h := e.conns[id]; h == nil || !h.there {
				found = append(found, fmt.Sprintf("rongcloud: session %s of %s is open, and its receiver does not know it", id, user))
			}
		}
	}
	for id, h := range e.conns {
		if h.there && !open[id] {
			found = append(found, fmt.Sprintf("rongcloud: the receiver takes session %s to be open, and it is not", id))
		}
	}
	for _, user := range single {
		if h := e.users[user]; h != nil && h.there != query[user].online || h == nil && query[user].online {
			last := "nothing"
			if h != nil {
				last = fmt.Sprintf("%v at %s", h.last, clock(time.UnixMilli(h.newest.time)))
			}
			found = append(found, fmt.Sprintf("tencentim: the receiver does not know that %s is online %v; it was told %s", user, query[user].online, last))
		}
	}
	slices.Sort(found)
	return found
}

// knows reports whether Tencent's receiver takes a user to be logged in.
func (e *ears) knows(user string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.users[user]
	return h != nil && h.there
}

// forget drops connections that went before a time.
func (e *ears) forget(before time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, h := range e.conns {
		if !h.there && h.newest.time < before.UnixMilli() {
			delete(e.conns, id)
		}
	}
}

// checkEars waits until the receivers of foreign formats know what a query shows
// (R4–R6). Watchers of everybody are not among those who are asked for.
func (w *crowd) checkEars() {
	began := time.Now()
	var single, found []string
	for _, p := range w.patrons {
		p.mu.Lock()
		if p.overlaps == 0 {
			single = append(single, p.user)
		}
		p.mu.Unlock()
	}
	everybody := append([]string{}, w.all...)
	for i := range w.fleet.nodes {
		everybody = append(everybody, fmt.Sprintf("watcher%d", i), fmt.Sprintf("onlooker%d", i))
	}
	_, ok := w.eventually(began.Add(hookLimit), 100*time.Millisecond, func() bool {
		v, err := w.see(w.fleet.there()[0], everybody)
		if err != nil {
			found = []string{err.Error()}
			return false
		}
		found = w.ears.differ(v, single)
		return len(found) == 0
	})
	if !ok {
		for _, name := range []string{"rong", "tencent"} {
			var status struct{ Dead int }
			if err := w.rest(w.fleet.there()[0], http.MethodGet, "/webhooks/"+name, nil, &status); err != nil || status.Dead > 0 {
				w.blame("the endpoint %s has %d dead letters: %v", name, status.Dead, err)
			}
		}
		for i, text := range found {
			for _, p := range w.patrons {
				if strings.Contains(text, p.user) {
					found[i] += " " + p.String()
				}
			}
		}
		w.lose(found)
	}
	w.blameAll(w.ears.wrong())
	w.ears.forget(time.Now().Add(-lateAnswer))
}
