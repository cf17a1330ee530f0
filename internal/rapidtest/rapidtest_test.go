package rapidtest

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asked is set where a test runs itself as a process that hangs.
const asked = "PORCHLIGHT_RAPIDTEST_HANG"

// TestHang is told which history hung, and played again it hangs at once.
func TestHang(t *testing.T) {
	t.Parallel()
	if where := os.Getenv(asked); where != "" {
		hang(t, where)
		return
	}
	for _, where := range []string{"check", "bubble"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			seeksHang(t, where)
		})
	}
}

func seeksHang(t *testing.T, where string) {
	out := run(t, where)
	seed := regexp.MustCompile(`TestHang: a history does not end in 2s; to play it again: -run='\^TestHang\$' (-short )?(-rapid.checks=\d) (-rapid.seed=\d+)`).FindStringSubmatch(out)
	if seed == nil {
		t.Fatalf("got\n%s\nwant the seed", out)
	}
	if !strings.Contains(out, "rapidtest.stuck(") {
		t.Errorf("got\n%s\nwant the stack of what hangs", out)
	}
	if again := run(t, where, seed[2], seed[3]); !strings.Contains(again, seed[3]+"\n") {
		t.Errorf("played again: got\n%s\nwant that it hangs with %s", again, seed[3])
	}
}

func run(t *testing.T, where string, args ...string) string {
	t.Helper()
	if testing.Short() {
		args = append(args, "-test.short")
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	c := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.run=^" + name + "$", "-test.timeout=1m", "-rapid.checks=25000"}, args...)...) //nolint:gosec // itself
	c.Env = append(os.Environ(), asked+"="+where)
	out, err := c.CombinedOutput()
	if err == nil {
		t.Fatalf("got\n%s\nwant that it fails", out)
	}
	return string(out)
}

// hang does so in one of a hundred histories.
func hang(t *testing.T, where string) {
	w := Observe(t, 2*time.Second)
	property := func(rt *rapid.T) {
		if rapid.Uint64Range(0, 1<<40).Draw(rt, "n")%100 == 7 {
			stuck()
		}
	}
	if where == "check" {
		w.Check(t, property)
		return
	}
	synctest.Test(t, func(t *testing.T) { w.Check(struct{ rapid.TB }{t}, property) })
}

//go:noinline
func stuck() {
	var free atomic.Bool
	for !free.Load() {
		<-time.After(time.Second) // in a bubble that is no time at all
	}
}

// TestFailInABubble is told which history failed, though rapid does not come to it.
func TestFailInABubble(t *testing.T) {
	t.Parallel()
	if os.Getenv(asked) != "" {
		Check(t, func(rt *rapid.T) {
			n := rapid.Uint64Range(0, 1<<40).Draw(rt, "n")
			synctest.Test(t, func(t *testing.T) {
				if n%100 == 7 {
					t.Error("a seventh")
				}
			})
		})
		return
	}
	out := run(t, "here")
	again := regexp.MustCompile(`to play it again: -run='\^TestFailInABubble\$' (-short )?(-rapid.checks=\d) (-rapid.seed=\d+)\n`).FindAllStringSubmatch(out, -1)
	if len(again) != 1 || strings.Count(out, "a seventh") != 1 {
		t.Fatalf("got\n%s\nwant one failure and its seed", out)
	}
	run(t, "here", again[0][2:]...)
}

// Checks at once draw seeds of their own, and leave the flag as it was.
func TestSeeds(t *testing.T) {
	t.Parallel()
	if s := flag.Lookup("rapid.seed").Value.String(); s != "0" {
		t.Skip("-rapid.seed is given")
	}
	var drawn [2][]uint64
	t.Run("checks", func(t *testing.T) {
		for i := range drawn {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				Check(t, func(rt *rapid.T) { drawn[i] = append(drawn[i], rapid.Uint64().Draw(rt, "n")) })
			})
		}
	})
	same := 0
	for i := range min(len(drawn[0]), len(drawn[1])) {
		if drawn[0][i] == drawn[1][i] {
			same++
		}
	}
	if len(drawn[0]) == 0 || same > 5 {
		t.Errorf("got %v and %v, want histories of each", drawn[0], drawn[1])
	}
	beginning.mu.Lock()
	defer beginning.mu.Unlock()
	if s := flag.Lookup("rapid.seed").Value.String(); s != "0" {
		t.Errorf("the flag is %s afterwards, want 0", s)
	}
}
