package cluster

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

func TestHeartbeatRoundTrip(t *testing.T) {
	t.Parallel()
	want := heartbeat{
		hello: hello{Protocol, 17, 99, "node"}, version: "1.2", counter: 5, position: 1 << 40, at: 1700000000000, leaving: true,
		others: []report{{18, Lost, 7, 3 * time.Second}, {1 << 60, Alive, 0, 0}},
	}
	h, r, err := parseHello(appendHeartbeat(nil, &want))
	got := heartbeat{hello: h}
	if err != nil || got.parse(r) != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestDigestsRoundTrip(t *testing.T) {
	t.Parallel()
	var want, got Digests
	got[5] = 1
	want[0], want[7], want[1023] = 1, 1<<63, 42
	r := reader{b: appendDigests(nil, &want)}
	if r.digests(&got); r.bad || len(r.b) > 0 || got != want {
		t.Errorf("got %v, bad %v, left %d", got, r.bad, len(r.b))
	}
	if n := len(appendDigests(nil, &Digests{})); n != Shards/8 {
		t.Errorf("an empty table takes %d bytes", n)
	}
}

// void swallows everything.
type void struct{}

func (void) Publish(string, []byte) error { return nil }
func (void) Subscribe(string, func(string, []byte, func([]byte))) (func(), error) {
	return func() {}, nil
}
func (void) Request(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("void") }
func (void) Renew(context.Context, string, uint64) error             { return nil }
func (void) Leave(context.Context, string, uint64) error             { return nil }
func (void) Members(context.Context) ([]store.Life, error)           { return nil, nil }
func (void) Apply(_ Incarnation, shard int, _ [][]byte) {
	_ = Digests{}[shard] // in range
}
func (void) Dump(int, func([]byte)) {}
func (void) Digests(_ Incarnation, d *Digests) {
	*d = Digests{}
}
func (void) Replace(_ Incarnation, shard int, _ [][]byte)   { _ = Digests{}[shard] }
func (void) Silent(Incarnation, presence.Time)              {}
func (void) Returned(Incarnation)                           {}
func (void) Caught(Incarnation)                             {}
func (void) Lost(Incarnation, presence.Time, presence.Time) {}
func (void) Left(Incarnation, presence.Time)                {}
func (void) Isolated()                                      {}
func (void) Frozen()                                        {}
func (void) Joined(Incarnation)                             {}
func (void) Told(Incarnation, []byte)                       {}
func (void) Missed(Incarnation)                             {}

// alone is a node whose goroutines do not run, and which knows one other, 2.
func alone(tb testing.TB) *Cluster {
	c, err := New(Config{Name: "a", Incarnation: 1, Fingerprint: 7, Transport: void{}, Liveness: void{}, Table: void{}, Listener: void{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	c.ctx = context.Background()
	c.life.closed = true // nothing is asked
	c.Listen("t", void{})
	h := heartbeat{hello: hello{Protocol, 2, 7, "b"}, counter: 1}
	c.hear("", appendHeartbeat(nil, &h), nil)
	c.originOf(2).listen(0, Fresh)
	return c
}

// FuzzFrames gives everything that takes bytes from the network any bytes.
func FuzzFrames(f *testing.F) {
	h := heartbeat{hello: hello{Protocol, 2, 7, "b"}, version: "v", counter: 2, position: 3, at: 4, others: []report{{1, Alive, 2, time.Second}}}
	f.Add(appendHeartbeat(nil, &h))
	h.hello = hello{9, 3, 7, "c"}
	f.Add(appendHeartbeat(nil, &h))
	o := newOutbox(2)
	o.change(5, []byte("change"))
	o.tell("t", []byte("told"))
	o.digests(&Digests{3: 4})
	f.Add(o.take(true, nil))
	f.Add(append([]byte{Protocol, frameShards, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 5, sessionNext, 1, 'x', shardEnd, 6, shardCut))
	q := question{2, 3, 4, time.Second, "echo", []byte("b")}
	f.Add(appendQuestion(nil, &q))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := alone(t)
		c.hear("", b, nil)
		origin := c.originOf(2)
		origin.receive(bytes.Clone(b))
		l := &pull{id: 1, until: time.Hour, since: map[int][][]byte{}, asked: true, cancel: func() {}}
		origin.repair.add(5, Gap)
		origin.repair.choose(l)
		c.part(b)
		if q, err := parseQuestion(b); err == nil {
			if again, err := parseQuestion(appendQuestion(nil, &q)); err != nil || !reflect.DeepEqual(again, q) {
				t.Errorf("got %+v, %v, want %+v", again, err, q)
			}
		}
		_, _, _ = parsePull(b)
		if answer, err := parseAnswer(b); err == nil {
			if again, err := parseAnswer(appendAnswer(nil, answer, nil)); err != nil || !bytes.Equal(again, answer) {
				t.Errorf("got %q, %v, want %q", again, err, answer)
			}
		}
	})
}

// Frames that are cut short anywhere change nothing and are counted.
func TestFramesCutShort(t *testing.T) {
	t.Parallel()
	o := newOutbox(2)
	o.digests(&Digests{3: 4})
	o.tell("t", []byte("told"))
	whole := o.take(true, nil)
	for n := range whole {
		c := alone(t)
		c.originOf(2).receive(bytes.Clone(whole[:n]))
		if n != batchHead && n < len(whole) && c.counts.unread.Load() != 1 && n != batchHead+1+Shards/8+8 {
			t.Errorf("%d of %d bytes: not counted", n, len(whole))
		}
	}
	h := heartbeat{hello: hello{Protocol, 3, 7, "c"}, version: "v", counter: 2, others: []report{{1, Alive, 2, time.Second}}}
	b := appendHeartbeat(nil, &h)
	for n := range b {
		c := alone(t)
		if c.hear("", b[:n], nil); c.counts.unread.Load() != 1 || len(c.peers) != 1 {
			t.Errorf("%d of %d bytes of a heartbeat: got %d members", n, len(b), len(c.peers))
		}
	}
}

func TestFaultsComeAsTheyWent(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		want := &fault.Error{Kind: k, Detail: "detail", RetryAfter: 3 * time.Second, Fields: []fault.Field{{Path: "a", Rule: "b"}, {Path: "c", Rule: "d"}}}
		_, err := parseAnswer(appendAnswer(nil, nil, want))
		var got *fault.Error
		if !errors.As(err, &got) || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: got %+v", k, err)
		}
	}
	_, err := parseAnswer([]byte("\x01\x07UNHEARD\x00\x00\x00"))
	if fault.KindOf(err) != fault.Internal {
		t.Errorf("a kind that a later version has: got %v", err)
	}
}
