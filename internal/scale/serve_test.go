package scale_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/bench"
	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/scale"
)

// told is a node that is told what to do.
type told struct {
	orders  io.WriteCloser
	answers *bufio.Reader
	ended   chan error
}

func (n *told) do(t *testing.T, o bench.Order) (s bench.Standing) {
	t.Helper()
	if err := json.NewEncoder(n.orders).Encode(o); err != nil {
		t.Fatal(err)
	}
	line, err := n.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s)
	}
	if err != nil {
		t.Fatalf("%s: %v", o.Do, err)
	}
	return s
}

func three(t *testing.T) (all []*told) {
	t.Helper()
	peers, err := listen.Free(3)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i := range peers {
		in, orders := io.Pipe()
		answers, out := io.Pipe()
		n := &told{orders: orders, answers: bufio.NewReader(answers), ended: make(chan error, 1)}
		name := fmt.Sprintf("n%d", i+1)
		cfg := scale.Config{
			Place:   bench.Place{Name: name, Peers: append([]string{peers[i]}, peers...), Password: "among us", Data: filepath.Join(dir, name)},
			Version: "test", Logger: slog.New(slog.DiscardHandler),
		}
		go func() {
			err := scale.Serve(t.Context(), cfg, in, out)
			out.CloseWithError(err)
			n.ended <- err
		}()
		all = append(all, n)
	}
	return all
}

// TestServe walks three nodes through what the load does.
func TestServe(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped in short mode: runs several nodes")
	}
	const sessions = 60
	all := three(t)
	defer func() {
		var ending sync.WaitGroup
		for _, n := range all {
			n.orders.Close()
			ending.Go(func() { <-n.ended }) // the last cannot say goodbye without a majority
		}
		ending.Wait()
	}()
	for i, n := range all {
		line, err := n.answers.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "listening 127.0.0.1:") {
			t.Fatalf("node %d says %q, %v, want where it listens", i+1, line, err)
		}
	}
	if s := all[0].do(t, bench.Order{Do: bench.DoChange, Seconds: 1}); !strings.Contains(s.Error, "nobody") {
		t.Errorf("got %+v, want an error: nobody is there to change", s)
	}
	if s := all[0].do(t, bench.Order{Do: "dance"}); !strings.Contains(s.Error, "dance") {
		t.Errorf("got %+v, want an error that names the order", s)
	}
	for i, n := range all {
		open := bench.Order{Do: bench.DoOpen, First: i * sessions, Count: 1}
		for limit := time.Now().Add(time.Minute); n.do(t, open).Error != "" && time.Now().Before(limit); {
			t.Log("the store may still elect who leads")
		}
		open.First, open.Count = open.First+1, sessions-1
		if s := n.do(t, open); s.Error != "" || s.Made != open.Count {
			t.Fatalf("got %+v, want %d sessions opened", s, open.Count)
		}
	}
	for _, n := range all {
		if s := n.do(t, bench.Order{Do: bench.DoAwait, Count: 3 * sessions}); s.Error != "" || s.Online != 3*sessions {
			t.Errorf("got %+v, want %d users at each node", s, 3*sessions)
		}
	}
	made := all[1].do(t, bench.Order{Do: bench.DoChange, Rate: 500, Seconds: 1})
	if made.Error != "" || made.Made < 50 || made.Made > 500 { // a busy machine may stand still for most of the second
		t.Errorf("got %+v, want about 500 changes", made)
	}
	before := all[2].do(t, bench.Order{Do: bench.DoRest})
	for s := before; s.Received < uint64(made.Made); s = all[2].do(t, bench.Order{Do: bench.DoStand}) {
		if s.Gaps > 0 || t.Context().Err() != nil {
			t.Fatalf("got %+v, want the %d changes of another node", s, made.Made)
		}
	}
	if before.Heap == 0 || before.Online != 3*sessions {
		t.Errorf("got %+v, want its memory and its users", before)
	}
}
