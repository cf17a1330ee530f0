package chaos

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func rng() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// blames runs a check and gives what it blamed.
func blames(w *crowd, check func()) []string {
	w.blamed = nil
	check()
	return w.blamed
}

// TestDoorsCheckCanFail: each door of each node that says something else of who is
// at rest is named.
func TestDoorsCheckCanFail(t *testing.T) {
	onPretended(t, 2, func(t *testing.T, w *crowd, p *patron, nodes []*pretended) {
		expect(t, w.checkDoors(), "")
		for _, a := range askings() {
			for lie, v := range map[string]verdictOf{"online false": {}, "stale true": {online: true, stale: true}, "unknown true": {unknown: true}} {
				if v.stale && !a.marks {
					continue
				}
				nodes[1].with(func() {
					nodes[1].says = func(door, _ string) verdictOf {
						if door == a.name {
							return v
						}
						return verdictOf{online: true}
					}
				})
				found := w.checkDoors()
				expect(t, found, "door "+a.name+" of node 2")
				expect(t, found, lie)
				if len(found) != 1 {
					t.Errorf("%s, %s: found %q, want one", a.name, lie, found)
				}
			}
			nodes[1].with(func() { nodes[1].says, nodes[1].fails = nil, a.name })
			if found := w.checkDoors(); len(found) == 0 {
				t.Errorf("%s answers nothing: found nothing", a.name)
			}
			nodes[1].with(func() { nodes[1].fails = "" })
		}
		expect(t, w.checkDoors(), "")
		departed(p) // and all show him still
		if found := w.checkDoors(); len(found) != 2*len(askings()) {
			t.Errorf("who left is shown everywhere: found %q", found)
		}
	})
}

// TestMoodsCheckCanFail: an attribute that was acknowledged is the newest at any
// node.
func TestMoodsCheckCanFail(t *testing.T) {
	onPretended(t, 1, func(t *testing.T, w *crowd, p *patron, nodes []*pretended) {
		p.door, p.acked, p.said = atStringee{}, 3, 4
		for mood, want := range map[string]string{
			"n3": "", "n4": "", "n2": "node 1 has mood 2 of bob, 3 was acknowledged and 4 said", "n5": "has mood 5", "": "has mood 0", "x": "never stated",
		} {
			nodes[0].with(func() { nodes[0].moods["bob"] = mood })
			expect(t, w.checkMoods(), want)
		}
		nodes[0].with(func() { nodes[0].fails = "rest" })
		expect(t, w.checkMoods(), "503")
		p.acked = 0
		expect(t, w.checkMoods(), "")
	})
}

// TestForeignReceiversCheckCanFail: what receivers of foreign formats know beside a
// query, dead letters, and bodies that no format has.
func TestForeignReceiversCheckCanFail(t *testing.T) {
	onPretended(t, 1, func(t *testing.T, w *crowd, p *patron, nodes []*pretended) {
		check := func(want string) {
			t.Helper()
			expect(t, blames(w, w.checkEars), want)
		}
		check("rongcloud: session " + publicOf(1) + " of bob is open, and its receiver does not know it")
		w.ears.take(w.ears.conns, publicOf(1), heardEvent{true, 1}, true)
		check("tencentim: the receiver does not know that bob is online true")
		w.ears.take(w.ears.users, "bob", heardEvent{true, 1}, false)
		check("")
		w.ears.take(w.ears.conns, publicOf(2), heardEvent{true, 1}, true)
		check("the receiver takes session " + publicOf(2) + " to be open, and it is not")
		nodes[0].with(func() { nodes[0].dead = 2 })
		check("the endpoint rong has 2 dead letters")
		delete(w.ears.conns, publicOf(2))
		check("")
		p.overlaps = 1 // then Tencent's knows the last word alone
		w.ears.take(w.ears.users, "bob", heardEvent{false, 2}, false)
		check("")
		p.overlaps = 0
		check("tencentim")
		w.ears.take(w.ears.users, "bob", heardEvent{true, 3}, false)
		nodes[0].with(func() { nodes[0].fails = "isonline" })
		check("no answer")
		nodes[0].with(func() { nodes[0].fails = "" })

		r, err := calling("POST", "/rong?nonce=1&timestamp=2&signature=3", nil)
		if err != nil {
			t.Fatal(err)
		}
		w.ears.hearRong(r, []byte(`[]`))
		check("a callback with a wrong signature")
		w.ears.hearRong(r, []byte(`{`))
		check("rongcloud: \"{\"")
		w.ears.hearTencent(nil, []byte(`{"EventTime":1}`))
		check("tencentim: \"{")
		w.ears.hearRong(r, []byte(`[{"userid":"bob","status":"1","time":5,"sessionId":"x"},{"userid":"bob","status":"0","time":4,"sessionId":"x"}]`))
		check("R5: rongcloud: of session x of bob")
	})
}

// TestMemoryCheckCanFail is R7.
func TestMemoryCheckCanFail(t *testing.T) {
	t.Parallel()
	w, _ := crowdOf(nil)
	if mb := memoryOf("Name:\tx\nVmRSS:\t  204800 kB\nThreads:\t9\n"); mb != 200 {
		t.Errorf("%v MB, want 200", mb)
	}
	if mb := memoryOf("Name:\tx\n"); mb != 0 {
		t.Errorf("%v MB, want 0", mb)
	}
	for mb, want := range map[float64]string{200: "", 400: "", 401: "R7: node 2 takes 401 MB with 1 devices"} {
		if got := w.tooHeavy(1, mb); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%v MB: %q, want %q", mb, got, want)
		}
	}
}

// TestGhostWatchesCanFail is R1 at doors and at the webhook.
func TestGhostWatchesCanFail(t *testing.T) {
	onPretended(t, 3, func(t *testing.T, w *crowd, p *patron, nodes []*pretended) {
		killed := time.Now()
		shows := func(d time.Duration, v view) {
			for _, n := range nodes[1:] {
				time.AfterFunc(d, func() { n.with(func() { n.shows = v }) })
			}
		}
		nodes[0].with(func() { nodes[0].shows = nobody })
		w.leave(ghost{life: bobs(nil), node: 0, since: killed})
		shows(9*time.Second, nobody)
		expect(t, blames(w, func() { w.watchDoors(0, killed) }), "")
		if w.found.ghosts != 1 || w.found.worstDoors < 8*time.Second {
			t.Errorf("%d ghosts, the last gone after %v, want 1, 9s", w.found.ghosts, w.found.worstDoors)
		}
		shows(0, bobAs(3, online))
		pause(nil, time.Millisecond)
		killed = time.Now()
		w.left[0].since = killed
		expect(t, blames(w, func() { w.watchDoors(0, killed) }), "R1: 10s after the kill of node 1 these sessions are still shown: map[bob:["+publicOf(1))
		// A patron is shown by one door of one node.
		killed, w.left = time.Now(), nil
		shows(0, nobody)
		pause(nil, time.Millisecond)
		p.meant, p.lost = leftSilent, killed
		expect(t, blames(w, func() { w.watchDoors(0, killed) }), "")
		killed = time.Now()
		p.lost = killed
		nodes[2].with(func() {
			nodes[2].says = func(door, _ string) verdictOf { return verdictOf{online: door == "tencentim"} }
		})
		expect(t, blames(w, func() { w.watchDoors(0, killed) }), "and these users: [bob]")
		nodes[2].with(func() { nodes[2].says, nodes[2].fails = nil, "tencentim" })
		expect(t, blames(w, func() { w.watchDoors(0, killed) }), "asking for ghosts")

		one := ghost{life: bobs(nil), node: 0, since: time.Now()}
		w.left = []ghost{one}
		expect(t, blames(w, func() { w.watchHook(0, one.since) }), "the webhook was not told of the end of ["+publicOf(1))
		w.hook.tape.take([]change{bobsChange(1, "opened", nil), bobsChange(2, "closed", nil)}, one.since.Add(hookWithin+time.Second))
		expect(t, blames(w, func() { w.watchHook(0, one.since) }), "the webhook was told of the last ghost of node 1 after 16s")
		w.left[0].since = one.since.Add(5 * time.Second)
		expect(t, blames(w, func() { w.watchHook(0, one.since.Add(5*time.Second)) }), "")
	})
}

// TestRestChecksCanFail: what nodes, watchers, the webhook and devices must agree on
// when all is calm (R4, R6).
func TestRestChecksCanFail(t *testing.T) {
	onPretended(t, 2, func(t *testing.T, w *crowd, p *patron, nodes []*pretended) {
		check := func(f func(), want string) {
			t.Helper()
			expect(t, blames(w, f), want)
		}
		show := func(i int, v view) { nodes[i].with(func() { nodes[i].shows = v }) }
		g := &guest{device: &device{user: "watcher0", ear: newLedger(w.keyOf)}, crowd: w}
		n := bobsNotice(kindOpened)
		n.Session.RichText, n.Session.Status = textOf(3), online
		g.ear.hear(n)
		w.watchers = []*guest{g}
		check(w.checkAgree, "")
		show(1, bobAs(2, online))
		check(w.checkAgree, "node 2 beside node 1: session "+publicOf(1))
		show(1, bobAs(3, online))
		nodes[1].with(func() {
			nodes[1].says = func(string, string) verdictOf { return verdictOf{online: true, stale: true} }
		})
		check(w.checkAgree, "node 2 says that its answer may be old of 1 users, bob")
		nodes[1].with(func() { nodes[1].says, nodes[1].fails = nil, "isonline" })
		check(w.checkAgree, "node 2: ")
		nodes[1].with(func() { nodes[1].fails = "" })
		g.ear.hear(bobsNotice(kindClosed))
		check(w.checkAgree, "watcher 0, at node 1: bob: the watcher knows online false")
		g.ear.hear(n)
		look := &patron{crowd: w, user: "onlooker0", ear: newLedger(w.keyOf)}
		w.onlookers = []*patron{look}
		check(w.checkAgree, "onlooker0 of the live door, at node 1: the watcher was told nothing of bob")
		w.onlookers = nil

		// A snapshot beside the webhook.
		known := func() { _ = w.checkKnown() }
		check(known, "bob: told until number 0, the snapshot is at 1")
		w.hook.tape.take([]change{bobsChange(1, "opened", func(c *change) { c.LastSeen = time.Time{} })}, time.Now())
		check(known, "")
		nodes[1].with(func() { nodes[1].seqs["bob"] = 2 })
		check(known, "the webhook beside the snapshot of node 2")

		// What a device holds.
		w.users = []string{"carol"}
		l := bobs(func(l *life) { l.user, l.public = "carol", publicOf(5) })
		w.history.lives[l.public] = l
		carol := view{"carol": {online: true, sessions: map[string]shown{l.public: {3, online}}}}
		for _, n := range nodes {
			n.with(func() { n.shows, n.owns = carol, carol })
		}
		check(w.checkHeld, "")
		nodes[1].with(func() { nodes[1].owns = view{} })
		check(w.checkHeld, "node 2: session "+l.public+" of carol was acknowledged and is missing")
		nodes[1].with(func() { nodes[1].owns, nodes[1].shows = carol, view{} })
		check(w.checkHeld, "node 2: session "+l.public+" of carol: visible to others is false, appears offline is false")
	})
}
