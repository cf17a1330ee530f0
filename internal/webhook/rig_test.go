package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLog is a log of one app's facts in memory: each record is one message.
type fakeLog struct {
	mu     sync.Mutex
	users  map[presence.UserID]*presence.Folded
	events []*facts.Event
	next   uint64
	first  uint64 // what is before is gone
	grown  chan struct{}
	asked  int // calls of Follow
	erased map[presence.UserID]bool
	held   chan struct{} // when not nil, nothing is read before it is closed
}

func newFakeLog() *fakeLog {
	return &fakeLog{users: map[presence.UserID]*presence.Folded{}, erased: map[presence.UserID]bool{}, next: 1, grown: make(chan struct{})}
}

// append claims something now.
func (l *fakeLog) append(kind presence.RecordKind, user string, session byte, more ...func(*presence.Record)) []*facts.Event {
	r := record(kind, session, presence.At(time.Now()), more...)
	r.User.ID = presence.UserID(user)
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[r.User.ID]
	if u == nil {
		u = &presence.Folded{}
		l.users[r.User.ID] = u
	}
	r.Revision = u.Seq + 1
	var mine []*facts.Event
	for n, f := range u.Apply(&r, nil) {
		mine = append(mine, &facts.Event{Fact: f, Position: Position{Sequence: l.next, Ordinal: uint32(n)}})
	}
	l.next++
	l.events = append(l.events, mine...)
	close(l.grown)
	l.grown = make(chan struct{})
	return mine
}

// counter grows with the log, so that a session opens anew.
func (l *fakeLog) counter() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint32(l.next)
}

func nth(counter uint32) func(*presence.Record) {
	return func(r *presence.Record) { r.Epoch.Counter = counter }
}

func because(reason presence.Reason) func(*presence.Record) {
	return func(r *presence.Record) { r.Reason = reason }
}

func (l *fakeLog) after(p facts.Params) (events []*facts.Event, through Position, grown chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := p.After
	if at.Sequence+1 < l.first {
		return nil, at, nil, &facts.GapError{From: at, To: facts.End(l.first - 1)}
	}
	i, _ := slices.BinarySearchFunc(l.events, at, func(e *facts.Event, p Position) int { return e.Position.Compare(p) })
	for _, e := range l.events[i:] {
		if !at.Before(e.Position) || p.Only != nil && !p.Only(e.User.ID) {
			continue
		}
		if len(events) >= 100 && events[len(events)-1].Position.Sequence != e.Position.Sequence {
			return events, facts.End(e.Position.Sequence - 1), nil, nil
		}
		events = append(events, e)
	}
	return events, newer(at, facts.End(l.next-1)), l.grown, nil
}

func (l *fakeLog) Follow(ctx context.Context, p facts.Params, f func([]*facts.Event, Position) error) error {
	l.mu.Lock()
	l.asked++
	l.mu.Unlock()
	if l.held != nil {
		select {
		case <-l.held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		events, through, grown, err := l.after(p)
		if err != nil {
			return err
		}
		if p.After.Before(through) {
			if err := f(events, through); err != nil {
				return err
			}
			p.After = through
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if grown != nil {
			select {
			case <-grown:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func (l *fakeLog) End(context.Context) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return facts.End(l.next - 1), nil
}

func (l *fakeLog) Oldest(context.Context) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == 0 {
		return Position{}, nil
	}
	return facts.End(l.first - 1), nil
}

func (l *fakeLog) At(_ context.Context, t time.Time) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Time >= presence.At(t) {
			return recordStart(e.Position), nil
		}
	}
	return facts.End(l.next - 1), nil
}

func (l *fakeLog) Hides(_ context.Context, e *facts.Event) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.erased[e.User.ID], nil
}

func (l *fakeLog) seq(_ context.Context, user presence.User) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u := l.users[user.ID]; u != nil {
		return u.Seq, nil
	}
	return 0, nil
}

// fakeStore keeps cursors and letters in memory.
type fakeStore struct {
	mu      sync.Mutex
	cursors map[store.Endpoint]store.Cursors
	letters map[store.Endpoint][]store.Letter
	number  uint64
	saves   int
	fail    func() error // of each write; nil: none
}

func newFakeStore() *fakeStore {
	return &fakeStore{cursors: map[store.Endpoint]store.Cursors{}, letters: map[store.Endpoint][]store.Letter{}}
}

func (s *fakeStore) failed() error {
	if s.fail == nil {
		return nil
	}
	return s.fail()
}

func (s *fakeStore) LoadCursors(_ context.Context, e store.Endpoint) (store.Cursors, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cursors[e]
	c.Endpoint, c.Lanes = e, slices.Clone(c.Lanes)
	return c, nil
}

func (s *fakeStore) SaveCursors(_ context.Context, c store.Cursors) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed(); err != nil {
		return 0, err
	}
	was := s.cursors[c.Endpoint]
	switch {
	case c.Term < was.Term:
		return 0, store.ErrTerm
	case c.Revision != was.Revision:
		return 0, store.ErrMoved
	}
	s.saves++
	c.Revision++
	c.Lanes = slices.Clone(c.Lanes)
	s.cursors[c.Endpoint] = c
	return c.Revision, nil
}

func (s *fakeStore) AddLetters(_ context.Context, e store.Endpoint, letters []store.Letter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed(); err != nil {
		return err
	}
	for _, l := range letters {
		if len(l.Body) > store.MaxLetterBody {
			return store.ErrRefused
		}
	}
	for _, l := range letters {
		s.number++
		l.Number = s.number
		s.letters[e] = append(s.letters[e], l)
	}
	return nil
}

func (s *fakeStore) ListLetters(_ context.Context, e store.Endpoint, _ store.LetterFilter, page store.LetterPage) (found []store.Letter, next uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.letters[e] {
		if l.Number > page.After {
			if len(found) == page.Limit {
				return found, found[len(found)-1].Number, nil
			}
			found = append(found, l)
		}
	}
	return found, 0, nil
}

func (s *fakeStore) CountLetters(_ context.Context, e store.Endpoint) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.letters[e]), nil
}

func (s *fakeStore) ReadLetter(_ context.Context, e store.Endpoint, number uint64) (store.Letter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.letters[e] {
		if l.Number == number {
			return l, nil
		}
	}
	return store.Letter{}, store.ErrNoLetter
}

func (s *fakeStore) TakeLetters(_ context.Context, e store.Endpoint, numbers []uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letters[e] = slices.DeleteFunc(s.letters[e], func(l store.Letter) bool { return slices.Contains(numbers, l.Number) })
	return nil
}

// request is one that arrived, in the words of the plain format below.
type request struct {
	at     time.Duration // since the receiver began
	id     string
	number int
	events []string // "alice 3 opened"
	gap    string
	replay string
	resent bool
	to     string // name of the plain format
}

// receiver is an endpoint's other end.
type receiver struct {
	began time.Time

	mu     sync.Mutex
	got    []request
	answer func(q request) (status int, stall time.Duration) // nil: 200 at once
	header http.Header
}

func newReceiver() *receiver { return &receiver{began: time.Now()} }

func (r *receiver) Close() {}

func (r *receiver) Post(ctx context.Context, _ string, h http.Header, body []byte) (outbound.Answer, error) {
	q := request{at: time.Since(r.began), id: h.Get("Id"), gap: h.Get("Gap"), replay: h.Get("Replay"), resent: h.Get("Resent") != "", to: h.Get("To")}
	_, _ = fmt.Sscan(h.Get("Number"), &q.number)
	if len(body) > 0 {
		q.events = strings.Split(string(body), "\n")
	}
	r.mu.Lock()
	r.got = append(r.got, q)
	answer, header := r.answer, r.header
	r.mu.Unlock()
	status, stall := 200, time.Duration(0)
	if answer != nil {
		status, stall = answer(q)
	}
	if stall > 0 {
		t := time.NewTimer(stall)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return outbound.Answer{}, fmt.Errorf("receiver.example: %w", ctx.Err())
		}
	}
	if status == 0 {
		return outbound.Answer{}, errors.New("receiver.example: connection refused")
	}
	return outbound.Answer{Status: status, Header: header}, nil
}

func (r *receiver) answers(f func(q request) (int, time.Duration)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// events are those that arrived, in order.
func (r *receiver) events() (all []string) {
	for _, q := range r.requests() {
		all = append(all, q.events...)
	}
	return all
}

// times are those of the requests.
func (r *receiver) times() (all []time.Duration) {
	for _, q := range r.requests() {
		all = append(all, q.at)
	}
	return all
}

// plain is a format for tests.
type plain struct {
	policy Policy
	secret string
	name   string // told to the receiver
}

func (p *plain) Name() string        { return "plain" }
func (p *plain) Policy() Policy      { return p.policy }
func (p *plain) Wants(e *Event) bool { return true }

func (p *plain) Request(d *Delivery, a Attempt) (Request, error) {
	var lines []string
	for _, e := range d.Events {
		lines = append(lines, fmt.Sprintf("%s %d %s", e.User.ID, e.Seq, e.Kind))
		if e.User.ID == "unwritable" {
			return Request{}, errors.New("no words for it")
		}
	}
	h := http.Header{"Id": {d.ID}, "Number": {fmt.Sprint(a.Number)}, "To": {p.name}}
	if d.Gap != nil {
		h.Set("Gap", d.Gap.From.String()+"-"+d.Gap.To.String())
	}
	if d.Replay != "" {
		h.Set("Replay", d.Replay)
	}
	if d.Resent {
		h.Set("Resent", "yes")
	}
	return Request{URL: a.URL, Header: h, Body: []byte(strings.Join(lines, "\n"))}, nil
}

func (p *plain) Judge(a outbound.Answer) Verdict {
	v := Verdict{Detail: fmt.Sprint("status ", a.Status)}
	switch {
	case a.Status == 410:
		v.Outcome = Gone
	case a.Status == 400:
		v.Outcome = Refused
	case a.Status != 200:
		v.Outcome = Failed
		_, _ = fmt.Sscan(a.Header.Get("Retry-After"), &v.RetryAfter)
		v.RetryAfter *= time.Second
	}
	return v
}

// patient is a policy like native's.
func patient() Policy {
	return Policy{
		View: Truth, Batch: Batch{Events: 100, Linger: 10 * time.Millisecond}, Timeout: 10 * time.Second,
		Retry: Retry{First: time.Second, Most: 5 * time.Minute, For: 7 * 24 * time.Hour},
		Gaps:  true,
	}
}

// rig is a deliverer with one endpoint, "main".
type rig struct {
	t        *testing.T
	log      *fakeLog
	store    *fakeStore
	receiver *receiver
	owner    Owner
	d        *Deliverer
	main     Endpoint
}

func newRig(t *testing.T, policy Policy, more ...func(*Endpoint)) *rig {
	r := &rig{
		t: t, log: newFakeLog(), store: newFakeStore(), receiver: newReceiver(), owner: Alone(1),
		main: Endpoint{App: "demo", Name: "main", URL: "https://receiver.example/hook", Format: &plain{policy: policy}},
	}
	for _, m := range more {
		m(&r.main)
	}
	r.start()
	return r
}

func (r *rig) start() { r.startOn(r.store) }

// keeping is what a store does for a deliverer.
type keeping interface {
	Cursors
	Letters
}

func (r *rig) startOn(s keeping) {
	r.t.Helper()
	d, err := New(Config{
		Reader: r.log, Seq: r.log.seq, Cursors: s, Letters: s, Owner: r.owner, Logger: slog.New(slog.DiscardHandler),
		Dial: func(outbound.Config) Sender { return r.receiver },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.d = d
	r.set(r.main)
	if err := d.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) set(endpoints ...Endpoint) {
	r.t.Helper()
	if err := r.d.SetEndpoints(endpoints); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) stop() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), time.Hour)
	defer cancel()
	if err := r.d.Stop(ctx); err != nil {
		r.t.Errorf("stop: %v", err)
	}
}

func (r *rig) status() Status {
	r.t.Helper()
	s, err := r.d.Endpoint(r.t.Context(), "demo", "main")
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func oneLane(e *Endpoint) { e.Lanes = 1 }

// elapse lets the fake clock go on.
func elapse(d time.Duration) {
	t := time.NewTimer(d)
	<-t.C
}
