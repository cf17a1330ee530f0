package mozpresence

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

const (
	// streamPage is how many users are looked at in one go.
	streamPage = 500
	// streamRest is how often a silent stream says an empty line, so that a reader
	// who is gone is noticed.
	streamRest = 20 * time.Second
	// streamWrite is how long a write may wait for its reader.
	streamWrite = 30 * time.Second
)

// stream answers GET /<appid>/presence.json: a line [uid, status] for each user
// who is there, and then one for each change, without an end.
func (d *Door) stream(w http.ResponseWriter, r *http.Request, id string) {
	p, err := d.admit(r, http.MethodGet, id)
	if err != nil {
		d.answer(w, r, "presence.json", func() (any, error) { return nil, err })
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	ended := make(chan struct{})
	lines := make(chan entry)
	go func() {
		defer close(ended)
		defer cancel()
		d.feedStream(ctx, p, lines)
	}()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	code := d.writeLines(ctx, w, lines)
	cancel()
	<-ended
	d.called("presence.json", code, -1)
}

// writeLines writes until the peer, or ctx, ends it.
func (d *Door) writeLines(ctx context.Context, w http.ResponseWriter, lines <-chan entry) string {
	control := http.NewResponseController(w)
	rest := time.NewTicker(streamRest)
	defer rest.Stop()
	w.WriteHeader(http.StatusOK)
	control.Flush()
	for {
		line := []byte{'\n'}
		select {
		case e := <-lines:
			b, _ := json.Marshal(pair{e.uid, e.status}) // texts
			line = append(b, '\n')
		case <-rest.C:
		case <-ctx.Done():
			return "OK"
		}
		control.SetWriteDeadline(time.Now().Add(streamWrite)) // where there is none (tests) it is no loss
		if _, err := w.Write(line); err != nil {
			return strconv.Itoa(errSlowDown)
		}
		control.Flush()
	}
}

// feedStream gives who is there, and then what changes.
func (d *Door) feedStream(ctx context.Context, p publisher.Publisher, lines chan<- entry) {
	f := &feed{door: d, id: p.ID, app: p.App, told: map[string]string{}, give: func(ctx context.Context, e entry) error {
		if e.uid == "" {
			return nil
		}
		// The key may be void, or the grant gone, since the stream began.
		if now, err := d.cfg.Publishers.Get(ctx, p.ID); err != nil || !now.SameKey(&p) {
			return errOver
		}
		select {
		case lines <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	at, err := d.cfg.Facts.End(ctx)
	if err == nil {
		err = d.whoIsThere(ctx, f)
	}
	if err == nil {
		err = f.follow(ctx, at)
	}
	if err != nil && ctx.Err() == nil {
		d.log.Warn("a stream of statuses ended", "publisher", p.ID, "error", err)
	}
}

// errOver ends a stream whose key is void.
var errOver = refuse(errKey, "the API key is void")

// whoIsThere gives those who are online now.
func (d *Door) whoIsThere(ctx context.Context, f *feed) error {
	for at, more := (tracker.Place{}), true; more; {
		var users []presence.UserID
		users, at, more = d.cfg.Tracker.Online(f.app, at, streamPage)
		for _, id := range users {
			user := presence.User{App: f.app, ID: id}
			g, ok, err := d.cfg.Publishers.Granted(ctx, user, f.id)
			if err != nil {
				return err
			}
			status := d.statusNow(user)
			if !ok || status == statusOffline {
				continue
			}
			f.told[g.UID] = status
			if err := f.give(ctx, entry{uid: g.UID, status: status}); err != nil {
				return err
			}
		}
	}
	return nil
}

var _ Facts = (*facts.Reader)(nil)
