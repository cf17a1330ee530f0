package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// rest calls the REST API of a node, which must answer 200.
func rest(t *testing.T, a *app.App, method, path, body string) map[string]any {
	t.Helper()
	var m map[string]any
	happens(t, method+" "+path+" is answered", func() bool {
		code, got := restCode(t, a, method, path, body)
		if got["code"] == "NODE_UNAVAILABLE" {
			return false // on a busy machine it may have stood still
		}
		if m = got; code != http.StatusOK {
			t.Fatalf("%s %s: %d %v", method, path, code, m)
		}
		return true
	})
	return m
}

func restCode(t *testing.T, a *app.App, method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.HTTPAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+config.DevelopmentServerKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	code, text := exchange(t, req)
	m := map[string]any{}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s %s: %d %s", method, path, code, text)
	}
	return code, m
}

// exchange makes a request and returns what is answered, without the space around it.
func exchange(t *testing.T, r *http.Request) (code int, text string) {
	t.Helper()
	resp, err := bounded().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// abandon stops a node that has no quorum: its goodbye may fail.
func abandon(t *testing.T, a *app.App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
	defer cancel()
	t.Log("stopped without a quorum:", a.Stop(ctx))
}

// TestNodesTellOfThemselves asks each of three nodes for the cluster.
func TestNodesTellOfThemselves(t *testing.T) {
	nodes := cluster(t, 3)
	bob := speak(t, nodes[0], "bob")
	bob.connect(bob.make())
	for i := range nodes {
		self := fmt.Sprintf("n%d", i+1)
		happens(t, self+" knows how all are", func() bool {
			m := rest(t, nodes[i], "GET", "/api/v1/cluster", "")
			members := m["members"].([]any)
			good := m["self"] == self && m["quorum"] == true && m["joined"] == true && m["loaded"] == true && len(members) == 3
			for j, v := range members {
				one := v.(map[string]any)
				sessions, _ := one["sessions"].(map[string]any)
				want := 0.0
				if j == 0 {
					want = 1
				}
				_, mine := one["self"]
				good = good && one["name"] == fmt.Sprintf("n%d", j+1) && one["standing"] == "alive" && sessions["live"] == want &&
					one["differing"] == 0.0 && one["digest"] != "" && mine == (i == j)
			}
			return good
		})
		text := scrape(t, "http://"+nodes[i].HTTPAddr().String())
		for _, line := range []string{`porchlight_cluster_members{standing="alive"} 3`, "porchlight_cluster_quorum 1", "porchlight_cluster_joined 1"} {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("%s is missing at %s", line, self)
			}
		}
		if m := rest(t, nodes[i], "GET", "/readyz", ""); m["ready"] != true || m["synced"] != true {
			t.Errorf("readyz of %s says %v", self, m)
		}
	}

	// With two of three gone, the third has no quorum: it says that it is cut off.
	stop(t, nodes[1])
	abandon(t, nodes[2])
	t.Cleanup(func() { abandon(t, nodes[0]) })
	happens(t, "the last node says that it is cut off", func() bool {
		code, m := restCode(t, nodes[0], "GET", "/readyz", "")
		return code == http.StatusServiceUnavailable && strings.HasPrefix(m["why"].(string), "isolated")
	})
	m := rest(t, nodes[0], "GET", "/api/v1/cluster", "")
	if why, _ := m["members"].([]any)[0].(map[string]any)["unready"].(string); m["joined"] != false || !strings.HasPrefix(why, "isolated") {
		t.Errorf("the cluster seen without a quorum: %v", m)
	}
}
