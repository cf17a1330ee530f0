package chaos

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// mood is how a receiver of webhooks behaves for a while.
type mood string

const (
	takes    mood = "takes"             // 200
	slow     mood = "takes slowly"      // 200, after a moment
	forgets  mood = "takes and fails"   // it has read and kept it, and answers 500
	fails    mood = "fails"             // 503
	picky    mood = "fails every third" // 500 for some
	stalls   mood = "stalls"            // no answer until the mood changes
	cuts     mood = "cuts"              // the connection, without an answer
	wrong    mood = "answers wrongly"   // a redirect, a page, an endless body, no HTTP
	notThere mood = "is not there"      // 404
)

func moods() []mood { return []mood{takes, slow, forgets, fails, picky, stalls, cuts, wrong, notThere} }

// leastMood and mostMood are how long a mood lasts.
const leastMood, mostMood = 150 * time.Millisecond, 1200 * time.Millisecond

// change is one event of a native body, as far as it is checked.
type change struct {
	Position string `json:"position"`
	ID       string `json:"event_id"`
	Seq      int    `json:"user_seq"`
	Kind     string `json:"kind"`
	Reason   string `json:"reason"`
	Time     string `json:"time"`
	User     string `json:"user"`
	Session  struct {
		ID string `json:"id"`
	} `json:"session"`
	Invisible bool      `json:"invisible"`
	Available bool      `json:"available"`
	LastSeen  time.Time `json:"last_seen"`
}

// hook is a receiver of webhooks in changing moods.
type hook struct {
	t      *testing.T
	server *http.Server
	url    string
	secret string
	verify *standardwebhooks.Webhook

	mu       sync.Mutex // guards all below
	mood     mood
	changed  chan struct{}        // closed when the mood changes
	taken    []change             // in the order they were kept, repeats too
	seen     map[string]time.Time // when each first came, by event id
	news     time.Time            // when the last came that is no repeat
	requests map[mood]int
	gaps     int
	third    int
	stray    []string // what never may come
	tape     *tape    // takes what comes in place of taken and seen; nil: it does not
}

// newHook listens on loopback; it ends with the test.
func newHook(t *testing.T) *hook {
	t.Helper()
	return newHookAt(t, freeAddr(t))
}

func newHookAt(t *testing.T, addr string) *hook {
	t.Helper()
	h := &hook{t: t, secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", mood: takes, changed: make(chan struct{}), requests: map[mood]int{}, seen: map[string]time.Time{}}
	var err error
	if h.verify, err = standardwebhooks.NewWebhook(h.secret); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	h.url = "http://" + l.Addr().String() + "/hook?tenant=7"
	h.server = &http.Server{Handler: http.HandlerFunc(h.serve)}
	go func() { _ = h.server.Serve(l) }()
	t.Cleanup(func() { h.set(takes); _ = h.server.Close() })
	return h
}

func (h *hook) set(m mood) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mood = m
	close(h.changed)
	h.changed = make(chan struct{})
}

// sway changes the mood until stop.
func (h *hook) sway(stop <-chan struct{}, random *rand.Rand) {
	all := moods()
	for {
		h.set(all[random.IntN(len(all))])
		if !pause(stop, leastMood+time.Duration(random.Int64N(int64(mostMood-leastMood)))) {
			return
		}
	}
}

func (h *hook) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the server was killed while it sent
	}
	var b struct {
		Type   string   `json:"type"`
		Events []change `json:"events"`
	}
	err = h.verify.Verify(body, r.Header)
	if err == nil {
		err = json.Unmarshal(body, &b)
	}
	h.mu.Lock()
	m, changed := h.mood, h.changed
	h.requests[m]++
	h.third++
	if m == picky && h.third%3 == 0 {
		m = fails
	}
	switch {
	case err != nil:
		h.stray = append(h.stray, err.Error())
	case b.Type == "presence.gap":
		h.gaps++
	case m == takes, m == slow, m == forgets, m == picky:
		h.keep(b.Events)
	}
	h.mu.Unlock()
	h.answer(w, r, answering{m, changed})
}

// keep takes events; mu is held.
func (h *hook) keep(events []change) {
	if h.tape != nil {
		h.tape.take(events, time.Now())
		return
	}
	h.taken = append(h.taken, events...)
	for i := range events {
		if h.seen[events[i].ID].IsZero() {
			h.news = time.Now()
			h.seen[events[i].ID] = h.news
		}
	}
}

type answering struct {
	mood    mood
	changed <-chan struct{}
}

func (h *hook) answer(w http.ResponseWriter, r *http.Request, a answering) {
	switch a.mood {
	case slow:
		pause(r.Context().Done(), 100*time.Millisecond)
	case forgets:
		w.WriteHeader(http.StatusInternalServerError)
	case fails:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	case stalls:
		select {
		case <-a.changed:
		case <-r.Context().Done():
		}
		cut(w)
	case cuts:
		cut(w)
	case wrong:
		h.babble(w)
	case notThere:
		http.NotFound(w, r)
	}
}

// babble answers what is no answer.
func (h *hook) babble(w http.ResponseWriter) {
	h.mu.Lock()
	n := h.third % 4
	h.mu.Unlock()
	switch n {
	case 0:
		w.Header().Set("Location", h.url)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case 1: // more than is read
		page := strings.Repeat("x", 1<<20)
		for range 10 {
			if _, err := io.WriteString(w, page); err != nil {
				return
			}
		}
	case 2:
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(c, "HELO\r\n\r\n")
			c.Close()
		}
	case 3:
		w.WriteHeader(http.StatusNotModified)
	}
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		c.Close()
	}
}

// all is what was kept so far.
func (h *hook) all() []change {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]change{}, h.taken...)
}
