package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Who the members are, and what falls to whom.

func TestRestartUnderTheSameName(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.kill("c")
		wait(200 * time.Millisecond)
		w.start("c")
		wait(10 * time.Millisecond)
		w.nodes["a"].is(t, "c started again", "lost 3")
		w.agree(t)
		if n := len(w.nodes["a"].c.Members()); n != 4 {
			t.Errorf("%d members, want the former c, too", n)
		}
		wait(2 * time.Minute)
		if n := len(w.nodes["a"].c.Members()); n != 3 {
			t.Errorf("%d members, want the former c forgotten", n)
		}
	})
}

func TestOwnersFollowMembers(t *testing.T) {
	inWorld(t, "a b c d", func(t *testing.T, w *world) {
		owned := map[uint64]int{}
		before := map[string][2]uint64{}
		for i := range 4000 {
			key := []byte(fmt.Sprint(i))
			owner, heir := w.nodes["a"].c.Owner(key), w.nodes["b"].c.Heir(key, 1)
			owned[owner]++
			before[string(key)] = [2]uint64{owner, heir}
		}
		for n, count := range owned {
			if count < 900 || count > 1100 {
				t.Errorf("%d owns %d of 4000", n, count)
			}
		}
		w.kill("d")
		wait(4 * time.Second)
		for key, was := range before {
			want := was[0]
			if want == 4 {
				want = was[1]
			}
			if got := w.nodes["c"].c.Owner([]byte(key)); got != want {
				t.Fatalf("%s went from %v to %d", key, was, got)
			}
		}
		if h := w.nodes["a"].c.Heir([]byte("x"), 3); h != 0 {
			t.Errorf("a fourth of three: %d", h)
		}
	})
}

func TestMembersSayWhatIsKnown(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		var got []string
		for _, m := range w.nodes["b"].c.Members() {
			got = append(got, fmt.Sprintf("%s %d %v %s %v %v %d", m.Name, m.Incarnation, m.Standing, m.Version, m.Self, m.Loaded, m.Lag))
		}
		if want := "a 1 alive test false true 0, b 2 alive test true true 0, c 3 alive test false true 0"; strings.Join(got, ", ") != want {
			t.Errorf("got %v", got)
		}
		w.kill("c")
		wait(20 * time.Second)
		for _, m := range w.nodes["b"].c.Members() {
			if m.Name == "c" && (m.Standing.String() != "gone" || time.Since(m.Heard) < 19*time.Second) {
				t.Errorf("got %+v", m)
			}
		}
	})
}
