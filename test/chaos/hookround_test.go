package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	serverKey = "chaos-server-key-0123456789abcdef"

	visitorCount = 30
	// hookLimit is how long a receiver may lag after everything is well: no pause
	// outlives a start, and restart_grace is 2 s.
	hookLimit = 30 * time.Second
)

// TestWebhooks is R4, R5 and R12 at a webhook: openings, logouts, drops and lost
// links while the server is killed and the receiver is in all moods. It runs
// alone: beside TestChaos each would be too slow for the other's limits.
//
//nolint:paralleltest // see above
func TestWebhooks(t *testing.T) {
	seed := seedOf(t)
	n := newNode(t, "", "")
	h := newHook(t)
	n.settings += fmt.Sprintf(`    server_keys: [{id: k1, secret: %s}]
    webhooks: {main: {url: "%s", secrets: [%s], allow_private: true}}
`, serverKey, h.url, h.secret)
	n.configure(t, fmt.Sprintf("restart_grace: %v", shortRestart))
	w := newTown(t, n, seed)
	v := newVisitors(t, n, seed)
	populate(t, w)
	f := hookFigures{}
	for i, r := range plans(t) {
		if r.grace > shortRestart {
			break
		}
		ok := v.beside(h, func() bool { return w.run(t, i+1, r) })
		v.judge(t, fmt.Sprintf("round %d, visitors", i+1))
		if !ok {
			return
		}
		f.rounds++
	}
	w.load(leastLoad, killed)
	h.set(takes)
	w.begin(t)
	v.settle(t, h, &f)
	lives := append(everybody(w.history), everybody(v.history)...)
	taken := h.all()
	v.blameAll(checkOrder(taken))
	v.blameAll(checkTold(lives, taken))
	h.mu.Lock()
	v.blameAll(h.stray)
	if h.gaps > 0 {
		v.blame("%d gaps were told, and the log holds everything", h.gaps)
	}
	f.requests = h.requests
	h.mu.Unlock()
	v.judge(t, "at the end")
	f.print(t, seed, lives, taken)
}

// hookFigures are what is printed.
type hookFigures struct {
	rounds   int
	requests map[mood]int
	settled  time.Duration
}

func (f *hookFigures) print(t *testing.T, seed uint64, lives []*life, taken []change) {
	t.Helper()
	openings, closings := 0, 0
	for _, l := range lives {
		for _, o := range l.opens {
			openings += count(o)
		}
		if _, done := l.bye(); done {
			closings++
		}
	}
	first := map[string]bool{}
	for _, c := range taken {
		first[fmt.Sprint(c.User, " ", c.Seq)] = true
	}
	t.Logf(`seed %d
  rounds                                                         %d
  acknowledged openings / closings                               %d / %d
  events told / repeats                                          %d / %d
  requests by the receiver's mood                                %v
  the receiver knew everything after the last start (R1, 4 s)    %v`,
		seed, f.rounds, openings, closings, len(first), len(taken)-len(first), f.requests, f.settled.Round(time.Millisecond))
}

func everybody(h *history) (all []*life) {
	h.note(func() {
		for _, l := range h.lives {
			all = append(all, l)
		}
	})
	return all
}

// visitors are users who come and go in all ways there are, and never return to
// a session.
type visitors struct {
	*world
	devices []*device
	client  *http.Client
}

func newVisitors(t *testing.T, n *node, seed uint64) *visitors {
	t.Helper()
	var users []string
	for i := range visitorCount {
		users = append(users, fmt.Sprintf("visitor%02d", i))
	}
	v := &visitors{world: newWorld(t, n, seed, users), client: &http.Client{Timeout: callLimit}}
	t.Cleanup(v.client.CloseIdleConnections)
	for i, user := range users {
		d, err := v.newDevice(user, "", uint64(1000+i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.drop(); d.conn.Close() })
		v.devices = append(v.devices, d)
	}
	return v
}

// beside runs f while visitors come and go and the receiver sways.
func (v *visitors) beside(h *hook, f func() bool) bool {
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for _, d := range v.devices {
		busy.Go(func() { v.visit(d, stop) })
	}
	busy.Go(func() { h.sway(stop, rand.New(rand.NewPCG(v.seed, uint64(len(h.all()))))) })
	ok := f()
	close(stop)
	busy.Wait()
	return ok
}

// visit comes and goes until stop.
func (v *visitors) visit(d *device, stop <-chan struct{}) {
	for pause(stop, leastPause+time.Duration(d.random.Int64N(int64(mostPause)))) {
		err := d.make()
		if err == nil {
			err = d.connect(opens, true)
		}
		if err == nil && pause(stop, time.Duration(d.random.Int64N(int64(200*time.Millisecond)))) {
			err = v.leave(d)
		}
		d.failed("a visit", err)
		d.drop()
		d.life = nil
	}
}

// leave ends a visit in one of four ways; by two of them the server is asked.
func (v *visitors) leave(d *device) error {
	switch d.random.IntN(4) {
	case 0, 1:
		return d.bye()
	case 2:
		return v.dropped(d)
	}
	return nil // the link is lost without a word
}

// dropped asks the server API to drop the session.
func (v *visitors) dropped(d *device) error {
	l := d.life
	place := -1
	return d.ask(func(a act) {
		if place < 0 {
			place = len(l.byes)
			l.byes = append(l.byes, a)
		}
		l.byes[place] = a
	}, func(ctx context.Context) error {
		resp, err := v.api(ctx, http.MethodDelete, "/users/"+d.user+"/sessions/"+l.public)
		if err != nil {
			return nil // the server goes; nobody knows, and unlike a call of grpc's this is no fault
		}
		defer resp.Body.Close()
		if resp.StatusCode >= 300 && resp.StatusCode < 500 {
			return fmt.Errorf("drop: status %d", resp.StatusCode)
		}
		return nil
	})
}

func (v *visitors) api(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+v.node.http+"/api/v1"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+serverKey)
	return v.client.Do(req)
}

// settle waits until the receiver knows what a snapshot has, and holds both
// against each other.
func (v *visitors) settle(t *testing.T, h *hook, f *hookFigures) {
	t.Helper()
	began := time.Now()
	var found []string
	v.eventually(began.Add(hookLimit), 100*time.Millisecond, func() bool {
		told, wrong := fold(h.all())
		snapshot, err := v.snapshot()
		if err != nil {
			found = []string{err.Error()}
			return false
		}
		found = append(wrong, differKnown(told, snapshot)...)
		return len(found) == 0 && time.Since(began) > shortRestart+ghostMargin
	})
	// Not when it was found out: a snapshot takes its time.
	h.mu.Lock()
	f.settled = max(0, h.news.Sub(began))
	h.mu.Unlock()
	if len(found) > 0 {
		v.blame("%v after the last start:", hookLimit)
		v.blameAll(found)
	}
}

// snapshot is what GET /api/v1/snapshot has of everybody.
func (v *visitors) snapshot() (map[string]known, error) {
	resp, err := v.api(v.ctx, http.MethodGet, "/snapshot")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("snapshot: status %d", resp.StatusCode)
	}
	users := map[string]known{}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	last := ""
	for lines.Scan() {
		var l struct {
			Type     string    `json:"type"`
			User     string    `json:"user"`
			Seq      int       `json:"user_seq"`
			LastSeen time.Time `json:"last_seen"`
			Sessions []struct {
				ID        string `json:"id"`
				Invisible bool   `json:"invisible"`
			} `json:"sessions"`
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
		if last = l.Type; l.Type != "user" || l.Seq == 0 {
			continue
		}
		k := known{seq: l.Seq, lastSeen: l.LastSeen, sessions: map[string]bool{}}
		for _, s := range l.Sessions {
			k.sessions[s.ID] = s.Invisible
		}
		users[l.User] = k
	}
	if last != "end" {
		return nil, fmt.Errorf("snapshot: it breaks off: %q is last, %w", last, lines.Err())
	}
	return users, nil
}

// TestProveHook: each check of what a webhook told can fail.
func TestProveHook(t *testing.T) {
	t.Parallel()
	at := func(seq int, kind string) change {
		c := change{User: "bob", Seq: seq, Kind: kind, ID: fmt.Sprint(seq), Position: fmt.Sprint(seq), Available: kind != "closed"}
		c.Session.ID = publicOf(1)
		if kind == "closed" {
			c.LastSeen = after(time.Duration(seq) * time.Second)
		}
		return c
	}
	one, two := at(1, "opened"), at(2, "closed")
	three := at(3, "opened")
	three.LastSeen = two.LastSeen
	other := two
	other.ID = "another"
	for name, c := range map[string]struct {
		taken []change
		want  string
	}{
		"in order":         {[]change{one, two, three}, ""},
		"repeats":          {[]change{one, one, two, one, two, three}, ""},
		"late":             {[]change{one, three, two}, "first time after"},
		"a hole":           {[]change{one, three}, "came after number 1"},
		"another on again": {[]change{one, two, other}, "again as"},
	} {
		if found := strings.Join(checkOrder(c.taken), "; "); (found == "") != (c.want == "") || !strings.Contains(found, c.want) {
			t.Errorf("%s: found %q, want %q", name, found, c.want)
		}
	}
	said := bobs(func(l *life) { l.says, l.byes = nil, []act{did(3 * time.Second)} })
	for name, c := range map[string]struct {
		taken []change
		fails bool
	}{"both": {[]change{one, two}, false}, "no closing": {[]change{one}, true}, "no opening": {[]change{two}, true}, "nothing": {nil, true}} {
		if found := checkTold([]*life{said}, c.taken); (len(found) > 0) != c.fails {
			t.Errorf("%s: found %q, want something %v", name, found, c.fails)
		}
	}
	told, found := fold([]change{one, two, three, two})
	if len(found) > 0 || told["bob"].seq != 3 || len(told["bob"].sessions) != 1 {
		t.Errorf("got %v, %q, want bob at number 3 with a session", told, found)
	}
	back := at(4, "closed")
	back.LastSeen = after(time.Second)
	if _, found := fold([]change{one, two, three, back}); len(found) != 1 {
		t.Errorf("a last seen that goes back: found %q", found)
	}
	unsaid := at(4, "closed")
	unsaid.Available, unsaid.LastSeen = true, after(9*time.Second)
	if _, found := fold([]change{one, two, three, unsaid}); len(found) != 1 {
		t.Errorf("available without a session: found %q", found)
	}
	same := map[string]known{"bob": {3, map[string]bool{publicOf(1): false}, two.LastSeen}}
	if found := differKnown(told, same); len(found) > 0 {
		t.Errorf("the same: found %q", found)
	}
	for name, snapshot := range map[string]map[string]known{
		"behind":          {"bob": {4, same["bob"].sessions, two.LastSeen}},
		"no session":      {"bob": {3, map[string]bool{}, two.LastSeen}},
		"invisible":       {"bob": {3, map[string]bool{publicOf(1): true}, two.LastSeen}},
		"seen":            {"bob": {3, same["bob"].sessions, after(0)}},
		"nobody":          {},
		"someone besides": {"bob": same["bob"], "carol": {seq: 1}},
	} {
		if found := differKnown(told, snapshot); len(found) != 1 {
			t.Errorf("%s: found %q, want one difference", name, found)
		}
	}
}

// TestProveNews: a repeat is no news.
func TestProveNews(t *testing.T) {
	t.Parallel()
	opened, closed, again := change{ID: "1"}, change{ID: "2"}, change{ID: "3"}
	h := hook{seen: map[string]time.Time{}}
	h.keep([]change{opened, closed})
	news := h.news
	if h.keep([]change{opened}); news.IsZero() || h.news != news {
		t.Errorf("a repeat is news: %v, then %v", news, h.news)
	}
	if h.keep([]change{again}); h.news == news || len(h.taken) != 4 {
		t.Errorf("number 3 is no news, or was not kept: %v", h.taken)
	}
}
