package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// readyWord begins the line with which a child tells its address.
	readyWord = "listening "
	// startLimit bounds how long a child may take to come up.
	startLimit = 30 * time.Second
	// askAfter is how long a child may take to go after its input ended before
	// it is asked to by a signal.
	askAfter = time.Second
	// stopLimit is how long a child may take to go after it was asked to.
	stopLimit = 10 * time.Second
	// tailBytes of what a child last said on its standard error are kept for
	// the error message when it fails.
	tailBytes = 2 << 10
)

// Ready tells the parent that started this process with [Child] at which
// address the server listens. The process writes it once, to its standard
// output, when it accepts connections.
func Ready(w io.Writer, addr string) error {
	if _, err := fmt.Fprintln(w, readyWord+addr); err != nil {
		return fmt.Errorf("bench: tell the parent the address: %w", err)
	}
	return nil
}

// WithParent returns a context that ends with ctx, or when input ends: a
// process started by [Child] passes its standard input and so goes when its
// parent is gone. The goroutine that reads input lasts until input ends, which
// for a standard input may be the end of the process.
func WithParent(ctx context.Context, input io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, input) // an error is an end as well
	}()
	return ctx, cancel
}

// Child returns a Start that runs argv as a child process. The program must
// call [Ready], write nothing more to its standard output, and end when it gets
// os.Interrupt or when its standard input ends ([WithParent]). A child that does
// not go within ten seconds of that is killed; going with an error is an error
// of stop. env is added to the environment of this process.
func Child(argv []string, env ...string) Start {
	return func(ctx context.Context) (string, int, func() error, error) {
		if len(argv) == 0 {
			return "", 0, nil, errors.New("bench: no program to start")
		}
		c := &child{cmd: exec.Command(argv[0], argv[1:]...)}
		c.cmd.Env = append(os.Environ(), env...)
		c.cmd.Stderr = &c.tail
		addr, err := c.start(ctx)
		if err != nil {
			return "", 0, nil, err
		}
		return addr, c.cmd.Process.Pid, c.stop, nil
	}
}

// child is a server in a process of its own.
type child struct {
	cmd   *exec.Cmd
	input io.Closer
	tail  tail
}

func (c *child) start(ctx context.Context) (addr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	input, err := c.cmd.StdinPipe()
	if err != nil {
		return "", fmt.Errorf("bench: start %s: %w", c.cmd.Path, err)
	}
	c.input = input
	output, err := c.cmd.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("bench: start %s: %w", c.cmd.Path, err)
	}
	if err := c.cmd.Start(); err != nil {
		return "", fmt.Errorf("bench: start %s: %w", c.cmd.Path, err)
	}
	// The read ends when the child says its line or goes; a child that does
	// neither is killed at the end of ctx.
	kill := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	line, err := bufio.NewReader(output).ReadString('\n')
	if !kill() || err != nil {
		_ = c.cmd.Process.Kill() // gone already, as a rule
		return "", fmt.Errorf("bench: %s did not come up: %w%s", c.cmd.Path, errors.Join(ctx.Err(), c.cmd.Wait()), c.tail.said())
	}
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), readyWord)
	if !ok {
		return "", errors.Join(fmt.Errorf("bench: %s said %q instead of its address", c.cmd.Path, line), c.stop())
	}
	return addr, nil
}

// stop ends the child and waits for it.
func (c *child) stop() error {
	_ = c.input.Close() // fails only when the child is gone, and Wait tells that
	// A child that ends by that alone may not expect a signal any more.
	ask := time.AfterFunc(askAfter, func() { _ = c.cmd.Process.Signal(os.Interrupt) })
	defer ask.Stop()
	kill := time.AfterFunc(stopLimit, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("bench: the server ended badly: %w%s", err, c.tail.said())
	}
	return nil
}

// tail keeps the last bytes written to it.
type tail struct {
	mu   sync.Mutex // guards last: os/exec writes from a goroutine of its own
	last []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if n := len(t.last); n > tailBytes {
		t.last = append(t.last[:0], t.last[n-tailBytes:]...)
	}
	return len(b), nil
}

// said returns what was written last, as the end of an error message.
func (t *tail) said() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := strings.TrimSpace(string(t.last)); s != "" {
		return "; it said: " + s
	}
	return ""
}
