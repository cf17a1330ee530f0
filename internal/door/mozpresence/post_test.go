package mozpresence

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
)

// streamed is an answer without an end.
type streamed struct {
	mu   sync.Mutex // guards all below
	got  []string
	over bool
}

// ended reports whether the answer ended after all.
func (s *streamed) ended() bool {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// stream makes a call whose answer does not end.
func (n *node) stream(path, key string) *streamed {
	n.t.Helper()
	here := n.port.Dial()
	r, err := http.NewRequest("GET", "http://presence.test"+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if err := r.Write(here); err != nil {
		n.t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(here), r)
	if err != nil || answer.StatusCode != http.StatusOK {
		n.t.Fatalf("stream: %v, %v", answer, err)
	}
	s := &streamed{}
	go func() {
		for in := bufio.NewScanner(answer.Body); in.Scan(); {
			s.mu.Lock()
			s.got = append(s.got, in.Text())
			s.mu.Unlock()
		}
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
	}()
	return s
}

// lines are the lines that came since.
func (s *streamed) lines() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := strings.Trim(strings.Join(s.got, "\n"), "\n")
	s.got = nil
	return got
}

// The document's exchange: a list, an acknowledgement with the size.
func TestPost(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		alice, bob := n.grant(id, "alice"), n.grant(id, "bob")
		if got, want := n.post(id, key, noteFor(alice, "one")), `{"result":"OK","queue_size":1}`; got != want {
			t.Errorf("one item: got %s, want %s", got, want)
		}
		want := fmt.Sprintf(`{"result":"OK","queue_size":1,"items":[{"userid":"%s","result":"OK","queue_size":2},{"userid":"%s","result":"OK","queue_size":1}]}`, alice, bob)
		if got := n.post(id, key, noteFor(alice, "two"), noteFor(bob, "three")); got != want {
			t.Errorf("a batch: got %s, want %s", got, want)
		}
		_, got := n.call("POST", "/"+id+"/notification", key, fmt.Sprintf(`{"uid":%q,"message":"four","url":"https://x.example/"}`, alice))
		if got != `{"result":"OK","queue_size":3}` {
			t.Errorf("one object, with the former words: got %s", got)
		}
		a := n.device("alice", "unavailable")
		frames := a.Came()
		if got := messages(t, frames); fmt.Sprint(got) != "[one two four]" {
			t.Errorf("handed over: %v", got)
		}
		var frame struct {
			User          string
			Notifications []struct{ UserID, AppID, Message, Action, ID string }
		}
		if err := json.Unmarshal([]byte(frames[0]), &frame); err != nil || frame.User != "alice" {
			t.Fatalf("%s: %v", frames[0], err)
		}
		if one := frame.Notifications[0]; one.UserID != alice || one.AppID != id || one.Action != "https://chat.example.com/" || one.ID == "" {
			t.Errorf("a notification: got %+v", one)
		}
		wait(2 * time.Second)
		second := n.device("alice", "online")
		if got := messages(t, second.Came()); len(got) != 0 {
			t.Errorf("purged: got %v again", got)
		}
		if got := n.post(id, key, noteFor(alice, "live")); got != `{"result":"OK","queue_size":1}` {
			t.Errorf("to who is there: got %s", got)
		}
		for _, p := range []*peer{a, second} {
			if got := messages(t, p.Came()); fmt.Sprint(got) != "[live]" {
				t.Errorf("every connection gets it: got %v", got)
			}
		}
		a.say(`{"status":"offline"}`)
		second.say(`{"status":"offline"}`)
		n.post(id, key, noteFor(alice, "later"))
		if got := messages(t, a.Came()); len(got) != 0 {
			t.Errorf("who is offline: got %v", got)
		}
		a.Send(`{"status":"online"}`)
		if got := messages(t, a.Came()[1:]); fmt.Sprint(got) != "[later]" {
			t.Errorf("back: got %v", got)
		}
	})
}

// 100 wait, the oldest goes first, and after 5 minutes all of it.
func TestQueueBounds(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		uid := n.grant(id, "alice")
		var all []string
		for i := range mailbox.Capacity + 1 {
			all = append(all, noteFor(uid, fmt.Sprint(i)))
		}
		if got := n.post(id, key, all...); !strings.HasPrefix(got, `{"result":"OK","queue_size":100,`) {
			t.Errorf("101: got %.60s", got)
		}
		p := n.device("alice", "online")
		got := messages(t, p.Came())
		if len(got) != mailbox.Capacity || got[0] != "1" || got[99] != "100" {
			t.Errorf("handed over: %d, from %v", len(got), got[:1])
		}
		p.say(`{"status":"offline"}`)
		wait(2 * time.Second)
		for ttl, want := range map[string]string{`,"ttl":0`: "[x]", `,"ttl":301`: "[x]", `,"ttl":1.5`: "[]", ``: "[]"} {
			n.post(id, key, fmt.Sprintf(`{"userid":%q,"message":"x"%s}`, uid, ttl))
			wait(mailbox.DefaultTTL)
			p.Send(`{"status":"online"}`)
			if got := messages(t, p.Came()[1:]); fmt.Sprint(got) != want {
				t.Errorf("after 5 minutes with %q: got %v, want %s", ttl, got, want)
			}
			p.say(`{"status":"offline"}`)
			wait(2 * time.Second)
		}
	})
}

func TestRefusedPosts(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		_, foreign := n.active()
		uid, gone := n.grant(id, "alice"), n.grant(id, "bob")
		if _, _, err := n.reg.Revoke(t.Context(), user("bob"), id); err != nil {
			t.Fatal(err)
		}
		chars := func(count int) string { return strings.Repeat("😀", count) }
		good := noteFor(uid, "good")
		for _, one := range []struct {
			name, key, body string
			status, errno   int
		}{
			{"no key", "", good, 401, errKey},
			{"another's key", foreign, good, 401, errKey},
			{"not JSON", key, "hello", 400, errJSON},
			{"Python's quotes", key, `[{'userid': 'x'}]`, 400, errJSON},
			{"nothing", key, "", 400, errJSON},
			{"an empty list", key, "[]", 400, errEmpty},
			{"a text in the list", key, `["x"]`, 400, errJSON},
			{"a number for a message", key, fmt.Sprintf(`[{"userid":%q,"message":1}]`, uid), 400, errJSON},
			{"no message", key, fmt.Sprintf(`[{"userid":%q}]`, uid), 400, errJSON},
			{"no userid", key, `[{"message":"x"}]`, 400, errJSON},
			{"513 characters", key, "[" + noteFor(uid, chars(513)) + "]", 400, errTooLong},
			{"513 of action", key, fmt.Sprintf(`[{"userid":%q,"message":"x","action":%q}]`, uid, chars(513)), 400, errTooLong},
			{"a negative ttl", key, fmt.Sprintf(`[{"userid":%q,"message":"x","ttl":-1}]`, uid), 400, errJSON},
			{"unknown", key, "[" + noteFor(strings.Repeat("a", 26), "x") + "]", 400, errNoUser},
			{"revoked", key, "[" + noteFor(gone, "x") + "]", 400, errNoUser},
			{"a user id", key, "[" + noteFor("alice", "x") + "]", 400, errNoUser},
			{"one bad of two", key, "[" + good + "," + noteFor(gone, "x") + "]", 400, errNoUser},
			{"too many", key, "[" + strings.Repeat(good+",", mailbox.MaxItems) + good + "]", 400, errTooLong},
			{"a large body", key, "[" + strings.Repeat(" ", maxBody) + "]", 400, errTooLong},
		} {
			status, answer := n.call("POST", "/"+id+"/notification", one.key, one.body)
			if status != one.status || !strings.HasPrefix(answer, fmt.Sprintf(`{"result":"KO","errno":%d,"error":`, one.errno)) {
				t.Errorf("%s: got %d %.200s, want %d, errno %d", one.name, status, answer, one.status, one.errno)
			}
			if strings.Contains(answer, "undefined") || !json.Valid([]byte(answer)) {
				t.Errorf("%s: %s is not JSON", one.name, answer)
			}
		}
		if size := n.boxes.Size(user("alice"), id); size != 0 {
			t.Errorf("bad calls stored %d notifications", size)
		}
		_, unknown := n.call("POST", "/"+id+"/notification", key, "["+noteFor(strings.Repeat("a", 26), "x")+"]")
		_, revoked := n.call("POST", "/"+id+"/notification", key, "["+noteFor(gone, "x")+"]")
		if strings.ReplaceAll(revoked, gone, "") != strings.ReplaceAll(unknown, strings.Repeat("a", 26), "") {
			t.Errorf("revoked and unknown differ: %s, %s", revoked, unknown)
		}
		for _, fits := range []string{
			noteFor(uid, chars(512)), fmt.Sprintf(`{"userid":%q,"message":"x","action":%q}`, uid, chars(512)), strings.Repeat(good+",", mailbox.MaxItems-1) + good,
		} {
			n.post(id, key, fits)
		}
	})
}

// A revocation empties the queue, also of what was stored a moment ago.
func TestRevokeEmptiesTheQueue(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		n.post(id, key, noteFor(n.grant(id, "alice"), "x"))
		if _, _, err := n.reg.Revoke(t.Context(), user("alice"), id); err != nil {
			t.Fatal(err)
		}
		if size := n.boxes.Size(user("alice"), id); size != 0 {
			t.Errorf("%d notifications are left", size)
		}
		list := []mailbox.Item{{User: user("alice"), Publisher: id, Alias: strings.Repeat("a", 26), Text: "x"}}
		if _, err := n.boxes.Put(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if err := n.door.still(t.Context(), list); err != nil || n.boxes.Size(user("alice"), id) != 0 {
			t.Errorf("stored while it was revoked: %v, %d are left", err, n.boxes.Size(user("alice"), id))
		}
	})
}

func TestCallsPerSecond(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		last := ""
		for range callsPerSecond + 1 {
			_, last = n.call("GET", "/"+id+"/presence?uid=x", key, "")
		}
		if !strings.Contains(last, `"errno":42`) || !strings.Contains(last, `"retry_after":1`) {
			t.Errorf("one too many: got %s", last)
		}
		wait(time.Second)
		if status, answer := n.call("GET", "/"+id+"/presence?uid=x", key, ""); status != http.StatusOK {
			t.Errorf("a second later: got %s", answer)
		}
	})
}

// Every kind of fault has its number, and every number its HTTP status.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		if no := ofKind(k); (no == errInternal) != (k == fault.Internal) || no < errAssertion || no > errInternal {
			t.Errorf("%v: got errno %d", k, no)
		}
	}
	for no := errAssertion; no <= errInternal; no++ {
		if s := statusOf(no); s < 400 || (s == http.StatusInternalServerError) != (no == errInternal) {
			t.Errorf("errno %d: got status %d", no, s)
		}
	}
}

func FuzzFrames(f *testing.F) {
	for _, s := range []string{`{"email":"a","assertion":"b","status":"online"}`, `{"key":"k"}`, `{"action":"notify","target":"x","ttl":1e300}`, `[{"userid":"u","message":"m"}]`, `[[]]`, `{"ttl":"x"}`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d deviceFrame
		var p publisherFrame
		answers := []*refusal{parse(b, &d), parse(b, &p)}
		items, no := parseItems(b)
		answers = append(answers, no)
		for i := range items {
			if no := items[i].check(items[i].action()); no != nil {
				answers = append(answers, no)
			} else if ttl := items[i].ttl(time.Minute); ttl < 0 || ttl > mailbox.LongestTTL {
				t.Errorf("ttl %v", ttl)
			}
		}
		for _, no := range answers {
			if no != nil && !json.Valid(append(no.appendKO([]byte{'{'}), '}')) {
				t.Errorf("refusal of %q is not JSON: %v", b, no)
			}
		}
		emailOf(string(b))
	})
}
