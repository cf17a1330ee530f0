package natsstore

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
)

// An export is everything that is stored, with its sequences and times, so that
// positions that others hold stay good:
//
//	the magic line
//	per stream: its header as JSON in a frame, its snapshot in frames, an empty frame
//	an empty frame, the SHA-256 of all before
//
// A frame is four bytes of length and that many bytes. The snapshots are the
// engine's own.
const exportMagic = "porchlight export, version 1\n"

const (
	maxFrame = 1 << 20

	// chunkTimeout bounds one answer of the engine while streams are copied.
	chunkTimeout = 30 * time.Second
)

// errExport says that a file is no export, or not a whole one.
var errExport = errors.New("natsstore: this is not a whole export: it is damaged, was cut off, or a newer version wrote it")

// exported is the header of one stream.
type exported struct {
	Name   string          `json:"name"` // with the prefix "PL"
	Prefix string          `json:"prefix"`
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

// Progress tells how far an export or import is.
type Progress struct {
	Stream      string // under way
	Done, Total int    // streams
	Bytes       int64  // copied so far, of all
}

// ErrNothing means that nothing is stored where an export was to come from.
var ErrNothing = errors.New("natsstore: nothing is stored here")

// Export writes all that is stored to w. No store may be open on the bus.
func Export(ctx context.Context, bus *natsbus.Bus, w io.Writer, told func(Progress)) error {
	sum := sha256.New()
	buffered := bufio.NewWriterSize(w, 1<<20)
	out := io.MultiWriter(buffered, sum)
	if _, err := io.WriteString(out, exportMagic); err != nil {
		return err
	}
	e := &transfer{bus: bus, conn: bus.JetStream().Conn(), told: told}
	names, err := e.there(ctx)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%w with the prefix %q", ErrNothing, bus.Prefix())
	}
	if err != nil {
		return err
	}
	for i, name := range names {
		e.at = Progress{name, i, len(names), e.at.Bytes}
		if err := e.export(ctx, name, out); err != nil {
			return fmt.Errorf("natsstore: export of stream %s: %w", name, err)
		}
	}
	if err := writeFrame(out, nil); err != nil {
		return err
	}
	if _, err := buffered.Write(sum.Sum(nil)); err != nil {
		return err
	}
	e.at.Done = len(names)
	e.tell(0)
	return buffered.Flush()
}

// transfer is one export or import.
type transfer struct {
	bus  *natsbus.Bus
	conn *nats.Conn
	told func(Progress)
	at   Progress
}

func (e *transfer) tell(bytes int) {
	e.at.Bytes += int64(bytes)
	if e.told != nil {
		e.told(e.at)
	}
}

// asking bounds a question to the engine, which answers nothing where the account
// lacks the right to ask.
func (e *transfer) asking(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, chunkTimeout)
	go func() {
		look := time.NewTicker(tryPause)
		defer look.Stop()
		for e.bus.Denied() == "" {
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	return ctx, cancel
}

// lacking is the error of a question, in the words of the account's rights where
// these are why.
func (e *transfer) lacking(err error) error {
	if denied := e.bus.Denied(); denied != "" {
		return fmt.Errorf("the account lacks a right: %s; `porchlight cluster rights --import` prints those that moving data needs", denied)
	}
	return err
}

// api calls the engine.
func (e *transfer) api(ctx context.Context, call string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	ctx, cancel := e.asking(ctx)
	defer cancel()
	m, err := e.conn.RequestWithContext(ctx, "$JS.API.STREAM."+call, body)
	if err != nil {
		return e.lacking(err)
	}
	var failed struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &failed); err != nil {
		return err
	}
	if failed.Error != nil {
		return failed.Error
	}
	return json.Unmarshal(m.Data, answer)
}

// named is what the engine calls a stream.
func (e *transfer) named(name string) string {
	return strings.ToUpper(e.bus.Prefix()) + strings.TrimPrefix(name, "PL")
}

// there are the streams that are stored. Servers of a cluster do not answer at all
// when the snapshot of another one is asked for.
func (e *transfer) there(ctx context.Context) (names []string, err error) {
	for _, name := range allStreams() {
		ask, cancel := e.asking(ctx)
		_, err := e.bus.JetStream().Stream(ask, e.named(name))
		cancel()
		switch {
		case err == nil:
			names = append(names, name)
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return nil, fmt.Errorf("natsstore: cannot see whether anything is stored in stream %s: %w", e.named(name), e.lacking(err))
		}
	}
	return names, nil
}

// export writes one stream.
func (e *transfer) export(ctx context.Context, name string, out io.Writer) error {
	inbox := e.conn.NewRespInbox()
	chunks := make(chan *nats.Msg, 1024)
	sub, err := e.conn.ChanSubscribe(inbox, chunks)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	header := exported{Name: name, Prefix: e.bus.Prefix()}
	err = e.api(ctx, "SNAPSHOT."+e.named(name), map[string]any{
		"deliver_subject": inbox, "no_consumers": true, "jsck": true, "chunk_size": 256 << 10,
	}, &header)
	if err != nil {
		return err
	}
	header.Name, header.Prefix = name, e.bus.Prefix()
	body, err := json.Marshal(header)
	if err != nil {
		return err
	}
	if err := writeFrame(out, body); err != nil {
		return err
	}
	for {
		m, err := e.chunk(ctx, chunks)
		if err != nil {
			return err
		}
		if err := writeFrame(out, m.Data); err != nil || len(m.Data) == 0 {
			return err
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return err
			}
		}
		e.tell(len(m.Data))
	}
}

// chunk waits for the next part of a snapshot; the last one is empty.
func (e *transfer) chunk(ctx context.Context, chunks <-chan *nats.Msg) (*nats.Msg, error) {
	timer := time.NewTimer(chunkTimeout)
	defer timer.Stop()
	select {
	case m := <-chunks:
		status := m.Header.Get("Status")
		if len(m.Data) == 0 && status != "" && status != "204" {
			return nil, fmt.Errorf("the engine broke off: %s %s", status, m.Header.Get("Description"))
		}
		return m, nil
	case <-timer.C:
		return nil, errors.New("the engine sends nothing more")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func writeFrame(w io.Writer, b []byte) error {
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b)))); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// frames reads an export.
type frames struct {
	r   *bufio.Reader
	sum hash.Hash
}

func newFrames(r io.Reader) (*frames, error) {
	f := &frames{bufio.NewReaderSize(r, 1<<20), sha256.New()}
	magic, err := f.take(len(exportMagic))
	if err != nil || string(magic) != exportMagic {
		return nil, errExport
	}
	return f, nil
}

func (f *frames) take(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(f.r, b); err != nil {
		return nil, errExport
	}
	f.sum.Write(b)
	return b, nil
}

// next returns the next frame; empty is the end of a stream, or of all.
func (f *frames) next() ([]byte, error) {
	size, err := f.take(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size)
	if n > maxFrame {
		return nil, errExport
	}
	return f.take(int(n))
}

// stream returns the header of the next stream; nil behind the last.
func (f *frames) stream() (*exported, error) {
	b, err := f.next()
	if err != nil {
		return nil, err
	}
	if len(b) > 0 {
		var header exported
		if err := json.Unmarshal(b, &header); err != nil || !strings.HasPrefix(header.Name, "PL_") {
			return nil, errExport
		}
		return &header, nil
	}
	want := f.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f.r, got); err != nil || string(got) != string(want) {
		return nil, errExport
	}
	if _, err := f.r.ReadByte(); err != io.EOF {
		return nil, errExport
	}
	return nil, nil
}

// skip reads over a stream's snapshot.
func (f *frames) skip() error {
	for {
		if b, err := f.next(); err != nil || len(b) == 0 {
			return err
		}
	}
}

// checkExport reads an export whole and returns its streams.
func checkExport(r io.Reader) (headers []exported, err error) {
	f, err := newFrames(r)
	for err == nil {
		var header *exported
		if header, err = f.stream(); err != nil || header == nil {
			break
		}
		headers = append(headers, *header)
		err = f.skip()
	}
	return headers, err
}
