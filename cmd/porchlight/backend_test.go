package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// TestBackendCommands drives a node as an app's server would.
func TestBackendCommands(t *testing.T) {
	t.Parallel()
	dev := start(t, "dev", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
	grpc := strings.Fields(dev.line("grpc  "))[1]
	at := "http://" + strings.Fields(dev.line("http  "))[1]
	says := func(want string, args ...string) {
		t.Helper()
		args = slices.Insert(args, min(2, len(args)-1), "--http", at)
		if out, errs, err := once(t, args...); err != nil || out != want {
			t.Errorf("%v: got %q, %v (%s), want %q", args, out, err, errs, want)
		}
	}
	says("bob added\ncarol added\n", "friends", "add", "alice", "bob", "carol")
	says("bob was on the list\n", "friends", "add", "alice", "bob")
	says("bob\ncarol\n", "friends", "list", "alice")
	says("carol removed\n", "friends", "remove", "alice", "carol")
	says(`{"friends":["bob"],"user":"alice"}`+"\n", "friends", "list", "alice", "--json")
	says("alice added\n", "friends", "add", "carol", "alice", "--both")
	says("bob\ncarol\n", "friends", "list", "alice")
	// The flags of all three may also stand before them.
	for _, c := range []struct{ do, want string }{{"add", "dave added\n"}, {"list", "bob\ncarol\ndave\n"}, {"remove", "dave removed\n"}} {
		args := []string{"friends", "--http", at, "--key", config.DevelopmentServerKey, c.do, "alice"}
		if c.do != "list" {
			args = append(args, "dave")
		}
		if out, errs, err := once(t, args...); err != nil || out != c.want {
			t.Errorf("%v: got %q, %v (%s), want %q", args, out, err, errs, c.want)
		}
	}
	says("changed 2 of alice\n", "attributes", "set", "alice", "mood=happy", `seat={"row": 3}`)
	says("mood=\"happy\"\nseat={\"row\":3}\n", "attributes", "list", "alice")
	says("seat removed\n", "attributes", "remove", "alice", "seat")
	says("seat was not there\n", "attributes", "remove", "alice", "seat")
	says(`{"changed":0,"user":"alice"}`+"\n", "attributes", "set", "alice", "mood=\"happy\"", "--json")
	if _, errs, err := once(t, "attributes", "set", "alice", "mood", "--http", at); err == nil || !strings.Contains(errs, "NAME=VALUE") {
		t.Errorf("a word that sets nothing: got %v (%s)", err, errs)
	}

	set := start(t, "set", "--grpc", grpc, "--user", "bob", "--status", "busy", "--text", "hidden away", "--invisible")
	var p client.Presence
	for end := time.Now().Add(limit); !p.Available; {
		out, errs, err := once(t, "who", "--http", at, "--truth", "--json", "bob")
		if err != nil || json.Unmarshal([]byte(out), &p) != nil || time.Now().After(end) {
			t.Fatalf("who --truth: got %q, %v (%s), want bob there in the end", out, err, errs)
		}
	}
	if !p.Invisible || len(p.Sessions) != 1 || p.Sessions[0].Text != "hidden away" {
		t.Errorf("who --truth: got %+v, want bob invisible and what he says", p)
	}
	says("bob  offline, never seen  \n", "who", "bob")
	says("dropped 1 of bob\n", "drop", "bob")
	says("bob has no session that is open\n", "drop", "bob")
	for range set.lines { // until it ends by itself
	}
	if err := set.stop(); err == nil {
		t.Error("set went on, or ended well, after its session was dropped")
	}

	notify := []string{"notify", "come", "--user", "bob", "--action", "https://chat.example/rooms/7", "--ttl", "0", "--id", "one"}
	says("stored as one; bob's queue has 1\n", notify...)
	says("stored as one; bob's queue has 1\n", notify...) // put once
	says(`{"id":"two","queue_size":2,"user":"bob"}`+"\n", "notify", "come", "--user", "bob", "--id", "two", "--json")
	if _, errs, err := once(t, "notify", "--http", at, "--user", "bob", strings.Repeat("x", 513)); err == nil || !strings.Contains(errs, "512") {
		t.Errorf("513 characters: got %v, %q, want a refusal that names the limit", err, errs)
	}

	if _, errs, err := once(t, "friends", "list", "--http", at, "--key", "not one of theirs", "alice"); err == nil || !strings.Contains(errs, "KEY_INVALID") || strings.Contains(errs, "not one of theirs") {
		t.Errorf("with a wrong key: got %v, %q, want a refusal that does not show the key", err, errs)
	}
	for _, args := range [][]string{
		{"who", "--truth", "--user", "alice", "bob"},
		{"who", "--http", at, "--user", "alice", "bob"},
		{"friends", "list", "--http", "http://192.0.2.1:7400", "alice"},
	} {
		if _, errs, err := once(t, args...); err == nil {
			t.Errorf("%v was taken: %s", args, errs)
		}
	}
}

// TestBenchNotifications runs the load of live notifications against a node of its own.
func TestBenchNotifications(t *testing.T) {
	t.Parallel()
	out, errs, err := once(t, "bench", "--phase", "notifications", "--seconds", "1", "--json")
	if err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	var measures []string
	for line := range strings.Lines(out) {
		var row struct {
			Phase, Measure string
			Count          int
			P50            float64 `json:"p50_ms"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Count == 0 || row.P50 <= 0 || row.Phase != "notifications" {
			t.Errorf("row %q: %v, or without figures", line, err)
		}
		measures = append(measures, row.Measure)
	}
	if want := []string{"stored_one_caller", "stored_many_callers", "stored_singles", "drain", "arrival"}; !slices.Equal(measures, want) {
		t.Errorf("measures %v, want %v", measures, want)
	}
}

// TestBenchFriends runs the friends' load against a node of its own.
func TestBenchFriends(t *testing.T) {
	t.Parallel()
	out, errs, err := once(t, "bench", "--friends-subscription", "--json")
	if err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	var phases []string
	for line := range strings.Lines(out) {
		var row struct {
			Phase string
			Count int
			P50   float64 `json:"p50_ms"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Count == 0 || row.P50 <= 0 {
			t.Errorf("row %q: %v, or without figures", line, err)
		}
		phases = append(phases, row.Phase)
	}
	if want := []string{"friends", "friends", "friends", "list_change", "batch_query"}; !slices.Equal(phases, want) {
		t.Errorf("phases %v, want %v", phases, want)
	}
}
