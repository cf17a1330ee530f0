package script

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// window is how many bytes the network takes that nobody has read yet.
const window = 64 << 10

// link is a connection of a device, or of a proxy that several share. It can be
// cut, and it can be frozen: then its far end neither reads nor writes nor
// closes, as after a phone's battery was pulled.
type link struct {
	listener *bufconn.Listener
	grpc     *grpc.ClientConn

	mu     sync.Mutex // guards all below
	wires  []*wire
	frozen bool
}

// wire is one connection of a link as its far end sees it.
type wire struct {
	net.Conn
	link *link
	once sync.Once
	gone chan struct{} // closed when the wire is closed
}

func newLink(l *bufconn.Listener) (*link, error) {
	k := &link{listener: l}
	conn, err := grpc.NewClient("passthrough:///porchlight",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return k.dial(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	k.grpc = conn
	return k, err
}

func (k *link) dial(ctx context.Context) (net.Conn, error) {
	c, err := k.listener.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: c, link: k, gone: make(chan struct{})}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wires = append(k.wires, w)
	return w, nil
}

// cut ends the connection without a word.
func (k *link) cut() {
	k.mu.Lock()
	wires := k.wires
	k.wires = nil
	k.mu.Unlock()
	for _, w := range wires {
		w.Close()
	}
	if k.grpc != nil { // else it leads to the live door
		k.grpc.Close()
	}
}

func (k *link) freeze() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.frozen = true
}

func (k *link) isFrozen() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.frozen
}

// Read keeps what it reads to itself once the link is frozen.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if w.link.isFrozen() {
		<-w.gone
		return 0, net.ErrClosed
	}
	return n, err
}

// Write sends nothing once the link is frozen.
func (w *wire) Write(b []byte) (int, error) {
	if w.link.isFrozen() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

// Close closes both directions.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.gone) })
	return w.Conn.Close()
}
