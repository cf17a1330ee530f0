package conformance

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// sameShape compares the fields that two answers have.
func sameShape(t *testing.T, want, got string) {
	t.Helper()
	var w, g map[string]any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Errorf("the page shows %s: %v", want, err)
		return
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Errorf("got %s: %v", got, err)
		return
	}
	if a, b := slices.Sorted(maps.Keys(w)), slices.Sorted(maps.Keys(g)); !slices.Equal(a, b) {
		t.Errorf("the page shows %v, the server answers %v: %s", a, b, got)
	}
	for k, v := range w {
		if list, ok := v.([]any); ok {
			if other, ok := g[k].([]any); !ok || len(list) != len(other) {
				t.Errorf("the page shows %d %s, the server answers %v", len(list), k, g[k])
			}
		}
		if flag, ok := v.(bool); ok && g[k] != flag {
			t.Errorf("the page shows %s: %v, the server answers %v", k, flag, g[k])
		}
	}
}

// TestRestPage has a server of its own: the page begins with nobody there. In the
// place of porchlight webhook listen stands a receiver that takes everything.
func TestRestPage(t *testing.T) {
	t.Parallel()
	took := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	t.Cleanup(took.Close)
	if answers := runPage(t, startServer(t, "--webhook", took.URL), "docs/interfaces/rest.md"); len(answers) < 23 {
		t.Errorf("%d blocks of commands, want all of the page", len(answers))
	}
}
