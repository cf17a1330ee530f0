package porchlighttest_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/porchlighttest"
)

// live is a client at the live door, closed with the test.
func live(t *testing.T, srv *porchlighttest.Server, user string) *client.Client {
	t.Helper()
	c, err := client.New(srv.LiveConfig(user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// A session at the live door and one at the gRPC door see each other, and see
// the same.
func TestLiveDoor(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]porchlighttest.Option{"loopback": nil, "in memory": {porchlighttest.InMemory()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := porchlighttest.Start(t, options...)
			said := client.Status{Show: client.Busy, Text: "in a call", Properties: map[string]any{"room": int64(7), "load": 5.0, "open": true, "name": "x"}}
			bob := open(t, live(t, srv, "bob"), client.Options{Status: said, Watch: []string{"alice"}})
			if c := next(t, bob); c.User != "alice" || c.Presence.Available {
				t.Errorf("bob is told first %+v, want alice away", c)
			}
			alice := open(t, srv.Client("alice"), client.Options{Watch: []string{"bob"}})
			if c := next(t, bob); c.User != "alice" || !c.Presence.Available || c.Presence.Sessions[0].ID != alice.ID() {
				t.Errorf("bob is told then %+v, want alice's session %s", c, alice.ID())
			}
			here := next(t, alice).Presence.Sessions[0]
			if here.Show != client.Busy || here.Text != "in a call" || here.ID != bob.ID() || len(here.Properties) != 4 ||
				here.Properties["room"] != int64(7) || here.Properties["load"] != 5.0 {
				t.Errorf("alice sees %+v, want what bob said", here)
			}
			if err := alice.Set(t.Context(), said); err != nil {
				t.Error(err)
			}
			if there := next(t, bob).Presence.Sessions[0]; there.Properties["room"] != int64(7) || there.Properties["load"] != 5.0 {
				t.Errorf("bob sees %+v, want what alice said", there)
			}
			if err := bob.SetPartial(t.Context(), client.Patch{ClearText: true, ClearProperties: []string{"room"}}); err != nil {
				t.Error(err)
			}
			if c := next(t, alice); c.Presence.Sessions[0].Text != "" || len(c.Presence.Sessions[0].Properties) != 3 {
				t.Errorf("alice sees %+v after the patch", c.Presence)
			}
			if err := bob.Leave(t.Context()); err != nil {
				t.Error(err)
			}
			if c := next(t, alice); c.Presence.Available || c.Sessions[0].Reason != client.ClosedByUser {
				t.Errorf("alice is told %+v, want that bob left", c)
			}
		})
	}
}

// A restart of the server shows nobody leaving, at either end.
func TestLiveRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := porchlighttest.Start(t, porchlighttest.InMemory())
		bob := open(t, live(t, srv, "bob"), client.Options{Status: client.Status{Text: "here"}})
		people := client.NewStore(open(t, live(t, srv, "alice"), client.Options{Watch: []string{"bob"}}))
		synctest.Wait()
		changes := make(chan client.StoreChange, 16)
		stop := people.OnChange(func(c client.StoreChange) { changes <- c })
		defer stop()
		srv.Restart()
		<-time.After(time.Minute)
		if p, ok := people.Get("bob"); !ok || !p.Available || !p.StaleSince.IsZero() || p.Sessions[0].ID != bob.ID() {
			t.Errorf("a minute after the restart: %+v, %v", p, ok)
		}
		for len(changes) > 0 {
			if c := <-changes; c.Kind != client.StoreUpdated {
				t.Errorf("alice was told %+v", c)
			}
		}
		if err := bob.Set(t.Context(), client.Status{Text: "back"}); err != nil {
			t.Error(err)
		}
		if c := <-changes; c.Kind != client.StoreUpdated || c.Now.Sessions[0].Text != "back" {
			t.Errorf("alice was told %+v, want the new text", c)
		}
	})
}

// Who falls silent is gone after the time-out, and who is silent only because
// nothing happens is not.
func TestLiveSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := porchlighttest.Start(t, porchlighttest.InMemory())
		bob := open(t, live(t, srv, "bob"), client.Options{})
		alice := open(t, live(t, srv, "alice"), client.Options{Watch: []string{"bob"}})
		if c := next(t, alice); !c.Presence.Available {
			t.Fatalf("got %+v, want bob", c)
		}
		<-time.After(10 * time.Minute)
		if p, _ := alice.Presence("bob"); !p.Available || !alice.Connected() || !bob.Connected() {
			t.Errorf("after ten quiet minutes: %+v, links up: %v, %v", p, alice.Connected(), bob.Connected())
		}
		bob.Close()
		left := time.Now()
		if c := next(t, alice); c.Presence.Available || c.Sessions[0].Reason != client.ClosedByDisconnect || time.Since(left) < 6*time.Second {
			t.Errorf("after %s: %+v, want a lost link after the grace of 6 s", time.Since(left), c)
		}
	})
}

// A user's attributes are set at the live door, and read by others.
func TestLiveAttributes(t *testing.T) {
	t.Parallel()
	srv := porchlighttest.Start(t, porchlighttest.InMemory())
	alice, bob := open(t, live(t, srv, "alice"), client.Options{}), open(t, live(t, srv, "bob"), client.Options{})
	n, err := alice.SetAttributes(t.Context(), client.Attribute{Name: "mood", Value: json.RawMessage(`{"x": 1}`)}, client.Attribute{Name: "none"})
	if err != nil || n != 1 {
		t.Fatalf("set: %d, %v, want 1", n, err)
	}
	for who, s := range map[string]*client.Session{"": alice, "alice": bob} {
		got, err := s.Attributes(t.Context(), who)
		if err != nil || len(got) != 1 || got[0].Name != "mood" || string(got[0].Value) != `{"x":1}` || got[0].At.IsZero() {
			t.Errorf("%q: got %v, %v", who, got, err)
		}
	}
	if _, err := bob.SetAttributes(t.Context(), client.Attribute{Name: "call", Value: json.RawMessage(`1`)}); client.ReasonOf(err) != client.ReasonFieldInvalid {
		t.Errorf("a reserved name: got %v", err)
	}
	if n, err := alice.SetAttributes(t.Context(), client.Attribute{Name: "mood"}); err != nil || n != 1 {
		t.Errorf("take away: %d, %v", n, err)
	}
	grpc := open(t, srv.Client("carol"), client.Options{})
	if _, err := grpc.Attributes(t.Context(), "alice"); client.ReasonOf(err) != client.ReasonFieldInvalid {
		t.Errorf("over gRPC: got %v, want a word that it is not there", err)
	}
}
