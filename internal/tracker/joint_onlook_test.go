package tracker

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// onlooker counts what a watcher at a node is told of each session: a version of a
// face that is above all that he was told is news.
type onlooker struct {
	at   *member
	next Listener

	mu    sync.Mutex // guards all below
	began time.Time
	of    map[presence.SessionID]*sighted
	ids   map[presence.PublicID]presence.SessionID
}

// sighted is what he was told of one.
type sighted struct {
	version        uint32
	opened, closed int
	shown          int // how often others saw it come
	story          string
}

// onlookers watch at several nodes.
type onlookers []*onlooker

func onlook(all ...*member) (list onlookers) {
	for _, m := range all {
		o := &onlooker{at: m, next: m.ear, began: time.Now(), of: map[presence.SessionID]*sighted{}, ids: map[presence.PublicID]presence.SessionID{}}
		m.tr.Listen(o, m.lists)
		list = append(list, o)
	}
	return list
}

// mind tells them to count what is told of a session.
func (list onlookers) mind(ref Ref, public presence.PublicID) {
	for _, o := range list {
		p, s := o.at.tr.Presence(ref.User), &sighted{}
		if s.version = p.Version; slices.ContainsFunc(p.Sessions, func(v *presence.View) bool { return v.Public == public }) {
			s.opened = 1
		}
		o.mu.Lock()
		o.of[ref.Session], o.ids[public] = s, ref.Session
		o.mu.Unlock()
	}
}

// want wants all of them to have seen it come and go so often.
func (list onlookers) want(t *testing.T, ref Ref, opened, closed int) {
	t.Helper()
	for _, o := range list {
		o.mu.Lock()
		s := *o.of[ref.Session]
		o.mu.Unlock()
		if s.opened != opened || s.closed != closed {
			t.Errorf("a watcher at %s saw it open %d and close %d times, want %d and %d:%s", o.at.name, s.opened, s.closed, opened, closed, s.story)
		}
	}
}

func (o *onlooker) Gone(id presence.SessionID) { o.next.Gone(id) }

func (o *onlooker) Changed(p *presence.Presence) {
	o.next.Changed(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range p.Sessions {
		s := o.of[o.ids[v.Public]]
		if s == nil || int32(p.Version-s.version) <= 0 {
			continue
		}
		f := &v.True
		if f.Opened != 0 && int32(f.Opened-s.version) > 0 {
			s.opened++
			s.story += fmt.Sprintf(" open %v", time.Since(o.began))
		}
		if v.Shown.Opened != 0 && int32(v.Shown.Opened-s.version) > 0 {
			s.shown++
			s.story += fmt.Sprintf(" shown %v", time.Since(o.began))
		}
		if f.Closed != 0 && int32(f.Closed-s.version) > 0 {
			s.closed++
			s.story += fmt.Sprintf(" close %v (%v)", time.Since(o.began), f.Reason)
		}
		s.version = p.Version
	}
}
