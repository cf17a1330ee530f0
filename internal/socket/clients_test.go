package socket

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
)

// ticker is a door that answers, and tells how often it was woken since: Fill
// sends one message for each Wake that it counted, in order.
type ticker struct {
	echo
	due, told atomic.Uint64
}

func (k *ticker) wake(c *Conn) {
	k.due.Add(1)
	c.Wake()
}

func (k *ticker) Fill(_ *Conn, out *Out) bool {
	for k.told.Load() < k.due.Load() {
		if out.Full() {
			return true
		}
		n := k.told.Add(1)
		out.Binary(func(b []byte) []byte {
			b = binary.BigEndian.AppendUint64(b, n)
			return append(b, make([]byte, n%300)...)
		})
	}
	return false
}

// client is what the tests use of other people's libraries.
type client interface {
	write(ctx context.Context, b []byte) error
	read(ctx context.Context) (isBinary bool, b []byte, err error)
	close() error
}

type gorillaClient struct {
	*gorilla.Conn
	mu sync.Mutex // guards writing
}

func (g *gorillaClient) write(_ context.Context, b []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.WriteMessage(gorilla.TextMessage, b)
}

func (g *gorillaClient) read(context.Context) (bool, []byte, error) {
	kind, b, err := g.ReadMessage()
	return kind == gorilla.BinaryMessage, b, err
}

func (g *gorillaClient) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, "done"))
}

type coderClient struct{ *coder.Conn }

func (c coderClient) write(ctx context.Context, b []byte) error {
	return c.Write(ctx, coder.MessageText, b)
}

func (c coderClient) read(ctx context.Context) (bool, []byte, error) {
	kind, b, err := c.Read(ctx)
	return kind == coder.MessageBinary, b, err
}

func (c coderClient) close() error { return c.Close(1000, "done") }

var libraries = []struct {
	name string
	dial func(ctx context.Context, url string) (client, error)
}{
	{"gorilla", func(ctx context.Context, url string) (client, error) {
		d := gorilla.Dialer{EnableCompression: true}
		c, _, err := d.DialContext(ctx, url, nil)
		return &gorillaClient{Conn: c}, err
	}},
	{"coder", func(ctx context.Context, url string) (client, error) {
		c, _, err := coder.Dial(ctx, url, &coder.DialOptions{CompressionMode: coder.CompressionContextTakeover})
		if err == nil {
			c.SetReadLimit(1 << 20)
		}
		return coderClient{c}, err
	}},
}

// Other people's clients talk and are talked to at once, from many goroutines:
// every message comes once, in order, whole.
func TestClients(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			eachMode(t, func(t *testing.T, cfg Config) {
				ended := make(chan error, 8)
				s := serve(t, cfg, nil, Options{Protocols: []string{"x.v1"}}, func(c *Conn) Door {
					k := &ticker{echo: echo{ended: ended}}
					for range 4 {
						go func() {
							for range 250 {
								k.wake(c)
							}
						}()
					}
					return k
				})
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				defer cancel()
				var all sync.WaitGroup
				for range cap(ended) {
					all.Go(func() { talk(t, ctx, lib.dial, "ws://"+s.addr) })
				}
				all.Wait()
				for range cap(ended) {
					if why, ok := (<-ended).(*CloseError); !ok || why.Code != 1000 || why.Reason != "done" || !why.Remote {
						t.Errorf("why it ended: got %v, want the client's close", why)
					}
				}
			})
		})
	}
}

func talk(t *testing.T, ctx context.Context, dial func(context.Context, string) (client, error), url string) {
	c, err := dial(ctx, url)
	if err != nil {
		t.Error(err)
		return
	}
	const texts, ticks = 200, 1000
	want := make([]string, texts)
	for i := range want {
		want[i] = strings.Repeat("ä€😀", rand.IntN(2000))
	}
	written := make(chan error, 1)
	go func() {
		for _, text := range want {
			if err := c.write(ctx, []byte(text)); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	var gotTexts, gotTicks int
	for gotTexts < texts || gotTicks < ticks {
		isTick, b, err := c.read(ctx)
		switch {
		case err != nil:
			t.Errorf("after %d texts and %d ticks: %v", gotTexts, gotTicks, err)
			return
		case isTick:
			gotTicks++
			if n := binary.BigEndian.Uint64(b); n != uint64(gotTicks) || len(b) != 8+int(n%300) {
				t.Errorf("tick %d: got number %d with %d bytes", gotTicks, n, len(b))
				return
			}
		default:
			if string(b) != want[gotTexts] {
				t.Errorf("text %d: got %s, want %s", gotTexts, short(string(b)), short(want[gotTexts]))
				return
			}
			gotTexts++
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
	if g, ok := c.(*gorillaClient); ok {
		if _, _, err := g.ReadMessage(); !gorilla.IsCloseError(err, 1000) {
			t.Errorf("the answer to the close: %v", err)
		}
		g.Close()
	}
}
