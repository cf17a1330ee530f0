package script

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// story is a file being played.
type story struct {
	t       *testing.T
	began   time.Time // when the server first was up
	server  server
	links   map[string]*link
	devices map[string]*device
	quiet   atomic.Bool // the end: nothing is printed any more
	beats   atomic.Bool // keep-alives are printed

	mu    sync.Mutex // guards all below
	heard []heard
	names map[string]string // public session id → device; written by the steps alone
}

// heard is a line that a device's stream gave.
type heard struct {
	at     time.Duration
	device string
	stream int // which of the device's
	text   string
}

func newStory(t *testing.T, dir string) *story {
	return &story{
		t: t, server: server{dir: dir + "/node"},
		links: map[string]*link{}, devices: map[string]*device{}, names: map[string]string{},
	}
}

// play does the steps and returns what they print: for each step its answer,
// and then what was heard on any stream meanwhile.
func (s *story) play(steps []step) (out []string) {
	for i := range steps {
		out = append(out, s.do(&steps[i])...)
		synctest.Wait()
		out = append(out, s.flush()...)
	}
	return out
}

func (s *story) do(st *step) []string {
	if st.user == "" {
		return s.world(st)
	}
	f, ok := verbs[st.verb]
	if !ok {
		s.t.Fatalf("%s: unknown verb %q", st.line, st.verb)
	}
	answer := f(s, st)
	if answer == "" {
		return nil
	}
	s.mu.Lock()
	answer = s.named(answer)
	s.mu.Unlock()
	return strings.Split(strings.TrimSuffix(answer, "\n"), "\n")
}

// world is what happens to the server, the network and the clock.
func (s *story) world(st *step) (out []string) {
	switch st.verb {
	case "start":
		s.start(st)
	case "reload":
		return s.reload(st)
	case "stop":
		s.stop()
	case "kill":
		s.kill()
	case "wait":
		d, err := time.ParseDuration(st.word(0))
		if err != nil {
			s.t.Fatalf("%s: %v", st.line, err)
		}
		wait(d)
	case "cut":
		for _, name := range st.words {
			s.cut(name)
		}
	case "freeze":
		s.link(st.word(0)).freeze()
	case "cancel":
		s.device(st, 0).open.cancel()
	case "stall":
		s.device(st, 0).stall()
	case "show": // keep-alives fill pages, so only a story about them prints them
		s.beats.Store(st.word(0) == "keep_alive")
	case "read":
		s.device(st, 0).read()
	case "same":
		return s.same(st)
	case "count", "tally":
		return s.device(st, 0).counted(st.verb == "count")
	default:
		if f, ok := backend[st.verb]; ok {
			return f(s, st)
		}
		s.t.Fatalf("%s: unknown verb %q", st.line, st.verb)
	}
	return nil
}

// hear notes a line of a device's stream.
func (s *story) hear(device string, stream int, format string, args ...any) {
	if s.quiet.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, heard{time.Since(s.began), device, stream, fmt.Sprintf(format, args...)})
}

// flush returns what was heard, in the order of time; what came at the same
// instant on different streams has no order, so it is sorted by device, and of
// one device the older stream comes first.
func (s *story) flush() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.heard, func(a, b heard) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.device, b.device), cmp.Compare(a.stream, b.stream))
	})
	for _, h := range s.heard {
		out = append(out, fmt.Sprintf("%s %s %s", offset(h.at), h.device, s.named(h.text)))
	}
	s.heard = nil
	return out
}

// offset writes a time since the story began, without the offTick of each start.
func offset(d time.Duration) string { return d.Round(10 * offTick).String() }

// device returns the device named by the i-th word.
func (s *story) device(st *step, i int) *device {
	d := s.devices[st.word(i)]
	if d == nil {
		s.t.Fatalf("%s: no device %q was made", st.line, st.word(i))
	}
	return d
}
