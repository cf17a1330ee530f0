package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// ownersLed is how soon after the kill of the node that served a webhook another
// serves it at the latest, also when the killed one led the store (docs/cluster.md
// has what was measured).
const ownersLed = 15 * time.Second

const ownersKey = "0123456789abcdef0123456789abcdef"

// TestOwners kills the node that serves a webhook, again and again, while presences
// come and go at the others: another serves it soon, nothing that was acknowledged is
// missing (R4), and what comes first is in order for each user (R5).
func TestOwners(t *testing.T) {
	o := newOwners(t)
	o.server()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	for n := range 20 {
		load.Go(func() { o.comeAndGo(ctx, fmt.Sprintf("user%d", n)) })
	}
	for round := range min(rounds(t), 5) {
		o.round(round)
		if t.Failed() {
			break
		}
	}
	cancel()
	load.Wait()
	o.check()
}

// newOwners starts nodes that have one webhook; they are skipped without
// PORCHLIGHT_CHAOS_NODES.
func newOwners(t *testing.T) *owners {
	t.Helper()
	count, err := strconv.Atoi(os.Getenv("PORCHLIGHT_CHAOS_NODES"))
	if err != nil || count < 3 {
		t.Skip("runs with PORCHLIGHT_CHAOS_NODES=3, or more")
	}
	h := newHook(t)
	f := newFleet(t, setting{count: count, wordy: true, app: fmt.Sprintf(`    server_keys: [{id: k, secret: %q}]
    webhooks: {main: {url: "%s", secrets: [%s], allow_private: true}}
`, ownersKey, h.url, h.secret)})
	if err := f.start(f.all()...); err != nil {
		t.Fatal(err)
	}
	return &owners{t: t, fleet: f, hook: h, stored: map[string]int{}, there: map[string]bool{}}
}

// owners is the play of TestOwners, and of TestFirstMoments.
type owners struct {
	t     *testing.T
	fleet *fleet
	hook  *hook

	taken int // by the hook before the last kill

	mu     sync.Mutex      // guards all below
	stored map[string]int  // how many events of a user were acknowledged
	acked  [][2]time.Time  // when something was asked for, and when that was acknowledged
	there  map[string]bool // whether his presence was put or removed last; missing: not known
}

// round kills who serves just after it began a replay, and starts it again when
// another serves. Every second time the others were restarted before, so that the
// one that is killed leads much of the store; unless the webhook fell to one of them,
// as they are new members: then that one is killed.
func (o *owners) round(n int) {
	o.t.Helper()
	was := o.server()
	if n%2 == 1 {
		for _, j := range o.fleet.all() {
			if name := fmt.Sprint("n", j+1); name != was {
				o.restart(j)
			}
		}
	}
	pause(o.t.Context().Done(), 2*time.Second)
	was = o.server()
	i, _ := strconv.Atoi(strings.TrimPrefix(was, "n"))
	i--
	led := o.fleet.leads(i)
	code, m := o.ask(i, "POST", "/webhooks/main/replay", `{"time":"2000-01-01T00:00:00Z"}`)
	replay, _ := m["replay"].(string)
	if code != http.StatusOK && code != http.StatusAccepted || replay == "" {
		o.t.Errorf("round %d: replay: %d %v", n+1, code, m)
	}
	o.hook.mu.Lock()
	o.taken = len(o.hook.taken)
	o.hook.mu.Unlock()
	at := o.fleet.kill(i)
	served, refused := o.await(was, at)
	stored, told := o.since(at)
	o.t.Logf("round %d: %s was killed, which led %v; another serves after %v, the store took something after %v, what happened since was told after %v; %d calls were told to try again",
		n+1, was, led, served.Round(time.Millisecond), stored.Round(time.Millisecond), told.Round(time.Millisecond), refused)
	if served == 0 || told == 0 || served > ownersLed || told > ownersLed {
		o.t.Errorf("round %d: served after %v, told after %v, want at most %v", n+1, served, told, ownersLed)
	}
	o.replayed(n, replay)
	if err := o.fleet.start(i); err != nil {
		o.t.Fatal(err)
	}
}

// restart stops a node politely and starts it again.
func (o *owners) restart(i int) {
	o.t.Helper()
	o.fleet.set(i, true)
	if err := o.fleet.nodes[i].term(); err != nil {
		o.t.Fatal(err)
	}
	if err := o.fleet.start(i); err != nil {
		o.t.Fatal(err)
	}
}

// await waits until a node says that another one serves the webhook, and something is
// told of what happened since the kill.
func (o *owners) await(was string, at time.Time) (served time.Duration, refused int) {
	ctx, cancel := context.WithTimeout(o.t.Context(), ownersLed)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, j := range o.fleet.there() { // beside each other: an answer may wait for the store
		asking.Go(func() {
			for ctx.Err() == nil {
				code, m := o.ask(j, "GET", "/webhooks/main", "")
				mu.Lock()
				switch {
				case code == http.StatusServiceUnavailable && (m["code"] == "NODE_UNAVAILABLE" || m["code"] == "LOG_UNAVAILABLE"):
					refused++
				case code != http.StatusOK:
					o.t.Errorf("node %d answers %d %v", j+1, code, m)
				case m["node"] != was && m["doing"] != "stopped" && served == 0:
					served = time.Since(at)
				}
				done := served > 0
				mu.Unlock()
				if _, told := o.since(at); done && told > 0 {
					return
				}
				pause(ctx.Done(), 20*time.Millisecond)
			}
		})
	}
	asking.Wait()
	return served, refused
}

// since says how long after a kill the store first acknowledged something again that
// was asked after it, and when the first event since came.
func (o *owners) since(at time.Time) (stored, told time.Duration) {
	o.mu.Lock()
	for _, a := range o.acked {
		if a[0].After(at) && (stored == 0 || a[1].Sub(at) < stored) {
			stored = a[1].Sub(at)
		}
	}
	o.mu.Unlock()
	o.hook.mu.Lock()
	defer o.hook.mu.Unlock()
	for i := o.taken; i < len(o.hook.taken); i++ {
		c := &o.hook.taken[i]
		stamp, err := time.Parse(time.RFC3339, c.Time)
		if came := o.hook.seen[c.ID].Sub(at); err == nil && stamp.After(at.Add(100*time.Millisecond)) && came > 0 && (told == 0 || came < told) {
			told = came
		}
	}
	return stored, told
}

// replayed waits until a replay is done that began just before the kill.
func (o *owners) replayed(n int, replay string) {
	o.t.Helper()
	var said string
	for limit := time.Now().Add(ownersLed); time.Now().Before(limit); pause(o.t.Context().Done(), 50*time.Millisecond) {
		done := 0
		for _, j := range o.fleet.there() {
			code, m := o.ask(j, "GET", "/webhooks/main", "")
			if code != http.StatusOK {
				continue
			}
			all, _ := m["replays"].([]any)
			said = fmt.Sprint(all)
			for _, one := range all {
				if r, _ := one.(map[string]any); r["replay"] == replay && r["doing"] == "done" {
					done++
				}
			}
		}
		if done == len(o.fleet.there()) {
			return
		}
	}
	o.t.Errorf("round %d: replay %s is not done: %s", n+1, replay, said)
}

// leaderLine says in a node's log that it leads a stream, or all of them (meta).
var leaderLine = regexp.MustCompile(`time=(\S+) .*(?:new stream leader for '\S+ > (\w+)'|Self is new JetStream cluster metadata leader)`)

// leads is the streams that a node leads, by the logs of all.
func (f *fleet) leads(i int) (streams []string) {
	leader, since := map[string]int{}, map[string]string{}
	for j, n := range f.nodes {
		b, err := os.ReadFile(n.log.Name())
		if err != nil {
			continue
		}
		for _, m := range leaderLine.FindAllStringSubmatch(string(b), -1) {
			stream := cmp.Or(m[2], "meta")
			if m[1] > since[stream] {
				leader[stream], since[stream] = j, m[1]
			}
		}
	}
	for name, j := range leader {
		if j == i {
			streams = append(streams, name)
		}
	}
	slices.Sort(streams)
	return streams
}

// server waits until all nodes name the same one, and returns it.
func (o *owners) server() (name string) {
	o.t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		name = ""
		agree := true
		for _, i := range o.fleet.all() {
			code, m := o.ask(i, "GET", "/webhooks/main", "")
			node, _ := m["node"].(string)
			agree = agree && code == http.StatusOK && m["doing"] != "stopped" && node != "" && (name == "" || name == node)
			name = node
		}
		if agree {
			return name
		}
		pause(o.t.Context().Done(), 50*time.Millisecond)
	}
	o.t.Fatal("the nodes do not agree who serves the webhook")
	return ""
}

// comeAndGo puts and removes a presence of a user at whatever node is there.
func (o *owners) comeAndGo(ctx context.Context, user string) {
	for n := 0; ctx.Err() == nil; n++ {
		there := o.fleet.there()
		if len(there) > 0 {
			method, body := "PUT", `{"ttl":3600}`
			if n%2 == 1 {
				method, body = "DELETE", ""
			}
			began := time.Now()
			code, m := o.ask(there[n%len(there)], method, "/users/"+user+"/presence", body)
			o.mu.Lock()
			o.there[user] = method == "PUT"
			switch {
			case code != http.StatusOK: // once more
				delete(o.there, user)
				n--
			case m["opened"] == true, m["removed"] == true:
				o.stored[user]++
				o.acked = append(o.acked, [2]time.Time{began, time.Now()})
			}
			o.mu.Unlock()
		}
		pause(ctx.Done(), 50*time.Millisecond)
	}
}

// ask calls the REST API of a node; 0: it did not answer.
func (o *owners) ask(i int, method, path, body string) (code int, m map[string]any) {
	ctx, cancel := context.WithTimeout(o.t.Context(), 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+o.fleet.nodes[i].http+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil
	}
	r.Header.Set("Authorization", "Bearer "+ownersKey)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(b, &m) != nil {
		return 0, nil
	}
	return resp.StatusCode, m
}

// check waits until all that was acknowledged has come, and looks at the order.
func (o *owners) check() {
	o.t.Helper()
	missing := func() (list []string) {
		_, told := o.first()
		o.mu.Lock()
		defer o.mu.Unlock()
		for user, n := range o.stored {
			if told[user] < n {
				list = append(list, fmt.Sprintf("%s: %d of %d", user, told[user], n))
			}
		}
		return list
	}
	limit := time.Now().Add(patience)
	for len(missing()) > 0 && time.Now().Before(limit) {
		pause(o.t.Context().Done(), 50*time.Millisecond)
	}
	if lost := missing(); len(lost) > 0 {
		o.t.Errorf("R4: acknowledged and not told: %v", lost)
	}
	o.present()
	wrong, told := o.first()
	for _, w := range wrong {
		o.t.Errorf("R5: %s", w)
	}
	all := 0
	for _, n := range told {
		all += n
	}
	o.hook.mu.Lock()
	defer o.hook.mu.Unlock()
	o.t.Logf("%d events told, %d of them again; stray: %v, gaps: %d", all, len(o.hook.taken)-all, o.hook.stray, o.hook.gaps)
	if len(o.hook.stray) > 0 || o.hook.gaps > 0 {
		o.t.Errorf("stray %v, gaps %d", o.hook.stray, o.hook.gaps)
	}
}

// present compares what every node knows with what was put and removed last, also of
// presences whose node was killed.
func (o *owners) present() {
	o.t.Helper()
	for user, there := range o.there {
		for _, i := range o.fleet.all() {
			got := false
			for limit := time.Now().Add(5 * time.Second); time.Now().Before(limit); pause(o.t.Context().Done(), 50*time.Millisecond) {
				_, m := o.ask(i, "GET", "/users/"+user, "")
				if got = m["available"] == there; got {
					break
				}
			}
			if !got {
				o.t.Errorf("R6: node %d does not know that %s is there: %v", i+1, user, there)
			}
		}
	}
}

// first is what came that was no repeat: how many of each user, and what was not in
// order.
func (o *owners) first() (wrong []string, told map[string]int) {
	o.hook.mu.Lock()
	defer o.hook.mu.Unlock()
	told = map[string]int{}
	seen := map[string]bool{}
	for i := range o.hook.taken {
		c := &o.hook.taken[i]
		if seen[c.ID] {
			continue
		}
		seen[c.ID] = true
		if told[c.User]++; c.Seq != told[c.User] {
			wrong = append(wrong, fmt.Sprintf("%s: number %d came as the %d.", c.User, c.Seq, told[c.User]))
		}
	}
	return wrong, told
}
