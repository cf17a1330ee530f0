package rest

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

const typeLines = "application/x-ndjson"

// SnapshotLine is one line of a snapshot. The first is of type snapshot, the last
// of type end, or of type error when the snapshot broke off; all others are users.
type SnapshotLine struct {
	Type     string `json:"type" enum:"snapshot,user,end,error" doc:"What the line is."`
	App      string `json:"app,omitempty" doc:"snapshot: the app." example:"demo"`
	Position string `json:"position,omitempty" doc:"snapshot: ask changes with this as after to go on from here." example:"1042"`

	User           string            `json:"user,omitempty" doc:"user: whose presence this is." example:"alice"`
	Seq            uint64            `json:"user_seq,omitempty" doc:"user: the number of the user's newest event." example:"7"`
	Available      bool              `json:"available,omitempty" doc:"user: any session is open."`
	ShownAvailable bool              `json:"shown_available,omitempty" doc:"user: the same as others see it."`
	LastSeen       Stamp             `json:"last_seen,omitzero" doc:"user: when he was last available; missing when never."`
	ShownLastSeen  Stamp             `json:"shown_last_seen,omitzero" doc:"user: the same as others see it."`
	Sessions       []SnapshotSession `json:"sessions,omitempty" nullable:"false" doc:"user: the open sessions, the oldest first."`
	Users          int               `json:"users,omitempty" doc:"end: how many users there were." example:"1250"`
	Code           string            `json:"code,omitempty" doc:"error: what went wrong, for programs."`
	Detail         string            `json:"detail,omitempty" doc:"error: what went wrong, for people."`
}

// SnapshotSession is an open session.
type SnapshotSession struct {
	native.Session
	Invisible bool `json:"invisible,omitempty" doc:"Others see it as offline."`
}

type snapshotIn struct {
	At     string `query:"at" maxLength:"64" doc:"As it was at this position; without it as it is." example:"1042"`
	Online bool   `query:"online" doc:"Only users who have an open session."`
	Accept string `header:"Accept-Encoding" doc:"With gzip the answer is compressed."`
}

func (d *Door) registerSnapshot() {
	o := operation{
		id: "getSnapshot", method: http.MethodGet, path: "/snapshot", tag: "changes",
		summary: "Fetch everybody's presence",
		text: "JSON lines: one of type snapshot with the position, one for each user ever seen, and one of type end with how many there were; " +
			"a snapshot that does not end with it is not whole. All of it is as it was at one position: fold the events behind that onto it, and the picture is exact. " +
			"It is made while it is read, so it may be of any size; who reads less than 64 KiB in 30 s is cut. " +
			"Two of an app are made at once; more are refused with RATE_LIMITED.",
		faults: []fault.Kind{fault.LogUnavailable}, more: []refusal{{http.StatusGone, codePosition}},
	}
	op := d.describeOperation(o)
	schema := d.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[SnapshotLine](), true, "")
	op.Responses["200"].Content = map[string]*huma.MediaType{typeLines: {Schema: schema, Example: map[string]any{
		"type": "user", "user": "alice", "user_seq": 7, "available": true, "shown_available": true, "last_seen": "2026-05-04T10:20:30.400Z",
		"sessions": []any{exampleEvent()["session"]},
	}}}
	huma.Register(d.api, op, func(ctx context.Context, in *snapshotIn) (*huma.StreamResponse, error) {
		out, err := d.getSnapshot(ctx, in)
		if err != nil {
			return nil, d.problem(ctx, err)
		}
		return out, nil
	})
}

func (d *Door) getSnapshot(ctx context.Context, in *snapshotIn) (*huma.StreamResponse, error) {
	var at *facts.Position
	if in.At != "" {
		p, err := readPosition("query.at", in.At)
		if err != nil {
			return nil, err
		}
		at = &p
	}
	app := requestOf(ctx).key.app
	done, err := d.snapshots.begin(app)
	if err != nil {
		return nil, err
	}
	s, err := d.cfg.Facts.Snapshot(ctx, app, at)
	if err != nil {
		done()
		return nil, d.historyFault(ctx, err, "query.at")
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer done()
		hctx.SetHeader("Content-Type", typeLines)
		hctx.SetHeader("Vary", "Accept-Encoding")
		zip := acceptsGzip(in.Accept)
		if zip {
			hctx.SetHeader("Content-Encoding", "gzip")
		}
		hctx.SetStatus(http.StatusOK)
		w := newLines(ctx, hctx.BodyWriter(), zip)
		err := w.snapshot(ctx, s, snapshotOf{app, in.Online})
		if e := w.close(); err == nil {
			err = e
		}
		if err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "a snapshot broke off", "app", app, "request", requestOf(ctx).id, "error", err)
		}
	}}, nil
}

// acceptsGzip reports whether an Accept-Encoding allows gzip.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, q, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q = strings.ReplaceAll(q, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}

const (
	// linesBuffer is what is written at a time.
	linesBuffer = 64 << 10
	// linesLimit is how long the peer may take to read so much.
	linesLimit = 30 * time.Second
)

// lines writes JSON lines to a peer as long as he reads.
type lines struct {
	buffer *bufio.Writer
	zip    *gzip.Writer // nil: plain
	json   *json.Encoder
}

func newLines(ctx context.Context, to io.Writer, zip bool) *lines {
	l := &lines{buffer: bufio.NewWriterSize(&reading{to, requestOf(ctx).control}, linesBuffer)}
	var out io.Writer = l.buffer
	if zip {
		l.zip, _ = gzip.NewWriterLevel(l.buffer, gzip.BestSpeed) // a level that there is
		out = l.zip
	}
	l.json = json.NewEncoder(out)
	return l
}

func (l *lines) close() error {
	var errs []error
	if l.zip != nil {
		errs = append(errs, l.zip.Close())
	}
	return errors.Join(append(errs, l.buffer.Flush())...)
}

// reading gives the peer time for each write.
type reading struct {
	to      io.Writer
	control *http.ResponseController
}

// Write writes b.
func (r *reading) Write(b []byte) (int, error) {
	if r.control != nil {
		r.control.SetWriteDeadline(time.Now().Add(linesLimit)) // where there is none (tests) it is no loss
	}
	return r.to.Write(b)
}

// snapshotOf says whose snapshot it is.
type snapshotOf struct {
	app    presence.AppID
	online bool
}

// snapshot writes all lines.
func (l *lines) snapshot(ctx context.Context, s *facts.Snapshot, of snapshotOf) error {
	if err := l.json.Encode(SnapshotLine{Type: "snapshot", App: string(of.app), Position: s.Position.String()}); err != nil {
		return err
	}
	users := 0
	err := s.Each(ctx, func(u facts.SnapshotUser) error {
		line := userLine(u)
		if of.online && !line.Available {
			return nil
		}
		users++
		return l.json.Encode(line)
	})
	if err != nil {
		f := &fault.Error{}
		detail := internalDetail
		if errors.As(err, &f) && f.Kind != fault.Internal {
			detail = f.Detail
		}
		l.json.Encode(SnapshotLine{Type: "error", Code: f.Kind.String(), Detail: detail})
		return err
	}
	return l.json.Encode(SnapshotLine{Type: "end", Users: users})
}

func userLine(u facts.SnapshotUser) SnapshotLine {
	line := SnapshotLine{
		Type: "user", User: string(u.User.ID), Seq: u.Seq, LastSeen: Stamp(u.LastSeen), ShownLastSeen: Stamp(u.LastSeenShown),
	}
	for i := range u.Sessions {
		s := &u.Sessions[i]
		if s.Phase != presence.FoldOpen {
			continue
		}
		line.Available = true
		line.ShownAvailable = line.ShownAvailable || !s.Hidden
		line.Sessions = append(line.Sessions, SnapshotSession{native.SessionOf(s), s.Hidden})
	}
	return line
}
