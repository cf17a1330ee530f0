package rest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Changes come by pull, whole and in order, of one app.
func TestChanges(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.wants("GET", "/changes", "", `{"events":[],"next":"*","more":false}`)
		n.put("alice")
		n.put("bob")
		if w := n.doAs(otherSecret, "PUT", Prefix+"/users/mallory/presence", `{"ttl":60}`); w.Code != 200 {
			t.Fatal(w.Code)
		}
		n.ok("DELETE", "/users/alice/presence", "")
		var got []string
		next, calls := "", 0
		for more := true; more; calls++ {
			page := n.ok("GET", "/changes?limit=2&after="+next, "")
			for _, e := range list(t, page, "events") {
				got = append(got, fmt.Sprintf("%v %v %v", e["user"], e["kind"], e["user_seq"]))
			}
			next, more = page["next"].(string), page["more"].(bool)
		}
		if want := []string{"alice opened 1", "bob opened 1", "alice closed 2"}; !slices.Equal(got, want) || calls < 2 {
			t.Errorf("got %v in %d calls, want %v", got, calls, want)
		}
		n.wants("GET", "/changes?after="+next, "", `{"events":[],"next":"*","more":false}`)

		for query, field := range map[string]string{
			"after=x": "query.after", "after=999999": "query.after", "limit=0": "query.limit", "limit=1001": "query.limit", "wait=31": "query.wait", "wait=-1": "query.wait", "since=1": "query.since",
		} {
			p := n.refused("GET", "/changes?"+query, "", 422, "FIELD_INVALID")
			if errs := list(t, p, "errors"); errs[0]["location"] != field {
				t.Errorf("%s: got %v, want it at %s", query, errs, field)
			}
		}

		// Who waits is told as soon as something happens, and when nothing does.
		answers := make(chan map[string]any)
		wait := func(seconds int) {
			go func() { answers <- decode(t, n.do("GET", fmt.Sprintf("/changes?wait=%d&after=%s", seconds, next), "")) }()
			synctest.Wait()
		}
		began := time.Now()
		wait(7)
		if a := <-answers; len(list(t, a, "events")) != 0 || time.Since(began) != 7*time.Second {
			t.Errorf("got %v after %v, want nothing after 7 s", a, time.Since(began))
		}
		began = time.Now()
		wait(30)
		<-time.After(3 * time.Second)
		n.put("carol")
		a := <-answers
		if e := list(t, a, "events"); len(e) != 1 || e[0]["user"] != "carol" || time.Since(began) > 3*time.Second+100*time.Millisecond {
			t.Errorf("got %v after %v, want carol at once", a, time.Since(began))
		}
		next = a["next"].(string)
		wait(30)
		n.door.Drain()
		if a := <-answers; a["next"] != next || len(list(t, a, "events")) != 0 {
			t.Errorf("got %v, want what it knew when the node stops", a)
		}
	})
}

func TestHistory(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		for range 3 {
			n.put("alice")
			n.ok("DELETE", "/users/alice/presence", "")
		}
		n.put("bob")
		var got []string
		for next := ""; ; {
			page := n.ok("GET", "/users/alice/history?limit=4&next="+next, "")
			for _, e := range list(t, page, "events") {
				got = append(got, fmt.Sprintf("%v%v", e["user_seq"], e["kind"]))
			}
			if page["next"] == nil {
				break
			}
			next = page["next"].(string)
		}
		if want := []string{"6closed", "5opened", "4closed", "3opened", "2closed", "1opened"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		n.wants("GET", "/users/nobody/history", "", `{"events":[]}`)
		if w := n.doAs(otherSecret, "GET", Prefix+"/users/alice/history", ""); strings.Contains(w.Body.String(), "alice") {
			t.Errorf("another app reads %s", w.Body)
		}
		n.refused("GET", "/users/alice/history?next=x", "", 422, "FIELD_INVALID")
		n.refused("GET", "/users/alice/history?limit=1001", "", 422, "FIELD_INVALID")
	})
}
