package storetest

import (
	"bufio"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// Rounds is how often kill and power loss tests go round: few, or
// PORCHLIGHT_ROUNDS.
func rounds(t testing.TB, few int) int {
	t.Helper()
	text := os.Getenv("PORCHLIGHT_ROUNDS")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("PORCHLIGHT_ROUNDS: got %q, want a number from 1 on", text)
	}
	return n
}

// Kill proves that what a process was told is stored stays stored when it is
// killed in the middle of writing: round after round on one directory. The
// test's main must call Child.
func Kill(t *testing.T, open Open) {
	t.Helper()
	dir, f := t.TempDir(), newFacts()
	n, found := rounds(t, 4), 0
	for i := range n {
		runChild(t, childCommand(t, dir), f, 200+rand.IntN(4000))
		if found = f.verify(t, open, dir); t.Failed() {
			t.Fatalf("failed in round %d of %d", i+1, n)
		}
	}
	t.Logf("%d kills: %d acknowledgements, nothing lost; %d records still in the log, %d users were taken out of bases", n, f.lines, found, len(f.reading.erased))
}

// childCommand is this test binary as a writer on dir, started by the words in
// front, if any.
func childCommand(t testing.TB, dir string, front ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(front, self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	return cmd
}

// runChild runs the writer until it said so many lines, kills it and adds all
// it said to f.
func runChild(t testing.TB, cmd *exec.Cmd, f *facts, lines int) {
	t.Helper()
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	complaint := &tail{}
	cmd.Stderr = complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() {
		if err := killGroup(cmd); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("kill of the child: got %v, want no error", err)
		}
	}
	r := bufio.NewReader(said)
	for i := 0; ; i++ {
		if i == lines {
			kill()
		}
		line, err := r.ReadString('\n')
		if line != "" {
			if err := f.add(line); err != nil {
				t.Error(err)
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("what the child said: got %v, want its end", err)
			}
			if i < lines {
				kill()
				_ = cmd.Wait()
				t.Fatalf("the child ended after %d lines, want %d; it wrote:\n%s", i, lines, complaint.b)
			}
			break
		}
	}
	_ = cmd.Wait() // killed, so always an error
}

// tail keeps the last of what was written.
type tail struct{ b []byte }

func (w *tail) Write(b []byte) (int, error) {
	const keep = 8 << 10
	w.b = append(w.b, b...)
	w.b = w.b[max(0, len(w.b)-keep):]
	return len(b), nil
}
