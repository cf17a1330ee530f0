package conformance

import (
	"os"
	"os/exec"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
)

// TestStringee lets the published client of Stringee at real servers, in Node and
// in a browser, and runs the commands of the interface's page.
func TestStringee(t *testing.T) {
	t.Parallel()
	program := build(t)
	env := []string{"PORCHLIGHT_PROGRAM=" + program}
	installed := func(t *testing.T, tool string) {
		if _, err := os.Stat("node/node_modules/stringee"); err != nil {
			missing(t, tool, "its packages are not installed: make test-tools does it")
		}
	}
	t.Run("node", func(t *testing.T) {
		t.Parallel()
		installed(t, "node")
		runNode(t, "node", env, "stringee.mjs")
	})
	t.Run("browser", func(t *testing.T) {
		t.Parallel()
		installed(t, "browser")
		pair := listentest.New(t, 1)
		runNode(t, "browser", append([]string{"PORCHLIGHT_CHROMIUM=" + browserOf(t), "PORCHLIGHT_CERT=" + pair.Cert, "PORCHLIGHT_KEY=" + pair.Key}, env...), "stringee.browser.mjs")
	})
	t.Run("page", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("openssl"); err != nil {
			missing(t, "curl", "the page's tokens are made with openssl, which is not here")
		}
		runPage(t, startServer(t), "docs/interfaces/stringee.md")
	})
}
