package app

import (
	"context"
	"net/http"

	"github.com/porchlight-dev/porchlight/internal/door/stringee"
)

func (a *App) startStringee(ctx context.Context) error {
	door := stringee.New(stringee.Config{
		Gate: a.gate, Tracker: a.tracker, Topics: a.topics, Wheel: a.wheel, Logger: a.log, Called: a.called(stringee.Name),
		Apps: a.p.Config.StringeeApps(), Places: a.p.Config.StringeePlaces(), Limits: stringee.Limits(a.p.Config.ConnectionLimits()),
	})
	if err := door.Start(ctx); err != nil {
		return err
	}
	a.foreign.stringee.Store(door)
	return nil
}

func (a *App) stopStringee(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamsEndLimit)
	defer cancel()
	return a.foreign.stringee.Load().Stop(ctx)
}

// root answers "/": Stringee's socket, or the page for who comes by.
func (a *App) root(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/":
		http.NotFound(w, r)
	case stringee.IsSocket(r):
		a.foreign.stringee.Load().ServeHTTP(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page is read with GET", http.StatusMethodNotAllowed)
	default:
		front(w, r)
	}
}
