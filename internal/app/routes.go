package app

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// routes is what the HTTP port answers: whether the process lives, whether it
// can take sessions, and a page for who comes by.
func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"alive": true})
	})
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("Porchlight is running. The IsOnline service is on the gRPC port; /healthz and /readyz are here.\n"))
	})
	return mux
}

// readyz says 503 while the node starts, drains, or its store cannot take
// records; then "why" has the reason. While it still can, but not for long, it
// stays 200 and "alarm" says why.
func (a *App) readyz(w http.ResponseWriter, _ *http.Request) {
	if !a.ready.Load() {
		answer(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "why": "starting or stopping"})
		return
	}
	switch err := a.store.Health(); {
	case err == nil:
		answer(w, http.StatusOK, map[string]any{"ready": true})
	case errors.Is(err, store.ErrAlarm):
		// Taking the node out of service would make a full disk an outage.
		answer(w, http.StatusOK, map[string]any{"ready": true, "alarm": err.Error()})
	default:
		answer(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "why": err.Error()})
	}
}

func answer(w http.ResponseWriter, code int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body)
}
