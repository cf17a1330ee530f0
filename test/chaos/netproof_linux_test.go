package chaos

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestNetwork shows that a network cuts what it is told to and nothing else.
func TestNetwork(t *testing.T) {
	w := newNetwork(t, 3)
	at := func(i int) string { return w.addr(i) + ":7000" }
	for i := range 3 {
		self := w.at(i, os.Args[0], "-test.run=^$")
		cmd := exec.Command(self[0], self[1:]...)
		cmd.Env = append(os.Environ(), echoRole+"="+at(i))
		cmd.SysProcAttr = endWithTest()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	for i := range 3 {
		limit := time.Now().Add(patience)
		for reaches(at(i)) != nil {
			if time.Now().After(limit) {
				t.Fatalf("host %d does not answer", i)
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	// see is whether a connection from one host to another carries bytes: it
	// takes both ways.
	see := func(from, to int) bool { return asks(at(from), at(to), 3*echoWait) == nil }
	check := func(when string, want func(from, to int) bool) {
		t.Helper()
		for from := range 3 {
			for to := range 3 {
				if from != to && see(from, to) != want(from, to) {
					t.Errorf("%s: %d sees %d: %v", when, from, to, !want(from, to))
				}
			}
			if err := reaches(at(from)); err != nil {
				t.Errorf("%s: the test does not reach %d: %v", when, from, err)
			}
		}
	}
	whole := func(int, int) bool { return true }
	check("whole", whole)
	w.part(0, 1)
	check("0 and 1 parted", func(from, to int) bool { return from+to != 1 })
	w.heal()
	check("healed", whole)
	w.cut(2, 0)
	check("2 is not heard by 0", func(from, to int) bool { return from+to != 2 })
	w.mend(2, 0)
	check("mended", whole)
	w.slow(1, 2000)
	check("1 is slow", whole)
	w.heal()
	check("all fast", whole)
}
