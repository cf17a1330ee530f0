package natsstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
)

// ErrNotEmpty means that something is stored where an export was to go.
var ErrNotEmpty = errors.New("natsstore: there is something stored already")

// Import fills an empty cluster, or an empty node, with an export. The export is
// read through first: what is not whole changes nothing. Nothing may be stored
// under the bus's prefix, not even empty streams: import comes before the first
// node starts. What fails on the way is taken away again. Besides Rights it needs
// ImportRights.
func Import(ctx context.Context, bus *natsbus.Bus, r io.ReadSeeker, told func(Progress)) error {
	headers, err := checkExport(r)
	if err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	e := &transfer{bus: bus, conn: bus.JetStream().Conn(), told: told}
	for i := range headers {
		if p := headers[i].Prefix; p != bus.Prefix() {
			return fmt.Errorf("natsstore: the export has prefix %q and this cluster %q: the prefix cannot be changed; give this cluster that prefix, in an account of its own if need be", p, bus.Prefix())
		}
	}
	if err := e.empty(ctx); err != nil {
		return err
	}
	f, err := newFrames(r)
	if err != nil {
		return err
	}
	for i := range headers {
		header, err := f.stream()
		if err == nil && header == nil {
			err = errExport
		}
		if err == nil {
			e.at = Progress{header.Name, i, len(headers), e.at.Bytes}
			err = e.restore(ctx, header, f)
		}
		if err != nil {
			e.undo(ctx, headers[:i+1])
			return fmt.Errorf("natsstore: import of stream %s: %w", headers[i].Name, err)
		}
	}
	e.at.Done = len(headers)
	e.tell(0)
	return nil
}

// ImportRights are what an import must be allowed beside Rights.
func ImportRights(prefix string) (publish []string) {
	e := &transfer{}
	e.bus, _ = natsbus.New(natsbus.Config{Cluster: &natsbus.Cluster{URLs: []string{"nats://localhost"}}, Prefix: prefix})
	for _, name := range allStreams() {
		stream := e.named(name)
		publish = append(publish, "$JS.API.STREAM.SNAPSHOT."+stream, "$JS.SNAPSHOT.ACK."+stream+".*",
			"$JS.API.STREAM.RESTORE."+stream, "$JS.API.STREAM.DELETE."+stream, "$JS.SNAPSHOT.RESTORE."+stream+".*")
	}
	return publish
}

// empty refuses a place with anything in it.
func (e *transfer) empty(ctx context.Context) error {
	names, err := e.there(ctx)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%w: stream %s: import before the first node starts, or delete the streams of this prefix first", ErrNotEmpty, e.named(names[0]))
	}
	return err
}

// restore makes one stream of its snapshot.
func (e *transfer) restore(ctx context.Context, header *exported, f *frames) error {
	var config map[string]any
	if err := json.Unmarshal(header.Config, &config); err != nil {
		return errExport
	}
	config["num_replicas"] = e.bus.Replicas()
	config["allow_direct"] = !e.bus.Clustered()
	var answer struct {
		To string `json:"deliver_subject"`
	}
	if err := e.api(ctx, "RESTORE."+e.named(header.Name), map[string]any{"config": config, "state": header.State}, &answer); err != nil {
		return err
	}
	for {
		b, err := f.next()
		if err != nil {
			return err
		}
		m, err := e.send(ctx, answer.To, b)
		if err != nil {
			return err
		}
		var failed struct {
			Error *jetstream.APIError `json:"error"`
		}
		if len(m.Data) > 0 && json.Unmarshal(m.Data, &failed) == nil && failed.Error != nil {
			return failed.Error
		}
		if len(b) == 0 {
			return nil
		}
		e.tell(len(b))
	}
}

// send gives the engine one part of a snapshot. That it waits for parts becomes
// known to the server we speak to by the way, a moment after it said so.
func (e *transfer) send(ctx context.Context, to string, b []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, chunkTimeout)
	defer cancel()
	for end := time.Now().Add(answerTimeout); ; pause(ctx, tryPause) {
		m, err := e.conn.RequestWithContext(ctx, to, b)
		if !errors.Is(err, nats.ErrNoResponders) || time.Now().After(end) {
			return m, err
		}
	}
}

// undo takes away what was made.
func (e *transfer) undo(ctx context.Context, made []exported) {
	limit := chunkTimeout
	if e.bus.Denied() != "" {
		limit = answerTimeout // it may not be allowed to take away, either
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	for i := range made {
		_ = e.bus.JetStream().DeleteStream(ctx, e.named(made[i].Name))
	}
}
