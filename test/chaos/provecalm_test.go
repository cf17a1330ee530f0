package chaos

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestWebhookFlapsCanFail: a webhook that is told of more than a device explains.
func TestWebhookFlapsCanFail(t *testing.T) {
	t.Parallel()
	told := func(kinds ...string) *tape {
		tape := newTape()
		for i, kind := range kinds {
			tape.take([]change{bobsChange(i+1, kind, nil)}, killAt)
		}
		return tape
	}
	for name, c := range map[string]struct {
		kinds string
		life  func(*life)
		want  string
	}{
		"as it was":                    {"opened", nil, ""},
		"closed and opened, unseen":    {"opened closed opened", nil, "the webhook was told of 2 openings and 1 closings, its device explains 1 and 0"},
		"its node may have been lost":  {"opened closed opened", func(l *life) { l.losses, l.doubtful = 1, 1 }, ""},
		"an end nobody asked for":      {"opened closed", nil, "1 openings and 1 closings, its device explains 1 and 0"},
		"a goodbye, asked for twice":   {"opened closed", func(l *life) { l.byes = []act{asked(6 * time.Second), did(7 * time.Second)} }, ""},
		"and told twice":               {"opened closed opened closed", func(l *life) { l.byes = []act{asked(6 * time.Second), did(7 * time.Second)} }, "told of 2 openings and 2 closings, its device explains 1 and 1"},
		"refused, stored and taken":    {"opened closed opened", func(l *life) { l.opens, l.retried = []act{did(time.Second)}, 1 }, ""},
		"hides: the log has it open":   {"opened hidden", func(l *life) { l.says = append(l.says, saying{did(6 * time.Second), 4, online, true}) }, ""},
		"hides, and the log closes it": {"opened closed", func(l *life) { l.says = append(l.says, saying{did(6 * time.Second), 4, online, true}) }, "its device explains 1 and 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, told(strings.Fields(c.kinds)...).checkTold([]*life{bobs(c.life)}), c.want)
		})
	}
	l := bobs(func(l *life) { l.opens = nil })
	for range 3 { // nobody answers the first two
		note := l.openingNote()
		note(asked(time.Second))
	}
	l.openingNote()(did(time.Second))
	if opened, closed := l.explainedInLog(); len(l.opens) != 1 || opened != 4 || closed != 3 {
		t.Errorf("tried again: %d openings, explains %d and %d, want 1, 4, 3", len(l.opens), opened, closed)
	}
}

// TestOneGoodbyeIsOneEnd: however often it is asked for, it explains one closing.
func TestOneGoodbyeIsOneEnd(t *testing.T) {
	t.Parallel()
	l := bobs(func(l *life) { l.byes = []act{asked(6 * time.Second), asked(7 * time.Second), did(8 * time.Second)} })
	lives := map[string]*life{l.public: l}
	expect(t, flaps(lives, map[string]changed{l.public: {opened: 1, closed: 1}}, time.Time{}, killAt), "")
	expect(t, flaps(lives, map[string]changed{l.public: {opened: 1, closed: 2}}, time.Time{}, killAt), "close 2 times")
	expect(t, flaps(lives, map[string]changed{"": {updated: 3}}, time.Time{}, killAt), "")
	expect(t, flaps(lives, map[string]changed{"": {opened: 1}}, time.Time{}, killAt), "a session without an id")
}

// TestPatronsAreSettled: what explains something in one round explains nothing in
// the next.
func TestPatronsAreSettled(t *testing.T) {
	t.Parallel()
	w, p := crowdOf(nil)
	w.ears = &ears{users: map[string]*heardOf{"bob": {there: true}}}
	ear := newLedger(w.keyOf)
	w.watchers = []*guest{{device: &device{ear: ear}, crowd: w}}
	ear.hear(bobsNotice(kindOpened))
	w.hook.tape.take([]change{bobsChange(1, "opened", nil)}, killAt)
	p.opens.may, p.closes.may, p.overlaps = 5, 5, 1
	w.settlePatrons()
	if p.opens != (sums{}) || p.closes != (sums{}) || p.overlaps != 0 || w.found.openings != 1 {
		t.Fatalf("not settled: %v, %d openings", p, w.found.openings)
	}
	expect(t, w.patronFlaps(ear.counts()), "")
	expect(t, w.checkPatronsTold(), "")
	ear.hear(bobsNotice(kindClosed))
	ear.hear(bobsNotice(kindOpened))
	expect(t, w.patronFlaps(ear.counts()), "open 1 times and close 1 times")
	w.hook.tape.take([]change{bobsChange(2, "closed", nil), bobsChange(3, "opened", nil)}, killAt)
	expect(t, w.checkPatronsTold(), "1 openings and 1 closings were told, he explains 0 and 0")

	// Not while somebody knows something else of him, or nobody knows what he does.
	p.opens.may, p.pending = 7, true
	w.settlePatrons()
	if p.opens.may != 7 {
		t.Error("settled while he asked for something")
	}
	p.pending = false
	ear.hear(bobsNotice(kindClosed))
	w.settlePatrons()
	if p.opens.may != 7 {
		t.Error("settled while a watcher knows something else")
	}
	ear.hear(bobsNotice(kindOpened))
	w.hook.tape.take([]change{bobsChange(4, "closed", nil)}, killAt)
	w.settlePatrons()
	if p.opens.may != 7 {
		t.Error("settled while the webhook knows something else")
	}
	w.ears.users["bob"].there = false
	p.overlaps = 1
	w.hook.tape.take([]change{bobsChange(5, "opened", nil)}, killAt)
	w.settlePatrons()
	if p.opens.may != 0 || p.overlaps != 1 {
		t.Errorf("Tencent's receiver knows something else: %v, %d overlaps", p, p.overlaps)
	}
}

// TestExcusesAreOfANode: what happens to one node excuses no session at another, nor
// one that lost its link long after.
func TestExcusesAreOfANode(t *testing.T) {
	t.Parallel()
	w, _ := crowdOf(nil)
	w.history.outages = []outage{
		{at: after(10 * time.Second), gone: after(10 * time.Second), harm: harmKilled, nodes: []int{0}},
		{at: after(60 * time.Second), gone: after(90 * time.Second), harm: harmStopped, nodes: []int{1}},
		{at: after(200 * time.Second), gone: after(210 * time.Second), harm: harmDoors, nodes: []int{0}},
		{at: after(300 * time.Second), gone: after(316 * time.Second), harm: harmParted, nodes: []int{0, 1}},
	}
	for name, c := range map[string]struct {
		node         int
		opened, lost time.Duration
		want         bool
	}{
		"not noted yet":                  {0, 9 * time.Second, 10 * time.Second, true},
		"noted":                          {0, 7 * time.Second, 10 * time.Second, false},
		"not noted, at another node":     {2, 9 * time.Second, 10 * time.Second, false},
		"its node stood still":           {1, 30 * time.Second, 60 * time.Second, true},
		"another did":                    {2, 30 * time.Second, 60 * time.Second, false},
		"its node did, long before that": {1, 30 * time.Second, 150 * time.Second, false},
		"a majority hears its node":      {0, 250 * time.Second, 310 * time.Second, false},
		"links of clients alone":         {0, 199 * time.Second, 201 * time.Second, false},
	} {
		if got := w.excused(c.node, after(c.opened), after(c.lost)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	young := did(9500 * time.Millisecond)
	if young.survives(w.outagesOf(0)) || !young.survives(w.outagesOf(2)) {
		t.Error("an opening of the last second survives the kill of its own node, or not that of another one")
	}
}

// TestGoodbyesCanFail is R12 of gRPC devices.
func TestGoodbyesCanFail(t *testing.T) {
	t.Parallel()
	said := func(l *life) { l.byes, l.ended, l.held = []act{did(6 * time.Second)}, endClosed, false }
	for name, c := range map[string]struct {
		life   func(*life)
		seen   time.Duration
		want   string
		judged int
	}{
		"when it said so":       {said, 6 * time.Second, "", 1},
		"a second before":       {said, 4900 * time.Millisecond, "must between", 1},
		"a second after":        {said, 7100 * time.Millisecond, "must between", 1},
		"it is there":           {nil, time.Hour, "", 0},
		"it appeared offline":   {func(l *life) { said(l); l.says = l.says[:2]; l.says[1].hidden = true }, time.Hour, "", 0},
		"and no more":           {func(l *life) { said(l); l.says[0].hidden = true }, 6 * time.Second, "", 1},
		"and long since":        {func(l *life) { said(l); l.says[0].hidden = true }, 4 * time.Second, "must between", 1},
		"lost":                  {func(l *life) { l.held, l.lostAt = false, after(60*time.Second) }, 30 * time.Second, "", 1},
		"lost, and long before": {func(l *life) { l.held, l.lostAt = false, after(60*time.Second) }, 20 * time.Second, "must between", 1},
		"lost, and long after":  {func(l *life) { l.held, l.lostAt = false, after(60*time.Second) }, 100 * time.Second, "must between", 1},
		"asked for twice": {func(l *life) {
			said(l)
			l.byes = []act{asked(20 * time.Second), did(50 * time.Second)}
		}, 50 * time.Second, "", 1},
		"asked for twice, and after": {func(l *life) {
			said(l)
			l.byes = []act{asked(20 * time.Second), did(50 * time.Second)}
		}, 52 * time.Second, "must between", 1},
	} {
		v := view{"bob": {lastSeen: after(c.seen)}}
		found, judged, worst := goodbyes(map[string][]*life{"bob": {bobs(c.life)}}, v)
		expect(t, found, c.want)
		if judged != c.judged || name == "when it said so" && worst != -10*time.Millisecond && worst != 0 {
			t.Errorf("%s: %d judged, worst %v, want %d", name, judged, worst, c.judged)
		}
	}
	// The last one that was there counts.
	early := bobs(func(l *life) { said(l); l.public = publicOf(2); l.byes = []act{did(3 * time.Second)} })
	both := map[string][]*life{"bob": {bobs(said), early}}
	found, _, _ := goodbyes(both, view{"bob": {lastSeen: after(3 * time.Second)}})
	expect(t, found, "must between")
	found, _, _ = goodbyes(both, view{"bob": {online: true}})
	expect(t, found, "")
	// Whose opening nobody answered may have been there, or not.
	refused := bobs(func(l *life) {
		l.public, l.opens, l.ended, l.held = publicOf(2), []act{asked(60 * time.Second)}, endRefused, false
		l.lostAt = l.opens[0].sent
	})
	for seen, want := range map[time.Duration]string{6 * time.Second: "", 61 * time.Second: "", 4 * time.Second: "must between"} {
		found, _, _ = goodbyes(map[string][]*life{"bob": {bobs(said), refused}}, view{"bob": {lastSeen: after(seen)}})
		expect(t, found, want)
	}
}

// TestLogOfNodesCanFail: what may be in no node's log.
func TestLogOfNodesCanFail(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`time=1 level=ERROR msg="the checkpoint cannot be written"`:  "",
		`time=1 level=ERROR msg="internal error" method=X error="y"`: "internal error",
		`time=1 level=ERROR msg="a node is refused" error="x"`:       "a node is refused",
		`time=1 level=WARN msg="a node is silent"`:                   "",
		`time=1 level=ERROR msg="engine: Route Error"`:               "",
		`time=1 level=ERROR msg=odd error="the log cannot be read"`:  "odd",
		`panic: runtime error: index out of range`:                   "panic",
		`WARNING: DATA RACE`: "DATA RACE",
		`time=1 level=INFO msg="a call" header="Bearer abc"`:            "holds a token",
		`time=1 level=INFO msg="a call" token=eyJhbGciOiJIUzI1NiJ9.e30`: "holds a token",
	} {
		found := blots("time=0 level=INFO msg=ready\n" + line + "\n")
		expect(t, found, want)
		if strings.Contains(strings.Join(found, ""), "eyJhb") {
			t.Error("the token is repeated")
		}
	}
}

// TestMuteDoorsCanFail: a door of a node that is alone refuses everything, and one
// that calls somebody offline.
func TestMuteDoorsCanFail(t *testing.T) {
	var one tries
	for range 4 {
		one.take(false, errors.New("busy"))
	}
	if one.mute() {
		t.Error("four refusals: mute")
	}
	one.take(false, nil) // nobody was asked for
	if one.take(false, errors.New("busy")); !one.mute() {
		t.Error("five refusals: not mute")
	}
	if one.take(true, nil); one.mute() {
		t.Error("an answer: mute")
	}
	onPretended(t, 2, func(t *testing.T, w *crowd, p *patron, nodes []*pretended) {
		p.since = time.Now()
		pause(nil, time.Minute)
		alone := func(d time.Duration) []string {
			since := time.Now()
			over := w.hurt(harmAlone, 1)
			stop := make(chan struct{})
			time.AfterFunc(d, func() { close(stop) })
			found := blames(w, func() { w.watchAlone(1, since, stop) })
			over()
			pause(nil, time.Minute)
			return found
		}
		expect(t, alone(20*time.Second), "")
		if w.found.alone == 0 || w.found.unanswered > 0 {
			t.Errorf("%d questions were answered, %d not", w.found.alone, w.found.unanswered)
		}
		nodes[1].with(func() { nodes[1].fails = "rongcloud" })
		expect(t, alone(20*time.Second), "R8: rongcloud at node 2, which is alone, refused all of")
		expect(t, alone(4*time.Second), "")
		nodes[1].with(func() {
			nodes[1].fails, nodes[1].says = "", func(door, _ string) verdictOf { return verdictOf{online: door != "rest", stale: true} }
		})
		expect(t, alone(20*time.Second), "R8: rest at node 2")
	})
}

// TestSteadiness: who appeared offline for a moment was not visible all the time.
func TestSteadiness(t *testing.T) {
	t.Parallel()
	cut := outage{at: after(6 * time.Second)}
	say := func(d time.Duration, hidden bool) func(*life) {
		return func(l *life) { l.says = append(l.says, saying{did(d), 4, online, hidden}) }
	}
	for name, c := range map[string]struct {
		change func(*life)
		want   bool
	}{
		"there":                     {nil, true},
		"says something":            {say(7*time.Second, false), true},
		"hides":                     {say(7*time.Second, true), false},
		"hides and shows itself":    {func(l *life) { say(7*time.Second, true)(l); say(8*time.Second, false)(l) }, false},
		"did so before":             {func(l *life) { say(4*time.Second, true)(l); say(5*time.Second, false)(l) }, true},
		"opened since":              {func(l *life) { l.opens = []act{did(7 * time.Second)} }, false},
		"was away for too long":     {func(l *life) { l.doubtful = 1 }, false},
		"nobody is on the way back": {func(l *life) { l.held = false }, false},
	} {
		if got := bobs(c.change).steady(cut); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestOneAbsenceIsOneDoubt: however often a device tries to come back.
func TestOneAbsenceIsOneDoubt(t *testing.T) {
	t.Parallel()
	w, _ := crowdOf(nil)
	l := bobs(nil)
	g := &guest{device: &device{w: w.world, life: l}, crowd: w, lost: time.Now().Add(-time.Minute)}
	for range 20 {
		g.doubt()
		g.late(l, time.Now(), refusedWith(t, "NODE_UNAVAILABLE"))
	}
	if l.doubtful != 1 || l.losses != 1 {
		t.Errorf("refused at once, 20 times: %d doubts and %d losses, want 1 and 1", l.doubtful, l.losses)
	}
	g.late(l, time.Now().Add(-9*time.Second), refusedWith(t, "LOG_UNAVAILABLE"))
	g.late(l, time.Now().Add(-9*time.Second), nil)
	if l.doubtful != 2 || l.losses != 2 {
		t.Errorf("refused after 9 s: %d doubts and %d losses, want 2 and 2", l.doubtful, l.losses)
	}
	g.late(l, time.Now(), status.Error(codes.Unavailable, "the connection broke"))
	if l.doubtful != 3 || l.losses != 3 {
		t.Errorf("not answered: %d doubts and %d losses, want 3 and 3", l.doubtful, l.losses)
	}

	_, p := crowdOf(nil)
	for range 20 {
		p.mu.Lock()
		p.doubt()
		p.mu.Unlock()
		p.late(time.Now(), &refusal{"NODE_UNAVAILABLE"})
	}
	if p.opens.may != 1 || p.closes.may != 1 {
		t.Errorf("a patron who was refused at once, 20 times: %s, want one doubt", p)
	}
	p.late(time.Now().Add(-9*time.Second), &refusal{"LOG_UNAVAILABLE"})
	if p.late(time.Now(), errNoAnswer); p.opens.may != 3 || p.closes.may != 3 {
		t.Errorf("refused late, and not answered: %s, want three doubts", p)
	}
}

// refusedWith is what a node refuses with.
func refusedWith(t *testing.T, reason string) error {
	t.Helper()
	st, err := status.New(codes.Unavailable, "").WithDetails(&errdetails.ErrorInfo{Reason: reason})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}
