package hub

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// R7: whoever reads slowly, or not at all, is late but never wrong, and costs
// no more than what is watched.
func TestSlowReadersEndOnTheTruth(t *testing.T) {
	t.Parallel()
	const changes, users = 10_000, 60
	w := newWorld()
	var ids []presence.UserID
	for i := range users {
		ids = append(ids, presence.UserID(fmt.Sprintf("user%02d", i)))
	}
	stuck := connectedDevice(t, w, 1, ids)
	slow := connectedDevice(t, w, 2, ids)
	largest := 0
	for n := range changes {
		id := ids[(n*7+n/13)%users]
		switch publics := w.publics(id, (*stay).open); {
		case len(publics) == 0:
			w.tell(w.opens(id, number(1), nil))
		case n%5 == 0:
			w.tell(w.closes(id, publics[0]))
		default:
			w.tell(w.updates(id, publics[0], saying(n)))
		}
		if n%40 == 0 { // less than what comes, so its queue is never empty
			if _, err := slow.drain(1); err != nil {
				t.Fatal(err)
			}
			if err := slow.arrive(len(slow.way)); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range []*device{stuck, slow} {
			q := &d.watcher.queue
			if waiting := q.left(); waiting > users {
				t.Fatalf("after %d changes %d entries wait, but %d users are watched", n, waiting, users)
			}
			largest = max(largest, cap(q.edges), cap(q.marks))
		}
	}
	if len(slow.watcher.queue.edges) == 0 {
		t.Error("the slow reader caught up, so this test looks at nothing")
	}
	if largest > 8*users {
		t.Errorf("the queues had room for %d entries, want a small multiple of the %d users watched", largest, users)
	}
	for name, d := range map[string]*device{"stuck": stuck, "slow": slow} {
		drainAll(t, d)
		if got, want := d.holds(), d.should(w); got != want {
			t.Errorf("%s reader holds\n%s\nwant\n%s", name, got, want)
		}
	}
	if n := stuck.sent; n > 3*users {
		t.Errorf("the stuck reader got %d frames for %d users, want the newest of each only", n, users)
	}
}

// A reader that is stuck for longer than the resume window was never told of a
// close that is forgotten by then: its picture of that user starts over.
func TestForgottenCloseStartsThePictureOver(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("alice", number(1), nil)
	d := connectedDevice(t, w, 1, []presence.UserID{"alice"})
	drainAll(t, d)
	w.tell(w.closes("alice", number(1)))
	w.buries("alice", number(1))
	w.tell(w.opens("alice", number(2), nil))
	frames, _ := d.watcher.Drain(d.stream, nil, 100)
	var kinds []Kind
	for _, f := range frames {
		kinds = append(kinds, f.Body.(*Notification).Kind)
	}
	if want := []Kind{KindNone, KindCurrent}; fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("got kinds %v, want %v", kinds, want)
	}
}

// The message that starts the picture over may be lost like any other; what
// follows a resume must start it over again.
func TestStartingOverIsRepeatedWhenLost(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("alice", number(1), nil)
	d := connectedDevice(t, w, 1, []presence.UserID{"alice"})
	drainAll(t, d)
	w.tell(w.closes("alice", number(1)))
	w.buries("alice", number(1))
	w.tell(w.opens("alice", number(2), nil))
	for range 3 {
		if _, err := d.drain(100); err != nil {
			t.Fatal(err)
		}
		d.lose()
		if err := d.connect(func() {}, d.last); err != nil {
			t.Fatal(err)
		}
	}
	drainAll(t, d)
	if got, want := d.holds(), d.should(w); got != want {
		t.Errorf("the device holds\n%s\nwant\n%s", got, want)
	}
}

// A device connects without a number, is not answered, and comes back with the
// number of what it holds: it must learn of closes as if the first had not been.
func TestAnAttemptToBeginAnewThatFails(t *testing.T) {
	t.Parallel()
	for _, drained := range []bool{false, true} {
		w := newWorld()
		w.opens("alice", number(1), nil)
		w.opens("alice", number(2), nil)
		d := connectedDevice(t, w, 1, []presence.UserID{"alice"})
		drainAll(t, d)
		w.tell(w.closes("alice", number(1)))
		if err := d.connect(func() {}, nil); err != nil {
			t.Fatal(err)
		}
		if drained {
			if _, err := d.drain(100); err != nil {
				t.Fatal(err)
			}
		}
		d.lose()
		if err := d.connect(func() {}, d.last); err != nil {
			t.Fatal(err)
		}
		drainAll(t, d)
		if got, want := d.holds(), d.should(w); got != want {
			t.Errorf("drained in between %v: the device holds\n%s\nwant\n%s", drained, got, want)
		}
	}
}

// Marks cannot be replaced by newer ones as statuses are; so a device that
// subscribes and unsubscribes in a loop without reading has its marks joined.
func TestMarksAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld()
	d := connectedDevice(t, w, 1, []presence.UserID{"bob"})
	drainAll(t, d)
	for range 5 * maxMarkers {
		if _, err := d.watcher.Watch([]presence.UserID{"alice"}, ScopeUser); err != nil {
			t.Fatal(err)
		}
		d.watcher.Unwatch("alice")
	}
	q := &d.watcher.queue
	if len(q.marks) > maxMarkers || cap(q.marks) > 2*maxMarkers || len(q.edges) > 1 {
		t.Errorf("%d marks (room for %d) and %d edges wait, want at most %d and 1", len(q.marks), cap(q.marks), len(q.edges), maxMarkers)
	}
	frames, more := d.watcher.Drain(d.stream, nil, 10*maxMarkers)
	if more || len(frames) == 0 || frames[0].Mark == nil || frames[0].Mark.Scope != ScopeAll {
		t.Errorf("got %d frames (more: %v), want marks, of which the first says that all is done", len(frames), more)
	}
}

// design §5: an edge is small, for there are fifty of it per user.
func TestEdgeSize(t *testing.T) {
	t.Parallel()
	if got := unsafe.Sizeof(edge{}); got > 24 {
		t.Errorf("an edge has %d bytes, want at most 24", got)
	}
}

// connectedDevice is a device that watches users and has a stream.
func connectedDevice(t *testing.T, w *world, session byte, users []presence.UserID) *device {
	t.Helper()
	me := presence.UserID(fmt.Sprintf("watcher%d", session))
	d := newDevice(named(me), w.join(session, Params{User: named(me), Limit: 1000}))
	if err := d.watch(users, ScopeAll); err != nil {
		t.Fatal(err)
	}
	if err := d.connect(func() {}, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// drainAll takes all that waits, and lets it arrive.
func drainAll(t *testing.T, d *device) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = d.drain(16); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.arrive(len(d.way)); err != nil {
		t.Fatal(err)
	}
}
