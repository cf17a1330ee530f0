package bench

import (
	"context"
	"os"
	"strings"
	"testing"
)

func TestChildRunsAndStops(t *testing.T) {
	t.Parallel()
	addr, pid, stop, err := Child([]string{os.Args[0]}, childEnv+"=null")(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loopback(addr); err != nil {
		t.Error(err)
	}
	if pid <= 1 || pid == os.Getpid() {
		t.Errorf("got process %d, want a child", pid)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestChildThatFails(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		argv []string
		env  string
		want string
	}{
		{"no program", t.Context(), nil, "", "no program"},
		{"missing program", t.Context(), []string{"/nonexistent/program"}, "", "/nonexistent/program"},
		{"ends at once", t.Context(), os.Args[:1], childEnv + "=silent", "no port is free"},
		{"says something else", t.Context(), os.Args[:1], childEnv + "=chatty", `"hello\n"`},
		{"stopped while it starts", ended, os.Args[:1], childEnv + "=null", "context canceled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := Child(c.argv, c.env)(c.ctx)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestWithParentEndsWithItsInput(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	ctx, cancel := WithParent(t.Context(), r)
	defer cancel()
	if ctx.Err() != nil {
		t.Fatal("ended although the parent is there")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var tl tail
	for range 100 {
		_, _ = tl.Write([]byte(strings.Repeat("x", 100)))
	}
	_, _ = tl.Write([]byte("the end\n"))
	got := tl.said()
	if !strings.HasSuffix(got, "xthe end") || len(got) > tailBytes+20 {
		t.Errorf("got %d bytes ending in %q, want at most %d ending in the last words", len(got), got[max(len(got)-10, 0):], tailBytes)
	}
}
