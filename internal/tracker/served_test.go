package tracker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func (r *rig) put(name string, show presence.Show, ttl time.Duration) (Put, error) {
	return r.tr.PutPresence(context.Background(), PutParams{
		User: bob, Name: name, Device: presence.Device{Platform: "desk"}, Status: &presence.Status{Show: show}, TTL: ttl,
	})
}

// others is what others see of bob.
func (r *rig) others() []string { return sees(r.tr.Presence(bob), false) }

func TestPutPresence(t *testing.T) {
	in(t, func(c *Config) { c.Policies[app] = Policy{MultiDevice: presence.Single} }, func(t *testing.T, r *rig) {
		r.open(presence.Device{Platform: "ios"})
		first, err := r.put("bot", presence.Busy, time.Minute)
		if err != nil || !first.Opened || len(r.others()) != 2 {
			t.Fatalf("put: got %+v, %v; others see %v, want it beside the phone", first, err, r.others())
		}
		wait(40 * time.Second)
		second, err := r.put("bot", presence.Away, time.Minute)
		if err != nil || second.Opened || second.Public != first.Public || second.Revision <= first.Revision {
			t.Errorf("put again: got %+v, %v after %+v", second, err, first)
		}
		renewed := r.tr.now()
		third, err := r.put("bot", presence.Away, time.Minute)
		if err != nil || third.Revision != second.Revision || third.At != second.At {
			t.Errorf("the same again: got %+v, %v, want %+v", third, err, second)
		}
		wait(59 * time.Second)
		if s := r.tr.Sessions(bob); len(s) != 1 || s[0].Status.Show != presence.Away || s[0].Device.ID != presence.ServedDevice+"bot" || s[0].Until.Sub(r.tr.now()) > 2*time.Second {
			t.Errorf("before the time to live ends: %+v", s) // the phone timed out long ago
		}
		wait(2 * time.Second)
		p := r.tr.Presence(bob)
		last := p.Sessions[len(p.Sessions)-1]
		if last.True.Reason != presence.ReasonTimedOut || p.LastSeen != renewed {
			t.Errorf("after it: closed by %v, last seen %v, want timed out and %v", last.True.Reason, p.LastSeen.Time(), renewed.Time())
		}
		if again, err := r.put("bot", presence.Online, time.Minute); err != nil || !again.Opened || again.Public == first.Public {
			t.Errorf("put after its end: got %+v, %v, want another session", again, err)
		}
	})
}

// No id that a device may give is that of a server's presence: neither ends the
// other.
func TestPutPresenceBesideADeviceOfThatName(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		for range 2 {
			if _, err := r.put("bot", presence.Busy, time.Minute); err != nil {
				t.Fatal(err)
			}
			r.open(presence.Device{Platform: "ios", ID: "server:bot"})
			if got := r.others(); len(got) != 2 {
				t.Errorf("others see %v, want the server's word and the device", got)
			}
		}
	})
}

func TestPutPresenceSurvivesRestarts(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		long, err := r.put("long", presence.Busy, 3*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.put("short", presence.Away, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		r.crash() // at once: what was answered is on disk
		wait(20 * time.Second)
		r.start()
		wait(time.Second)
		if got := r.others(); len(got) != 1 || got[0] != "busy" {
			t.Errorf("after the crash others see %v, want the long one alone", got)
		}
		wait(40 * time.Second) // beyond the restart grace
		again, err := r.put("long", presence.Away, 3*time.Minute)
		if err != nil || again.Opened || again.Public != long.Public || again.Revision <= long.Revision {
			t.Errorf("put after the crash: got %+v, %v, want the session of before it", again, err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r.mem = r.mem.Reopen()
		r.start()
		wait(2 * time.Minute)
		if got := r.others(); len(got) != 1 || got[0] != "away" {
			t.Errorf("after the restart others see %v, want it until its time is over", got)
		}
		wait(2 * time.Minute)
		if got := r.others(); len(got) != 0 {
			t.Errorf("after its time others see %v", got)
		}
	})
}

func TestPutPresenceRefused(t *testing.T) {
	in(t, func(c *Config) { c.Policies[app] = Policy{SessionsPerUser: 1} }, func(t *testing.T, r *rig) {
		r.mem.Refuse(errFull)
		_, err := r.put("bot", presence.Busy, time.Minute)
		wantKind(t, "put while the store refuses", err, fault.LogUnavailable)
		if s := r.tr.Sessions(bob); len(s) != 0 {
			t.Errorf("it left %+v", s)
		}
		r.mem.Recover()
		if _, err := r.put("bot", presence.Busy, time.Minute); err != nil {
			t.Errorf("put: %v", err)
		}
		_, err = r.put("other", presence.Busy, time.Minute)
		wantKind(t, "put over the limit", err, fault.LimitSessions)
	})
}

func TestPutPresenceAtOnce(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		results := make(chan Put, 8)
		for range cap(results) {
			go func() {
				p, err := r.put("bot", presence.Busy, time.Minute)
				if err != nil {
					t.Errorf("put: %v", err)
				}
				results <- p
			}()
		}
		wait(time.Second)
		first := <-results
		for range cap(results) - 1 {
			if p := <-results; p.Public != first.Public {
				t.Errorf("two sessions: %v and %v", p.Public, first.Public)
			}
		}
		if s := r.tr.Sessions(bob); len(s) != 1 {
			t.Errorf("got %d sessions, want 1", len(s))
		}
	})
}

func TestRemovePresence(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		r.open(presence.Device{ID: "server:bot"}) // a device that says so is not one
		if was, err := r.tr.RemovePresence(context.Background(), bob, "bot"); was || err != nil {
			t.Errorf("remove what is not there: got %v, %v", was, err)
		}
		r.put("bot", presence.Busy, time.Minute)
		for _, want := range []bool{true, false} {
			if was, err := r.tr.RemovePresence(context.Background(), bob, "bot"); was != want || err != nil {
				t.Errorf("remove: got %v, %v, want %v", was, err, want)
			}
		}
		if p := r.tr.Presence(bob); p.Sessions[len(p.Sessions)-1].True.Reason != presence.ReasonLeft {
			t.Errorf("closed by %v, want left", p.Sessions[len(p.Sessions)-1].True.Reason)
		}
	})
}

func TestDrop(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		r.make(presence.Device{Platform: "created"})
		live, w := r.open(presence.Device{Platform: "live"})
		lost, lw := r.open(presence.Device{Platform: "lost"})
		r.tr.LinkLost(lost, lw)
		closed, cw := r.open(presence.Device{Platform: "closed"})
		r.tr.LinkLost(closed, cw)
		wait(7 * time.Second) // beyond the grace: closed, but could come back
		lw = &wire{}
		lw.read(r)
		if _, err := r.tr.Connect(context.Background(), lost, ConnectParams{Link: lw}); err != nil {
			t.Fatal(err)
		}
		r.tr.LinkLost(lost, lw)
		s := r.tr.Sessions(bob)
		if len(s) != 3 || s[0].Phase != presence.PhaseCreated || s[0].Until == 0 || s[2].Phase != presence.PhaseLost {
			t.Fatalf("sessions: %+v", s)
		}
		other := presence.NewPublicID()
		if n, err := r.tr.Drop(context.Background(), bob, &other); n != 0 || err != nil {
			t.Errorf("drop of an unknown session: got %d, %v", n, err)
		}
		if n, err := r.tr.Drop(context.Background(), bob, &s[1].Public); n != 1 || err != nil {
			t.Errorf("drop of one: got %d, %v", n, err)
		}
		if e := w.ended(); len(e) != 1 || e[0].Reason != presence.ReasonDropped {
			t.Errorf("its link ended with %+v", e)
		}
		if n, err := r.tr.Drop(context.Background(), bob, nil); n != 2 || err != nil {
			t.Errorf("drop of all: got %d, %v, want the created and the lost one", n, err)
		}
		for _, ref := range []Ref{live, lost, closed} {
			if _, err := r.connect(ref, nil); err != errGone {
				t.Errorf("connect after the drop: got %v, want gone", err)
			}
		}
		if n, err := r.tr.Drop(context.Background(), bob, nil); n != 0 || err != nil {
			t.Errorf("drop again: got %d, %v", n, err)
		}
	})
}

func TestOnlinePages(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		want := map[presence.UserID]bool{}
		for i := range 40 {
			u := presence.User{App: app, ID: presence.UserID(string(rune('a'+i%26)) + string(rune('0'+i/26)))}
			p := PutParams{User: u, Name: "x", TTL: time.Hour, Status: &presence.Status{Invisible: i%4 == 0}}
			go func() {
				if _, err := r.tr.PutPresence(context.Background(), p); err != nil {
					t.Error(err)
				}
			}()
			want[u.ID] = i%4 != 0
		}
		wait(time.Second)
		synctest.Wait()
		got, place, more := []presence.UserID(nil), Place{}, true
		for more {
			var page []presence.UserID
			if page, place, more = r.tr.Online(app, place, 7); len(page) > 7 || more && len(page) != 7 {
				t.Fatalf("a page of %d, more: %v", len(page), more)
			}
			got = append(got, page...)
		}
		if len(got) != 30 {
			t.Errorf("got %d users, want 30", len(got))
		}
		for _, id := range got {
			if !want[id] {
				t.Errorf("%s is listed, twice or although invisible", id)
			}
			delete(want, id)
		}
	})
}
