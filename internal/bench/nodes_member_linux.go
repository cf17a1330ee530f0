package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/listen"
)

// memberStart bounds the start of a node, which waits for the others.
const memberStart = time.Minute

// memberStop is how long a node may take to end.
const memberStop = 10 * time.Second

// member is a node of this load, in a process of its own.
type member struct {
	place Place
	argv  []string
	env   []string

	cmd     *exec.Cmd // nil: it does not run
	tail    tail
	orders  io.WriteCloser
	answers *bufio.Reader
	addr    string
}

// muster makes the nodes; nothing is started.
func muster(cfg NodesConfig, dir string) (members []*member, err error) {
	peers, err := listen.Free(cfg.Nodes)
	if err != nil {
		return nil, fmt.Errorf("bench: find a port: %w", err)
	}
	password := rand.Text()
	for i := range cfg.Nodes {
		name := fmt.Sprintf("n%d", i+1)
		m := &member{place: Place{Name: name, Peers: append([]string{peers[i]}, peers...), Password: password, Data: filepath.Join(dir, name)}}
		m.argv, m.env = cfg.Self(m.place)
		if len(m.argv) == 0 {
			return nil, errors.New("bench: no program to start")
		}
		members = append(members, m)
	}
	return members, nil
}

// start starts the node and returns when it takes calls and has the sessions of
// the others.
func (m *member) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, memberStart)
	defer cancel()
	cmd := exec.Command(m.argv[0], m.argv[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), m.env...), &m.tail
	orders, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("bench: start node %s: %w", m.place.Name, err)
	}
	answers, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("bench: start node %s: %w", m.place.Name, err)
	}
	m.cmd, m.orders, m.answers = cmd, orders, bufio.NewReader(answers)
	line, err := m.line(ctx)
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), readyWord)
	if err == nil && !ok {
		err = fmt.Errorf("it said %q instead of its address", line)
	}
	if err != nil {
		m.kill()
		return fmt.Errorf("bench: node %s did not come up: %w%s", m.place.Name, err, m.tail.said())
	}
	m.addr = addr
	return nil
}

// line reads one line of the node; it is killed when ctx ends first.
func (m *member) line(ctx context.Context) (string, error) {
	end := context.AfterFunc(ctx, func() { _ = m.cmd.Process.Kill() })
	line, err := m.answers.ReadString('\n')
	if !end() && err != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return line, err
}

func (m *member) proc() process {
	if m.cmd == nil {
		return 0
	}
	return process(m.cmd.Process.Pid)
}

// orderLimit is how long an order may take beside the time that it says itself.
const orderLimit = 3 * time.Minute

// order tells the node to do something and returns its answer.
func (m *member) order(ctx context.Context, o Order) (s Standing, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderLimit+time.Duration(o.Seconds)*time.Second)
	defer cancel()
	if err := json.NewEncoder(m.orders).Encode(o); err != nil {
		return s, fmt.Errorf("bench: node %s is gone: %w%s", m.place.Name, err, m.tail.said())
	}
	line, err := m.line(ctx)
	if err == nil {
		err = json.Unmarshal([]byte(line), &s)
	}
	if err != nil {
		return s, fmt.Errorf("bench: node %s does not answer: %w%s", m.place.Name, err, m.tail.said())
	}
	if s.Error != "" {
		return s, fmt.Errorf("bench: node %s: %s", m.place.Name, s.Error)
	}
	return s, nil
}

// kill ends the node without a word.
func (m *member) kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill() // gone already, as a rule, when it fails
	_ = m.cmd.Wait()         // says that it was killed
	m.cmd = nil
}

// stop lets the node end, which the last ones do not do well without a majority:
// nothing of theirs is needed any more.
func (m *member) stop() {
	if m.cmd == nil {
		return
	}
	_ = m.orders.Close() // fails only when the node is gone
	limit := time.AfterFunc(memberStop, func() { _ = m.cmd.Process.Kill() })
	defer limit.Stop()
	_ = m.cmd.Wait()
	m.cmd = nil
}
