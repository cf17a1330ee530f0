package hub

import (
	"slices"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Frame is one message for the watcher's connection, with its number in the
// session's stream. Either Body or Mark is set.
type Frame struct {
	Sequence uint64
	Body     Body // as the encoder made it; shared, read only
	Mark     *Mark
}

// maxSequence is beyond every number that a stream gives: an edge keeps the last
// one in 32 bits.
const maxSequence = 1 << 31

// Attached says how a connection takes up its session's stream.
type Attached struct {
	// Stream names this attachment to Drain, Next and Detach, so that a stream
	// that was replaced cannot take what is meant for its successor.
	Stream uint64
	// Resumed: the session had a stream before this one.
	Resumed bool
	// Resync: what the device holds may be old; a full snapshot follows.
	Resync bool
}

// Attach makes wake the one who is told when something waits: it is called at
// most once between two Drains that came back empty, must not block, and must
// lead to a Drain on another goroutine. An earlier wake is no longer called.
// What is drained from now on is in enc's dialect: a session may come back at
// another door.
//
// after is the number of the last message that the device has, or nil when it
// claims none. A number beyond the newest is ResumeFromFuture, unless this node
// never served the stream (it started anew, or another node did): then the
// numbering goes on after it with Resync (protocol note A4). Of several nodes another
// one may have served it meanwhile: then it is so always.
func (w *Watcher) Attach(enc Encoder, wake func(), after *uint64) (Attached, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return Attached{}, fault.New(fault.SessionGone, "the session is closed; make a new one")
	}
	if err := w.canResume(after); err != nil {
		return Attached{}, err
	}
	a := Attached{Resumed: w.attached || after != nil}
	switch {
	case after == nil:
		if a.Resync = w.attached; a.Resync {
			w.sendAll()
		}
		w.beginAnew()
	case !w.attached || *after < uint64(w.ended) || *after > w.sequence:
		a.Resync = true
		w.sequence = *after
		w.sendAll()
		w.beginAnew()
	case *after < w.sequence:
		w.sendAfter(*after)
		w.sequence = *after
	}
	if w.attached = true; w.encoder != enc {
		w.encoder, w.localeOf = enc, 0
	}
	w.stream++
	a.Stream = uint64(w.stream)
	w.queue.attach(wake)
	return a, nil
}

// beginAnew notes that the device is told in the next message to drop what it holds:
// until it has that one it is told so again.
func (w *Watcher) beginAnew() { w.ended = uint32(w.sequence + 1) }

// CanResume is the check of Attach alone, for a door that must know before it
// opens the session.
func (w *Watcher) CanResume(after *uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.canResume(after)
}

func (w *Watcher) canResume(after *uint64) error {
	if after != nil && *after > maxSequence {
		return fault.New(fault.ResumeFromFuture, "no message has the number %d yet: connect again without a number", *after)
	}
	if after != nil && w.attached && !w.hub.several && *after > w.sequence {
		return fault.New(fault.ResumeFromFuture,
			"the number %d to go on after is beyond the newest message, %d: connect again without a number", *after, w.sequence)
	}
	return nil
}

// Detach stops the waking of that stream. What changes from now on waits, one
// entry a target. It does nothing when another stream has taken over.
func (w *Watcher) Detach(stream uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if uint64(w.stream) == stream {
		w.stream++ // what still drains for it gets nothing
		w.queue.attach(nil)
	}
}

// sendAll makes every edge a snapshot, as a first one, with a mark behind. The
// device drops what it holds when it hears of it, which the next message says.
func (w *Watcher) sendAll() {
	var edges []uint32
	for i := range w.edges {
		switch e := &w.edges[i]; {
		case e.target == 0:
		case e.bits&owes != 0:
			w.drop(uint32(i))
			w.ended = max(w.ended, uint32(w.sequence+1))
		default:
			e.setSend(sendSnapshot)
			edges = append(edges, uint32(i))
		}
	}
	w.queue.pushAll(edges, &Mark{Scope: ScopeAll, Users: len(edges)})
}

// sendAfter repeats the present of every target that was told of in a message
// the device does not have. What it was told before is left alone.
func (w *Watcher) sendAfter(number uint64) {
	var edges []uint32
	for i := range w.edges {
		e := &w.edges[i]
		switch {
		case e.target == 0:
			continue
		case uint64(e.sequence) > number && e.over():
			e.setSend(sendOver)
		case uint64(e.sequence) > number || e.send() == sendSnapshot && e.sequence != 0:
			// The second is a snapshot for a device that connected anew, and now
			// turns out to hold what it was told before.
			e.setSend(max(e.send(), sendAgain))
		default:
			e.setOver(false)
			continue
		}
		if e.bits&owes == 0 { // else its end waits in the queue
			edges = append(edges, uint32(i))
		}
	}
	w.queue.pushAll(edges, &Mark{Scope: ScopeAll, Users: len(edges)})
}

// Next gives the number for a message that the door itself puts into the
// stream. A stream that was replaced gets one that nobody else will miss.
func (w *Watcher) Next(stream uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if stream != uint64(w.stream) {
		return w.sequence + 1
	}
	w.sequence++
	return w.sequence
}

// Drain appends up to about limit frames of what waits to frames. more says
// that something is left; when it is false the next change wakes. Only one
// goroutine may drain a stream at a time; one that was replaced gets nothing.
func (w *Watcher) Drain(stream uint64, frames []Frame, limit int) (_ []Frame, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if stream != uint64(w.stream) {
		return frames, false
	}
	start := len(frames)
	var room [takeAtOnce]uint32
	for len(frames)-start < limit {
		edges, mark, more := w.queue.take(room[:0])
		for _, i := range edges {
			// The edge may have been dropped, or made anew, since it was queued.
			switch {
			case int(i) >= len(w.edges) || w.edges[i].target == 0:
			case w.edges[i].bits&owes != 0:
				frames = w.end(frames, i)
			default:
				frames = w.difference(frames, i)
			}
		}
		if mark != nil {
			w.sequence++
			frames = append(frames, Frame{Sequence: w.sequence, Mark: mark})
		}
		if !more {
			w.sent.Add(uint64(len(frames) - start))
			return frames, false
		}
	}
	w.sent.Add(uint64(len(frames) - start))
	return frames, true
}

// difference appends what the watcher of the edge has not been told, and notes
// that it was.
func (w *Watcher) difference(frames []Frame, i uint32) []Frame {
	e := &w.edges[i]
	t := w.target(e)
	p, forms := t.picture.Load(), &t.encoded
	behind := uint32(0)
	if w.sight.veils != nil {
		if v := w.sight.veils[i]; v != nil {
			behind = v.behind
			if v.face != nil {
				p, forms = v.face, nil // nobody else needs these
			}
		}
	}
	own := p.User == w.params.User
	since, how := e.version, e.send()
	told := len(frames)
	forgotten := int32(p.Forgotten(own)-since) > 0 // a close in between
	if how != sendSnapshot && forgotten {
		how = sendOver
	}
	if e.sequence == 0 {
		w.begin(i, p, own)
	}
	// A snapshot says of that close too, by leaving the session out: a device that
	// loses it and resumes by an older number must start over as well.
	if how == sendOver || forgotten && e.sequence != 0 {
		e.setOver(true)
	}
	if how == sendOver {
		frames = w.frame(frames, e, forms, Notification{Presence: p, Own: own})
		how = sendAgain
	}
	e.version = p.Version
	e.setSend(sendChanges)
	available := p.Available(own) != presence.Unavailable
	var room [4]step
	list := steps(room[:0], p, own, since, how)
	if behind != 0 {
		list = slices.DeleteFunc(list, func(s step) bool { return s.kind == KindClosed && int32(s.at-behind) <= 0 })
	}
	for j, s := range list {
		frames = w.frame(frames, e, forms, Notification{
			Presence: p, View: s.view, Kind: s.kind, Own: own, Available: available || closesLater(list[j:], own),
		})
	}
	late := p.Later(own)
	if len(frames) == told && !available && (how >= sendAsked || late != 0 && int32(late-since) > 0) {
		n := Notification{Presence: p, Own: own}
		if p.Version == 0 {
			if n.Stale = w.hub.silence(p.User); n.Stale != 0 {
				forms = nil // nothing that is kept
			}
		}
		frames = w.frame(frames, e, forms, n)
	}
	return frames
}

// step is one session's part of a difference.
type step struct {
	view *presence.View
	kind Kind
	at   uint32 // version
}

// steps appends the parts of a difference in the order in which they happened.
func steps(dst []step, p *presence.Presence, own bool, since uint32, how uint8) []step {
	for _, v := range p.Sessions {
		f := v.Face(own)
		if kind := kindSince(f, since, how); kind != KindNone {
			dst = append(dst, step{v, kind, max(f.Changed, f.Closed)})
		}
	}
	if how < sendAsked && len(dst) > 1 {
		slices.SortStableFunc(dst, func(a, b step) int { return int(int32(a.at - b.at)) })
	}
	return dst
}

// closesLater reports whether a session that closes in a later step was open
// at the first one: of several that closed only the last leaves the user offline.
func closesLater(list []step, own bool) bool {
	for _, s := range list[1:] {
		if s.kind == KindClosed && int32(s.view.Face(own).Opened-list[0].at) <= 0 {
			return true
		}
	}
	return false
}

// kindSince says what a face that changed after `since` is told as.
func kindSince(f *presence.Face, since uint32, how uint8) Kind {
	newer := func(v uint32) bool { return int32(v-since) > 0 }
	switch {
	case f.Opened == 0:
		return KindNone
	case f.Closed != 0:
		if how == sendAgain || how < sendSnapshot && newer(f.Closed) {
			return KindClosed
		}
		return KindNone
	case how >= sendAsked:
		return KindCurrent
	case how == sendShown || newer(f.Opened):
		return KindOpened
	case newer(f.Changed):
		return KindUpdated
	}
	return KindNone
}

func (w *Watcher) frame(frames []Frame, e *edge, forms *encoded, n Notification) []Frame {
	// The age is read first: whoever finds an old locale after a Forget has an old
	// age too, and what is made of it is not kept.
	if age := w.hub.age.Load(); w.localeOf != age {
		w.locale, w.localeOf = w.encoder.Locale(w.params.User.App, w.params.Locale), age
	}
	n.Locale = w.locale
	w.sequence++
	e.sequence = uint32(w.sequence)
	return append(frames, Frame{Sequence: w.sequence, Body: forms.get(w.encoder, n, w.localeOf)})
}

// end appends the end of an edge's subscription, and takes the edge away.
func (w *Watcher) end(frames []Frame, i uint32) []Frame {
	e := &w.edges[i]
	m := &Mark{Scope: ScopeEnded, User: string(w.target(e).picture.Load().User.ID)}
	if e.bits&owesUnfriended != 0 {
		m.Reason = EndUnfriended
	}
	w.drop(i)
	w.sequence++
	w.ended = uint32(w.sequence)
	return append(frames, Frame{Sequence: w.sequence, Mark: m})
}
