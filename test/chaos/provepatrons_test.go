package chaos

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// crowdOf is a crowd of which nothing runs, with one patron of the live door.
func crowdOf(change func(*patron)) (*crowd, *patron) {
	w := &crowd{
		world: &world{history: newHistory()}, fleet: &fleet{away: make([]time.Time, 3), went: make([]time.Time, 3)}, awayUntil: make([]time.Time, 3),
		hook: &hook{tape: newTape()}, tooLate: 14 * time.Second, named: map[string]bool{"bob": true},
	}
	p := &patron{crowd: w, user: "bob", door: atLive{}, heard: make(chan answer, 1), standing: standing{
		opens: sums{asked: 1, acked: 1}, meant: here, since: origin, said: 3, acked: 3, watches: map[string]act{}, unsure: map[string]bool{}, picture: view{},
	}}
	if change != nil {
		change(p)
	}
	w.patrons = []*patron{p}
	return w, p
}

func departed(p *patron) {
	p.meant, p.since, p.lost, p.heardLast = left, after(20*time.Second), after(20*time.Second), after(20*time.Second)
	p.closes = sums{asked: 1, acked: 1}
}

// TestProbesCanFail: who is there is offline nowhere, who is gone online nowhere,
// and a node that is alone says that it may be wrong.
func TestProbesCanFail(t *testing.T) {
	t.Parallel()
	marks, silent := &asking{marks: true}, &asking{}
	sent := after(time.Minute)
	for name, c := range map[string]struct {
		q     question
		v     verdictOf
		there bool
		since time.Duration
		want  string
	}{
		"there":                              {question{door: marks}, verdictOf{online: true}, true, 0, ""},
		"there, and offline":                 {question{door: marks}, verdictOf{}, true, 0, "R3"},
		"there, and offline, it may be old":  {question{door: marks}, verdictOf{stale: true}, true, 0, "R3"},
		"there a moment ago":                 {question{door: marks}, verdictOf{}, true, 59 * time.Second, ""},
		"there since the trouble":            {question{door: marks, trouble: after(30 * time.Second)}, verdictOf{}, true, 40 * time.Second, ""},
		"there since before it":              {question{door: marks, trouble: after(30 * time.Second)}, verdictOf{}, true, 20 * time.Second, "R3"},
		"alone: last known":                  {question{door: silent, trouble: after(30 * time.Second), alone: after(30 * time.Second)}, verdictOf{online: true}, true, 0, ""},
		"alone: offline":                     {question{door: silent, trouble: after(30 * time.Second), alone: after(30 * time.Second)}, verdictOf{}, true, 0, "R8"},
		"alone: unknown":                     {question{door: silent, trouble: after(30 * time.Second), alone: after(30 * time.Second)}, verdictOf{unknown: true}, true, 0, ""},
		"alone: came elsewhere":              {question{door: marks, trouble: after(30 * time.Second), alone: after(30 * time.Second)}, verdictOf{stale: true}, true, 40 * time.Second, ""},
		"alone: came elsewhere, as if known": {question{door: marks, trouble: after(30 * time.Second), alone: after(30 * time.Second)}, verdictOf{}, true, 40 * time.Second, "R8"},
		"gone":                               {question{door: marks}, verdictOf{}, false, 0, ""},
		"gone, and online":                   {question{door: marks}, verdictOf{online: true}, false, 0, "R1"},
		"gone a moment ago":                  {question{door: marks}, verdictOf{online: true}, false, 59 * time.Second, ""},
	} {
		c.q.sent = sent
		if got := c.q.judge(c.v, c.there, after(c.since)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestPatronsCheckCanFail: each check of patrons finds what breaks its promise.
func TestPatronsCheckCanFail(t *testing.T) {
	t.Parallel()
	w, p := crowdOf(nil)
	expect(t, w.checkPatrons(0, bobAs(3, online)), "")
	expect(t, w.checkPatrons(0, bobAs(2, online)), "shows status 2")
	expect(t, w.checkPatrons(0, bobAs(4, online)), "shows status 4")
	expect(t, w.checkPatrons(0, nobody), "shows bob online false")
	two := bobAs(3, online)
	two["bob"].sessions[publicOf(2)] = shown{}
	expect(t, w.checkPatrons(0, two), "with 2 sessions")

	counts := func(opened, closed int) map[string]changed {
		return map[string]changed{"bob": {opened: opened, closed: closed}}
	}
	expect(t, w.patronFlaps(counts(1, 0)), "")
	expect(t, w.patronFlaps(counts(2, 0)), "open 2 times")
	expect(t, w.patronFlaps(counts(1, 1)), "close 1 times")
	p.closes.may = 1
	expect(t, w.patronFlaps(counts(1, 1)), "")

	expect(t, w.checkPatronsTold(), "1 openings and 0 closings were acknowledged, 0 and 0 were told")
	w.hook.tape.take([]change{bobsChange(1, "opened", nil)}, killAt)
	expect(t, w.checkPatronsTold(), "")
	w.hook.tape.take([]change{bobsChange(2, "closed", nil), bobsChange(3, "opened", nil)}, killAt)
	expect(t, w.checkPatronsTold(), "2 openings and 1 closings were told, he explains 1 and 1")
	p.opens.may, p.closes.may = 1, 0
	expect(t, w.checkPatronsTold(), "2 openings and 1 closings were told, he explains 2 and 0")

	p.watches["bob"] = did(0)
	p.picture = bobAs(3, online)
	expect(t, w.checkWatches(bobAs(3, online)), "")
	expect(t, w.checkWatches(bobAs(4, online)), "knows status")
	expect(t, w.checkWatches(nobody), "knows online true")
	p.picture = view{}
	expect(t, w.checkWatches(bobAs(3, online)), "told nothing of bob")
}

// TestGuestWatchesCanFail: what a device watches, and was not told.
func TestGuestWatchesCanFail(t *testing.T) {
	t.Parallel()
	w, _ := crowdOf(nil)
	l := bobs(func(l *life) { l.user = "carol"; l.watches["bob"] = did(0) })
	g := &guest{device: &device{user: "carol", life: l, line: &line{done: make(chan struct{})}, ear: newLedger(w.keyOf)}, crowd: w, unsure: map[string]bool{}}
	w.guests = []*guest{g}
	there := view{"bob": {online: true, sessions: map[string]shown{publicOf(1): {number: 1}}}}
	expect(t, w.checkGuestWatches(there), "told nothing of bob")
	g.ear.hear(bobsNotice(kindOpened))
	expect(t, w.checkGuestWatches(there), "")
	expect(t, w.checkGuestWatches(nobody), "knows online true")
	g.unsure["bob"] = true
	expect(t, w.checkGuestWatches(nobody), "")
}

// deaf is a node that answers no subscription, or each.
type deaf struct {
	isonlinev1.IsOnlineServiceClient
	err error
}

func (d deaf) SubscribeToUserIsOnline(context.Context, *isonlinev1.SubscribeToUserIsOnlineRequest, ...grpc.CallOption) (*isonlinev1.SubscribeToUserIsOnlineResponse, error) {
	return &isonlinev1.SubscribeToUserIsOnlineResponse{}, d.err
}

// TestWatchesAfterResyncCanFail: what a device declares again after a resync must
// deliver once that is answered, and not before.
func TestWatchesAfterResyncCanFail(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{nil: "told nothing of bob", status.Error(codes.Unavailable, "another node has the session"): ""} {
		w, _ := crowdOf(nil)
		w.ctx = t.Context()
		l := bobs(func(l *life) { l.user = "carol"; l.watches["bob"] = did(0) })
		g := &guest{device: &device{w: w.world, user: "carol", life: l, stub: deaf{err: err}, ear: newLedger(w.keyOf)}, crowd: w, unsure: map[string]bool{}}
		g.line = &line{done: make(chan struct{}), connected: &isonlinev1.Connected{Resync: true}}
		w.guests = []*guest{g}
		g.back(time.Now())
		expect(t, w.checkGuestWatches(view{"bob": {online: true, sessions: map[string]shown{publicOf(1): {number: 1}}}}), want)
	}
}

// TestLastSeenOfPatronsCanFail is R12.
func TestLastSeenOfPatronsCanFail(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) view { return view{"bob": {lastSeen: after(20*time.Second + d)}} }
	w, p := crowdOf(departed)
	check := func(v view, want string) {
		t.Helper()
		found, _, _ := w.checkLastSeen(v)
		expect(t, found, want)
	}
	check(at(900*time.Millisecond), "")
	check(at(-900*time.Millisecond), "")
	check(at(1100*time.Millisecond), "R12")
	check(at(-1100*time.Millisecond), "R12")
	p.lostWith = true
	check(at(-35*time.Second), "")
	check(at(-37*time.Second), "R12")
	p.lostWith = false
	w.history.outages = []outage{{at: after(23 * time.Second), gone: after(24 * time.Second), nodes: []int{0}}}
	check(at(-35*time.Second), "")
	expect(t, w.checkPatrons(0, bobAs(3, online)), "online true")
	expect(t, w.checkPatrons(0, at(0)), "")
}

// TestCertainty: what is certain of a patron, and what is not.
func TestCertainty(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*patron)
		now    time.Duration
		on, ok bool
	}{
		"there":                  {nil, time.Minute, true, true},
		"asked for":              {func(p *patron) { p.pending = true }, time.Minute, false, false},
		"lost a moment ago":      {func(p *patron) { p.lost = after(56 * time.Second) }, time.Minute, true, true},
		"lost for long":          {func(p *patron) { p.lost = after(50 * time.Second) }, time.Minute, true, false},
		"left":                   {departed, time.Minute, false, true},
		"never comes back":       {func(p *patron) { p.meant, p.lost = leftSilent, after(50*time.Second) }, time.Minute, false, false},
		"never comes back, over": {func(p *patron) { p.meant, p.lost = leftSilent, after(40*time.Second) }, time.Minute, false, true},
		"its node was killed": {func(p *patron) {
			p.crowd.history.outages = []outage{{at: after(50 * time.Second), harm: harmKilled, nodes: []int{0}}}
		}, time.Minute, true, true},
		"its node was killed, and it does not read": {func(p *patron) {
			p.crowd.history.outages = []outage{{at: after(50 * time.Second), harm: harmKilled, nodes: []int{0}}}
			p.deaf = after(49 * time.Second)
		}, time.Minute, true, false},
		"its node was killed before, and it does not read": {func(p *patron) {
			p.crowd.history.outages = []outage{{at: after(50 * time.Second), harm: harmKilled, nodes: []int{0}}}
			p.deaf = after(51 * time.Second)
		}, time.Minute, true, true},
		"its cable was harmed, and it does not read": {func(p *patron) {
			p.crowd.history.outages = []outage{{at: after(50 * time.Second), harm: harmDoors, nodes: []int{0}}}
			p.deaf = after(49 * time.Second)
		}, time.Minute, true, false},
		"another's cable was harmed, and it does not read": {func(p *patron) {
			p.crowd.history.outages = []outage{{at: after(50 * time.Second), harm: harmDoors, nodes: []int{0}}}
			p.deaf, p.place = after(49*time.Second), 1
		}, time.Minute, true, true},
		"it does not read": {func(p *patron) { p.deaf = after(time.Second) }, time.Minute, true, true},
		"its node is alone": {func(p *patron) {
			p.crowd.history.outages = []outage{{at: after(50 * time.Second), harm: harmAlone, nodes: []int{0}}}
		}, time.Minute, true, false},
		"its node is alone for a moment": {func(p *patron) {
			p.crowd.history.outages = []outage{{at: after(57 * time.Second), harm: harmAlone, nodes: []int{0}}}
		}, time.Minute, true, true},
		"a majority hears its node": {func(p *patron) {
			p.crowd.history.outages = []outage{{at: after(40 * time.Second), harm: harmParted, nodes: []int{0, 1}}}
		}, time.Minute, true, true},
		"another node is alone": {func(p *patron) {
			p.crowd.history.outages = []outage{{at: after(50 * time.Second), harm: harmAlone, nodes: []int{1}}}
		}, time.Minute, true, true},
	} {
		_, p := crowdOf(c.change)
		if on, _, ok := p.certain(after(c.now)); on != c.on || ok != c.ok {
			t.Errorf("%s: on %v, certain %v, want %v, %v", name, on, ok, c.on, c.ok)
		}
	}
}

// TestEarsCanFail: the receivers of foreign formats find what overtakes, and what
// was not told.
func TestEarsCanFail(t *testing.T) {
	t.Parallel()
	come, goes := func(at int64) heardEvent { return heardEvent{true, at} }, func(at int64) heardEvent { return heardEvent{false, at} }
	for name, c := range map[string]struct {
		events []heardEvent
		want   string
	}{
		"in turn":              {[]heardEvent{come(1), goes(2), come(3)}, ""},
		"repeats":              {[]heardEvent{come(1), goes(2), come(1), goes(2), come(3)}, ""},
		"a stale offline":      {[]heardEvent{come(3), goes(2)}, "came for the first time after"},
		"an opening twice":     {[]heardEvent{come(1), come(2)}, "follows"},
		"a closing of nothing": {[]heardEvent{come(1), goes(2), goes(3)}, "follows"},
	} {
		e := &ears{conns: map[string]*heardOf{}}
		var found []string
		for _, one := range c.events {
			if wrong := e.take(e.conns, "x", one, true); wrong != "" {
				found = append(found, wrong)
			}
		}
		if got := strings.Join(found, ", "); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	e := &ears{conns: map[string]*heardOf{}, users: map[string]*heardOf{}}
	expect(t, e.differ(bobAs(3, online), nil), "rongcloud: session "+publicOf(1))
	e.take(e.conns, publicOf(1), come(1), true)
	expect(t, e.differ(bobAs(3, online), nil), "")
	expect(t, e.differ(bobAs(3, online), []string{"bob"}), "tencentim")
	e.take(e.users, "bob", come(1), false)
	expect(t, e.differ(bobAs(3, online), []string{"bob"}), "")
	expect(t, e.differ(nobody, []string{"bob"}), "it is not\ntencentim")
}

// TestFramesCanFail: a live connection whose numbers have a hole is found, and so
// is an end that nobody asked for.
func TestFramesCanFail(t *testing.T) {
	t.Parallel()
	w, p := crowdOf(nil)
	frame := func(text string, args ...any) string {
		w.blamed = nil
		p.door.hear(p, nil, fmt.Appendf(nil, text, args...))
		return strings.Join(w.blamed, "\n")
	}
	if got := frame(`{"t":"welcome","resume":"r","q":1}`); got != "" {
		t.Errorf("the welcome: %s", got)
	}
	if got := frame(`{"t":"n","q":3,"n":[{"u":"bob","k":"none"},{"k":"done","all":true}]}`); got != "" {
		t.Errorf("two notices: %s", got)
	}
	if got := frame(`{"t":"n","q":5,"n":[{"u":"bob","k":"none"}]}`); !strings.Contains(got, "follows 3") {
		t.Errorf("a hole: %q", got)
	}
	if got := frame(`{"t":"bye","reason":"SESSION_CLOSED","why":"DISCONNECTED"}`); !strings.Contains(got, "was closed: DISCONNECTED") {
		t.Errorf("an end: %q", got)
	}
	if got := frame(`{"t":"bye","reason":"DRAINING","kept":true,"retry_after":300}`); got != "" || p.away != 300*time.Millisecond {
		t.Errorf("a drain: %q, wait %v", got, p.away)
	}
}

// TestLostSince: a link is lost when the trouble of its node began, unless it was
// proven since.
func TestLostSince(t *testing.T) {
	t.Parallel()
	w, _ := crowdOf(nil)
	w.history.outages = []outage{
		{at: after(10 * time.Second), gone: after(20 * time.Second), harm: harmStopped, nodes: []int{0}},
		{at: after(40 * time.Second), harm: harmDoors, nodes: []int{1}},
		{at: after(40 * time.Second), gone: after(41 * time.Second), harm: harmTermed, nodes: []int{2}},
		{at: after(60 * time.Second), gone: after(70 * time.Second), harm: harmKilled, nodes: []int{2}},
	}
	for name, c := range map[string]struct {
		node  int
		proof time.Duration
		ended time.Duration
		want  time.Duration
		with  bool
	}{
		"stopped":          {0, 5 * time.Second, 30 * time.Second, 10 * time.Second, true},
		"proven meanwhile": {0, 15 * time.Second, 30 * time.Second, 15 * time.Second, true},
		"proven since":     {0, 25 * time.Second, 30 * time.Second, 30 * time.Second, false},
		"the way to it":    {1, 5 * time.Second, 50 * time.Second, 40 * time.Second, true},
		"it said goodbye":  {2, 5 * time.Second, 43 * time.Second, 43 * time.Second, true},
		"heard late":       {2, 55 * time.Second, 68 * time.Second, 60 * time.Second, true},
		"before all":       {2, 5 * time.Second, 30 * time.Second, 30 * time.Second, false},
	} {
		at, with := w.lostSince(c.node, after(c.proof), after(c.ended))
		if with != c.with || at != after(c.want) {
			t.Errorf("%s: %v, by the node %v, want %v, %v", name, at, with, after(c.want), c.with)
		}
	}
}
