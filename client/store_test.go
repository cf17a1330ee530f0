package client

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// kept notes what a store tells.
type kept struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (k *kept) note(c StoreChange) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = append(k.lines, fmt.Sprintf("%s %s %v>%v %d", c.Kind, c.User, c.Before.Available, c.Now.Available, len(c.Steps)))
}

func (k *kept) expect(t *testing.T, want ...string) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.lines, want) {
		t.Errorf("listeners were told %q, want %q", k.lines, want)
	}
	k.lines = nil
}

// The store lives through an update, a lost link and a session made anew without
// anybody leaving; who left meanwhile leaves once.
func TestStore(t *testing.T) {
	t.Parallel()
	carol := `{"u":"carol","k":"none","on":false,"seen":1772366400000}`
	f := &liveFake{scripts: []func(*livePeer){
		func(p *livePeer) {
			p.welcome(`"resume":"r1","q":0`)
			p.hears()
			p.says(`{"t":"ok","id":1}`, liveNews(1, "bob", "current", "b1", "hi", 1), `{"t":"n","q":3,"n":[`+carol+`,{"k":"done","all":true,"users":2}]}`)
			wait(p.ctx, time.Second)
			p.says(liveNews(4, "bob", "updated", "b1", "again", 2))
			wait(p.ctx, time.Second)
		},
		func(p *livePeer) { // another session: everything is told anew
			p.hears()
			p.says(`{"t":"bye","reason":"SESSION_GONE","kept":false}`)
		},
		func(p *livePeer) {
			p.welcome(`"resume":"r9","q":0`)
			p.hears()
			p.says(`{"t":"ok","id":1}`, liveNews(1, "bob", "current", "b1", "again", 9), `{"t":"n","q":3,"n":[`+carol+`,{"k":"done","all":true,"users":2}]}`)
			wait(p.ctx, time.Second)
			p.says(liveNews(4, "bob", "closed", "b1", "", 10))
			p.serves()
		},
	}}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Watch: []string{"bob", "carol"}})
		st := NewStore(s)
		var k, other kept
		st.OnChange(k.note)
		stop := st.OnChange(other.note)
		synctest.Wait()
		k.expect(t, "joined bob false>true 1", "updated carol false>false 0")
		other.expect(t, "joined bob false>true 1", "updated carol false>false 0")
		stop()
		wait(t.Context(), 1500*time.Millisecond)
		k.expect(t, "updated bob true>true 1")
		if p, ok := st.Get("bob"); !ok || p.Sessions[0].Text != "again" || !p.StaleSince.IsZero() {
			t.Errorf("got %+v, want the update, not stale", p)
		}
		wait(t.Context(), 600*time.Millisecond) // the link is lost now
		if p, ok := st.Get("bob"); !ok || !p.Available || p.StaleSince.IsZero() {
			t.Errorf("got %+v while the link is down, want him there, stale", p)
		}
		wait(t.Context(), 1200*time.Millisecond) // and back
		k.expect(t)
		wait(t.Context(), 5*time.Second)
		k.expect(t, "left bob true>false 1")
		other.expect(t)
		if all := st.All(); len(all) != 2 || all[0].User != "bob" || all[1].LastSeen.IsZero() || !all[0].StaleSince.IsZero() {
			t.Errorf("got %+v, want bob and carol", all)
		}
		if err := s.Unwatch(t.Context(), "carol"); err != nil {
			t.Error(err)
		}
		if p, ok := st.Get("carol"); ok {
			t.Errorf("got %+v of who is not watched any more", p)
		}
		s.Close()
		<-st.Done()
		if p, ok := st.Get("bob"); !ok || p.StaleSince.IsZero() {
			t.Errorf("got %+v, %v after the end, want the last that was known, stale", p, ok)
		}
		<-NewStore(s).Done()
	})
}

// Who is refused or unfriended leaves the store without a word on his presence.
func TestStoreDrops(t *testing.T) {
	t.Parallel()
	f := &liveFake{scripts: []func(*livePeer){func(p *livePeer) {
		p.welcome(`"resume":"r1","q":0`)
		p.hears()
		p.says(`{"t":"ok","id":1,"friends":1}`, liveNews(1, "bob", "current", "b1", "hi", 1), `{"t":"n","q":3,"n":[{"k":"done","friends":true,"users":1},{"k":"ended","u":"bob","why":"NO_LONGER_FRIEND"}]}`)
		p.serves()
	}}}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		st := NewStore(open(t, c, Options{Friends: true}))
		var k kept
		block := make(chan struct{})
		st.OnChange(func(sc StoreChange) { <-block; k.note(sc) })
		close(block)
		synctest.Wait()
		if len(st.All()) != 0 {
			t.Errorf("got %+v, want nobody", st.All())
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if n := len(k.lines); n > 0 && k.lines[n-1] != "dropped bob true>false 0" {
			t.Errorf("listeners were told %q, want bob dropped at the end", k.lines)
		}
	})
}
