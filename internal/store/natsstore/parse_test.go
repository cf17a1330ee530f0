package natsstore

import (
	"bytes"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

func FuzzHead(f *testing.F) {
	f.Add(head{through: 7, size: 3, body: []byte("abc")}.append(nil))
	f.Add(head{through: 1 << 40, size: 20 << 20, parts: 23, set: 1 << 63}.append(nil))
	f.Add([]byte{headVersion})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHead(b)
		if err != nil {
			return
		}
		again, err := parseHead(h.append(nil))
		if err != nil || again.through != h.through || again.size != h.size || again.parts != h.parts || again.set != h.set || !bytes.Equal(again.body, h.body) {
			t.Errorf("head of % x: got %+v, %v after writing it again, want %+v", b, again, err, h)
		}
	})
}

func FuzzMark(f *testing.F) {
	f.Add(mark{through: 7, note: 1 << 40}.append(nil))
	f.Add([]byte{markVersion})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMark(b)
		if err != nil {
			return
		}
		if again, err := parseMark(m.append(nil)); err != nil || again != m {
			t.Errorf("mark of % x: got %+v, %v after writing it again, want %+v", b, again, err, m)
		}
	})
}

func FuzzRoster(f *testing.F) {
	f.Add(appendRoster(nil, "alice", []byte("a value")))
	f.Add(appendRoster(nil, "alice", nil))
	f.Add([]byte{rosterVersion + 1, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		id, value, err := parseRoster(b)
		if err != nil {
			return
		}
		again, same, err := parseRoster(appendRoster(nil, id, value))
		if err != nil || again != id || !bytes.Equal(same, value) {
			t.Errorf("roster of % x: got %q, %q, %v after writing it again, want %q, %q", b, again, same, err, id, value)
		}
	})
}

func TestRefine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want []error
		not  error
	}{
		"engine says no":     {&jetstream.APIError{ErrorCode: 10077, Description: "maximum bytes exceeded"}, []error{store.ErrRefused}, store.ErrUnknown},
		"somebody was first": {&jetstream.APIError{ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}, []error{store.ErrRefused, store.ErrMoved}, store.ErrUnknown},
		"engine's store off": {jetstream.ErrNoStreamResponse, []error{store.ErrRefused}, store.ErrUnknown},
		"too large":          {nats.ErrMaxPayload, []error{store.ErrRefused}, store.ErrUnknown},
		"connection closed":  {nats.ErrConnectionClosed, []error{store.ErrClosed, store.ErrUnknown}, store.ErrRefused},
		"no answer":          {nats.ErrTimeout, []error{store.ErrUnknown, nats.ErrTimeout}, store.ErrRefused},
		"anything else":      {errors.New("?"), []error{store.ErrUnknown}, store.ErrRefused},
	} {
		got := refine(c.err)
		for _, want := range c.want {
			if !errors.Is(got, want) {
				t.Errorf("%s: got %v, want it to be %v", name, got, want)
			}
		}
		if errors.Is(got, c.not) {
			t.Errorf("%s: got %v, want it not to be %v", name, got, c.not)
		}
	}
}
