package rest

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// snapshot reads a snapshot's lines.
func snapshot(t *testing.T, body io.Reader) (lines []map[string]any) {
	t.Helper()
	dec := json.NewDecoder(body)
	for {
		var line map[string]any
		if err := dec.Decode(&line); err == io.EOF {
			return lines
		} else if err != nil {
			t.Fatalf("%v after %v", err, lines)
		}
		lines = append(lines, line)
	}
}

// names are the users of a snapshot's lines; the lines around them are checked.
func names(t *testing.T, lines []map[string]any) (users []string) {
	t.Helper()
	first, last := lines[0], lines[len(lines)-1]
	for _, l := range lines[1 : len(lines)-1] {
		users = append(users, l["user"].(string))
	}
	n, _ := last["users"].(float64)
	if first["type"] != "snapshot" || first["app"] != "demo" || first["position"] == nil || last["type"] != "end" || int(n) != len(users) {
		t.Errorf("got %v … %v around %d users", first, last, len(users))
	}
	slices.Sort(users)
	return users
}

// A snapshot is everybody at one position; the changes behind it tell the rest.
func TestSnapshot(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.put("alice")
		n.ok("PUT", "/users/bob/presence", `{"ttl":60,"status":"busy","invisible":true,"properties":{"seats":9007199254740993}}`)
		n.put("carol")
		n.ok("DELETE", "/users/carol/presence", "")
		n.doAs(otherSecret, "PUT", Prefix+"/users/mallory/presence", `{"ttl":60}`)
		w := n.do("GET", "/snapshot", "")
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/x-ndjson" || w.Header().Get("Content-Encoding") != "" {
			t.Fatalf("got %d %v", w.Code, w.Header())
		}
		raw := w.Body.String()
		lines := snapshot(t, strings.NewReader(raw))
		if got := names(t, lines); !slices.Equal(got, []string{"alice", "bob", "carol"}) {
			t.Errorf("got %v, want all of the app", got)
		}
		for _, l := range lines[1 : len(lines)-1] {
			sessions, _ := l["sessions"].([]any)
			switch l["user"] {
			case "alice":
				if l["available"] != true || l["shown_available"] != true || l["user_seq"] != 1.0 || len(sessions) != 1 {
					t.Errorf("got %v", l)
				}
			case "bob":
				if l["available"] != true || l["shown_available"] != nil || sessions[0].(map[string]any)["invisible"] != true || !strings.Contains(raw, `"seats":9007199254740993`) {
					t.Errorf("got %v", l)
				}
			case "carol":
				if l["available"] != nil || l["last_seen"] == nil || len(sessions) != 0 || l["user_seq"] != 2.0 {
					t.Errorf("got %v", l)
				}
			}
		}
		at := lines[0]["position"].(string)
		if w := n.do("GET", "/snapshot?online=true", ""); !slices.Equal(names(t, snapshot(t, w.Body)), []string{"alice", "bob"}) {
			t.Error("online=true: not those who are")
		}
		n.ok("DELETE", "/users/alice/presence", "")
		if e := list(t, n.ok("GET", "/changes?after="+at, ""), "events"); len(e) != 1 || e[0]["user"] != "alice" {
			t.Errorf("behind the snapshot: got %v, want alice's closing", e)
		}
		if w := n.do("GET", "/snapshot?online=true", ""); !slices.Equal(names(t, snapshot(t, w.Body)), []string{"bob"}) {
			t.Error("now: want bob alone")
		}
		if w := n.do("GET", "/snapshot?online=true&at="+at, ""); !slices.Equal(names(t, snapshot(t, w.Body)), []string{"alice", "bob"}) {
			t.Error("as it was: want alice and bob")
		}
		n.refused("GET", "/snapshot?at=x", "", 422, "FIELD_INVALID")
		n.refused("GET", "/snapshot?at=999999", "", 422, "FIELD_INVALID")
		n.refused("GET", "/snapshot?online=maybe", "", 422, "FIELD_INVALID")
	})
}

func TestSnapshotCompressed(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.put("alice")
		ask := func(accept string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", "http://node"+Prefix+"/snapshot", nil)
			r.Header.Set("Authorization", "Bearer "+secret)
			r.Header.Set("Accept-Encoding", accept)
			w := httptest.NewRecorder()
			n.door.ServeHTTP(w, r)
			return w
		}
		for accept, zipped := range map[string]bool{"gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "br": false, "": false, "gzip; q=0.0, br": false} {
			w := ask(accept)
			var body io.Reader = w.Body
			if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped || w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%q: got %v", accept, w.Header())
			}
			if zipped {
				z, err := gzip.NewReader(w.Body)
				if err != nil {
					t.Fatal(err)
				}
				body = z
			}
			if got := names(t, snapshot(t, body)); !slices.Equal(got, []string{"alice"}) {
				t.Errorf("%q: got %v", accept, got)
			}
		}
	})
}

// A peer has time for each piece of a snapshot, not for the whole of it.
func TestSnapshotDeadlines(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		for i := range 450 {
			n.put(fmt.Sprintf("user-%d-%s", i, strings.Repeat("x", 100)))
		}
		r := httptest.NewRequest("GET", "http://node"+Prefix+"/snapshot", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		w := &slowReader{ResponseRecorder: httptest.NewRecorder()}
		n.door.ServeHTTP(w, r)
		if got := names(t, snapshot(t, w.Body)); len(got) != 450 {
			t.Errorf("%d users", len(got))
		}
		if len(w.deadlines) < 3 || w.deadlines[1].Sub(w.deadlines[0]) != 20*time.Second {
			t.Errorf("deadlines %v, want one for each 64 KiB", w.deadlines)
		}
	})
}

// Of an app two snapshots are read at once; one that ends, well or not, makes room.
func TestSnapshotsAtOnce(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.put("alice")
		var readers sync.WaitGroup
		for range mostSnapshots {
			readers.Go(func() {
				r := httptest.NewRequest("GET", "http://node"+Prefix+"/snapshot", nil)
				r.Header.Set("Authorization", "Bearer "+secret)
				n.door.ServeHTTP(&slowReader{ResponseRecorder: httptest.NewRecorder()}, r)
			})
		}
		synctest.Wait()
		n.refused("GET", "/snapshot", "", 429, "RATE_LIMITED")
		readers.Wait()
		for range mostSnapshots + 1 { // those that are refused count for nothing
			n.refused("GET", "/snapshot?at=999999", "", 422, "FIELD_INVALID")
		}
		if w := n.do("GET", "/snapshot", ""); !slices.Equal(names(t, snapshot(t, w.Body)), []string{"alice"}) {
			t.Errorf("after the others ended: got %d %s", w.Code, w.Body)
		}
	})
}

// slowReader takes 20 s for each piece.
type slowReader struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

// SetWriteDeadline is for http.ResponseController.
func (s *slowReader) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		s.deadlines = append(s.deadlines, t)
	}
	return nil
}

// Write takes its time.
func (s *slowReader) Write(b []byte) (int, error) {
	<-time.After(20 * time.Second)
	return s.ResponseRecorder.Write(b)
}
