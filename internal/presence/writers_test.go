package presence

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// writers simulates the nodes that write about one user's sessions: each owner
// of a session makes its claims in order, knows only its own session, and may
// fall silent; another then takes over or says that the session is lost. What
// an owner does not know (a takeover, a replacement) it learns within ten minutes.
type writers struct {
	t        *rapid.T
	now      Time
	pauses   bool // hours may pass between two records
	known    Folded
	policies []MultiDevice
	devices  []string
	log      []Record
	sessions []*owned
	erases   bool // the user may be erased
}

// owned is a session as its present owner sees it.
type owned struct {
	n        int
	epoch    Epoch
	revision uint64
	open     bool
	over     bool // closed for a reason that allows no resume
	hidden   bool
	device   Device
	lost     Time    // in old: when it lost the session
	old      []owned // owners that fell silent but may still have records on their way
}

func newWriters(t *rapid.T) *writers {
	w := &writers{t: t, now: At(time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC))}
	w.policies, w.devices = []MultiDevice{AllowAll}, []string{""}
	for n := range rapid.IntRange(1, 4).Draw(t, "sessions") {
		w.sessions = append(w.sessions, &owned{n: n})
	}
	return w
}

func (w *writers) bool(what string) bool { return rapid.Bool().Draw(w.t, what) }

// write appends a record of kind about o as it is.
func (w *writers) write(o *owned, kind RecordKind, change func(*Record)) {
	w.now++
	r := Record{
		Kind: kind, User: testUser, Session: sessionID(o.n), Public: publicID(o.n), Epoch: o.epoch, Revision: o.revision,
		Time: w.now, Device: o.device, Invisible: o.hidden,
	}
	if change != nil {
		change(&r)
	}
	w.log = append(w.log, r)
	w.known.Apply(&r, nil)
}

// learning is how long an owner may not know what others wrote of its session.
const learning = 10 * time.Minute

// wait lets time pass, and owners learn.
func (w *writers) wait() {
	longest := 20 * time.Second
	if w.pauses && rapid.IntRange(0, 5).Draw(w.t, "pause") == 0 {
		longest = 2 * KeepClosed
	}
	w.now = w.now.Add(time.Duration(rapid.Int64Range(0, int64(longest)).Draw(w.t, "wait")))
	for _, o := range w.sessions {
		o.old = slices.DeleteFunc(o.old, func(old owned) bool { return w.now.Sub(old.lost) > learning })
		s := w.known.Session(sessionID(o.n))
		if s != nil && s.Phase == FoldClosed && s.Reason == ReasonReplaced && w.now.Sub(s.ClosedAt) > learning {
			o.open, o.over = false, true
		}
	}
}

// run makes most/4 to most steps.
func (w *writers) run(most int) {
	for range rapid.IntRange(most/4, most).Draw(w.t, "steps") {
		w.wait()
		o := rapid.SampledFrom(w.sessions).Draw(w.t, "who")
		switch {
		case w.erases && rapid.IntRange(0, 9).Draw(w.t, "erase") == 0:
			w.erase()
		case len(o.old) > 0 && rapid.IntRange(0, 3).Draw(w.t, "straggler") == 0:
			w.straggle(o)
		case o.open:
			w.live(o)
		case !o.over:
			w.open(o)
		}
	}
}

// open opens o anew, at the next epoch.
func (w *writers) open(o *owned) {
	w.nextEpoch(o)
	o.open = true
	o.hidden = w.bool("hidden")
	o.device = Device{
		Platform: rapid.SampledFrom([]string{"ios", "web"}).Draw(w.t, "platform"), ID: rapid.SampledFrom(w.devices).Draw(w.t, "device"),
		Addr: fmt.Sprintf("192.0.2.%d:1", o.epoch.Counter),
	}
	w.write(o, RecordOpened, func(r *Record) {
		r.Policy = rapid.SampledFrom(w.policies).Draw(w.t, "policy")
		r.Reason = ReasonOpened
	})
}

func (w *writers) nextEpoch(o *owned) {
	o.epoch = o.epoch.Next(rapid.Uint64Range(1, 3).Draw(w.t, "incarnation"))
	o.revision = rapid.Uint64Range(1, 3).Draw(w.t, "revision")
}

// live is one thing that happens to an open session.
func (w *writers) live(o *owned) {
	silent := *o
	silent.old, silent.lost = nil, w.now
	switch rapid.SampledFrom([]string{"say", "say", "say", "close", "move", "lose", "reopen"}).Draw(w.t, "what") {
	case "say":
		w.say(o)
	case "close":
		w.close(o)
	case "move": // taken over, hidden as it was
		o.old = append(o.old, silent)
		w.nextEpoch(o)
		o.device.Addr = fmt.Sprintf("192.0.2.%d:2", o.epoch.Counter)
		w.write(o, RecordMoved, nil)
	case "lose": // its node is gone, another one says so
		o.old = append(o.old, silent)
		w.nextEpoch(o)
		w.close(o)
	case "reopen": // nobody wrote how the last epoch ended
		o.old = append(o.old, silent)
		w.open(o)
	}
}

// say writes hidden, shown or custom, with the next revision.
func (w *writers) say(o *owned) {
	o.revision += rapid.Uint64Range(1, 2).Draw(w.t, "revisions")
	if w.bool("custom") {
		w.write(o, RecordCustom, func(r *Record) { r.Status = &Status{Text: text(fmt.Sprint(r.Epoch, r.Revision))} })
		return
	}
	kind := RecordShown
	if o.hidden = !o.hidden; o.hidden {
		kind = RecordHidden
	}
	w.write(o, kind, nil)
}

func (w *writers) close(o *owned) {
	o.open = false
	reason := rapid.SampledFrom([]Reason{ReasonLogout, ReasonLeft, ReasonLinkLost, ReasonTimedOut, ReasonDropped, ReasonExpired, ReasonNodeLost}).Draw(w.t, "reason")
	o.over = !reason.Resumable()
	w.write(o, RecordClosed, func(r *Record) {
		r.Reason = reason
		if w.bool("knows when") {
			r.LastSeen = r.Time - Time(rapid.Int64Range(0, 5000).Draw(w.t, "since"))
		}
	})
}

// erase erases the user. Owners that were not asked before go on as if nothing
// had been.
func (w *writers) erase() {
	if w.bool("drops first") {
		for _, o := range w.sessions {
			if o.open {
				w.close(o)
			}
		}
	}
	w.now++
	r := Record{Kind: RecordErased, User: testUser, Time: w.now}
	w.log = append(w.log, r)
	w.known.Apply(&r, nil)
}

// straggle lets an owner that lost o write once more of its old epoch.
func (w *writers) straggle(o *owned) {
	i := rapid.IntRange(0, len(o.old)-1).Draw(w.t, "which")
	old := &o.old[i]
	if w.bool("closes") {
		w.close(old)
		o.old = slices.Delete(o.old, i, i+1)
		return
	}
	w.say(old)
}

// present is what must not depend on the order in which records are read.
type present struct {
	Open            map[SessionID]openSession
	LastSeen, Shown Time
}

type openSession struct {
	Epoch  Epoch
	Hidden bool
	Device Device
}

func presentOf(u *Folded) present {
	p := present{map[SessionID]openSession{}, u.LastSeen, u.LastSeenShown}
	for _, s := range u.Sessions {
		if s.Phase == FoldOpen {
			p.Open[s.ID] = openSession{s.Epoch, s.Hidden, s.Device}
		}
	}
	return p
}

// presentBySets says the same of a log without policies as a set, with no
// folding at all: for each session the highest epoch that opened, moved or
// closed decides; it is open unless it closed; the highest revision of it says
// whether it is hidden. What was claimed until the user was last erased, and
// what was seen until then, is as if it had never been.
func presentBySets(log []Record) present {
	var erased Time
	for _, r := range log {
		if r.Kind == RecordErased {
			erased = max(erased, r.Time)
		}
	}
	log = slices.DeleteFunc(slices.Clone(log), func(r Record) bool { return r.Time <= erased })
	p := present{Open: map[SessionID]openSession{}}
	top := map[SessionID]Epoch{}
	for _, r := range log {
		switch r.Kind {
		case RecordOpened, RecordMoved, RecordClosed:
			if r.Epoch.Compare(top[r.Session]) > 0 {
				top[r.Session] = r.Epoch
			}
		}
	}
	revision := map[SessionID]uint64{}
	closed := map[SessionID]bool{}
	for _, r := range log {
		seen := r.LastSeen
		if seen == 0 {
			seen = r.Time
		}
		if seen > erased && r.Kind == RecordClosed {
			p.LastSeen = max(p.LastSeen, seen)
		}
		if seen > erased && (r.Kind == RecordClosed && !r.Invisible || r.Kind == RecordHidden) {
			p.Shown = max(p.Shown, seen)
		}
		if r.Epoch != top[r.Session] || r.Kind == RecordCustom {
			continue
		}
		s := p.Open[r.Session]
		s.Epoch = r.Epoch
		switch r.Kind {
		case RecordClosed:
			closed[r.Session] = true
		case RecordOpened, RecordMoved:
			s.Device = r.Device
		}
		if r.Kind != RecordClosed && r.Revision > revision[r.Session] {
			revision[r.Session] = r.Revision
			s.Hidden = r.Kind == RecordHidden || r.Kind != RecordShown && r.Invisible
		}
		p.Open[r.Session] = s
	}
	for id := range closed {
		delete(p.Open, id)
	}
	return p
}
