package webhook

import (
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"https://example.com", "http://127.0.0.1:8080/hook?tenant=a%2Fb", "https://[::1]/x"} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: got %v, want it taken", good, err)
		}
	}
	for bad, want := range map[string]string{
		"": "missing", "example.com/marked": "neither", "ftp://marked": "neither", "https://": "no host", "https://:80/marked": "no host",
		"https://marked:marked@example.com/": "password", "https://example.com/#marked": "fragment", "https://example.com/marked#": "fragment",
		"https://exa mple/marked": "not a URL", "http://[::1/marked": "not a URL",
	} {
		if err := CheckURL(bad); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "marked") {
			t.Errorf("%s: got %v, want an error with %q that repeats nothing", bad, err, want)
		}
	}
}

func TestEndpointCheck(t *testing.T) {
	t.Parallel()
	bad := Endpoint{Name: "Main!", URL: "x", Lanes: 65, Batch: Batch{Events: 1001, Linger: -1}}
	err := bad.Check()
	for _, want := range []string{"name:", "format:", "url:", "lanes:", "batch.events:", "batch.linger:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want all that is wrong at once, %s too", err, want)
		}
	}
}
