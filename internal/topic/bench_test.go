package topic

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func benchTopics(b *testing.B) *Topics {
	b.Helper()
	t, err := New(Config{Store: storetest.NewMemory(), Source: &world{pictures: map[presence.User]*presence.Presence{}}})
	if err != nil {
		b.Fatal(err)
	}
	if err := t.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = t.Stop(b.Context()) })
	return t
}

// BenchmarkChanged is what a picture costs the tracker's callers: a status
// update, a coming in an app without subscribers, and one in an app with.
func BenchmarkChanged(b *testing.B) {
	run := func(name string, subscribed bool, p *presence.Presence) {
		b.Run(name, func(b *testing.B) {
			t := benchTopics(b)
			if subscribed {
				s := t.Subscribe(Params{App: "demo", Topics: []string{"T"}, Wake: func() {}})
				defer s.Close()
			}
			b.ReportAllocs()
			for b.Loop() {
				t.Changed(p)
			}
		})
	}
	run("update", true, &presence.Presence{User: user("alice")})
	run("comes/nobody", false, &presence.Presence{User: user("alice"), Turned: true})
	run("comes/subscribed", true, &presence.Presence{User: user("alice"), Turned: true})
}

// BenchmarkFanOut brings a message to 1,000 subscribers, each of whom drains it.
func BenchmarkFanOut(b *testing.B) {
	t := benchTopics(b)
	subs := make([]*Subscription, 1000)
	for i := range subs {
		subs[i] = t.Subscribe(Params{App: "demo", User: presence.UserID(fmt.Sprint(i)), Topics: []string{"T"}, Wake: func() {}})
		defer subs[i].Close()
	}
	room := make([]*Message, 0, 8)
	enc := &jsonEncoder{}
	b.ReportAllocs()
	for b.Loop() {
		t.Deliver(&Message{App: "demo", Topic: "T", User: "alice", Attribute: "a", Value: json.RawMessage(`1`)})
		for _, s := range subs {
			got, _, _ := s.Drain(room[:0], 8)
			for _, m := range got {
				_ = m.Body(enc)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/delivery")
}

type jsonEncoder struct{ made int }

// Encode implements Encoder.
func (e *jsonEncoder) Encode(m *Message) []byte {
	e.made++
	return m.Value
}

// BenchmarkSet sets an attribute of a user who has some, in a store in memory.
func BenchmarkSet(b *testing.B) {
	t := benchTopics(b)
	values := []json.RawMessage{json.RawMessage(`"busy"`), json.RawMessage(`"free"`)}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		if _, n, err := t.Set(b.Context(), user("alice"), []Attribute{{Name: "mood", Value: values[i%2]}}); err != nil || n != 1 {
			b.Fatal(n, err)
		}
	}
}
