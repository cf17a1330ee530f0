package script

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
)

var rewrite = flag.Bool("rewrite", false, "write what happens into the stories instead of comparing")

func TestMain(m *testing.M) {
	ats.Register() // before any bubble: its ticker would stop the fake clock
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// TestStories plays each file of testdata and compares what is printed.
func TestStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("stories: got %d, %v, want some", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			tell(t, file)
		})
	}
}

// tell plays one story.
func tell(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t, dir)
		defer s.end()
		for i := range parts {
			if p := &parts[i]; p.steps != nil {
				p.output = s.play(p.steps)
			}
		}
	})
	got := format(parts)
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s tells another story (-want +got); if it is the right one, run with -rewrite:\n%s", file, diff)
	}
}
