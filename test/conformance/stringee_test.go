package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// aroundStringee is what the page's program needs of a browser, and of its app.
const aroundStringee = `
import { createHmac } from 'node:crypto';
import { WebSocket } from 'ws';
const kept = new Map();
Object.defineProperty(globalThis, 'navigator', { value: { userAgent: 'Node', product: 'ReactNative' }, configurable: true });
Object.assign(globalThis, { window: globalThis, WebSocket, document: {}, location: { protocol: 'http:', href: 'http://app.example/' }, screen: { width: 1, height: 1 },
  localStorage: { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v), removeItem: (k) => kept.delete(k) } });
const b64 = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
function freshToken() {
  const now = Math.floor(Date.now() / 1000);
  const text = b64({ typ: 'JWT', alg: 'HS256', cty: 'stringee-api;v=1' }) + '.' + b64({ jti: 'SK.0.moving-' + now, iss: 'SK.0.moving', exp: now + 3600,
    userId: 'agent_2', subscribe: 'online_status', attributes: [{ attribute: 'onlineStatus', topic: 'online_status' }] });
  return text + '.' + createHmac('sha256', 'an API key secret of these tests, 32 bytes').update(text).digest('base64url');
}
setTimeout(() => { client.disconnect(); process.exit(0); }, 3000);
`

// TestMovingFromStringee does what the page tells, line by line.
func TestMovingFromStringee(t *testing.T) {
	t.Parallel()
	const page = "docs/moving-from-stringee.md"
	text, err := os.ReadFile(filepath.Join(rootDir, page))
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, b := range fenced.FindAllStringSubmatch(string(text), -1) {
		blocks[b[1]] += b[2]
	}
	commands := []string{"porchlight config check porchlight.yaml", "porchlight serve --config porchlight.yaml"}
	if got := strings.Split(strings.TrimSpace(blocks["console"]), "\n"); !slices.Equal(got, commands) {
		t.Fatalf("the page has the commands %q, and this test tries %q", got, commands)
	}
	s := startConfigured(t, blocks["yaml"])
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	run(t, ctx, filepath.Dir(s.config), nil, s.program, "config", "check", "porchlight.yaml")
	if _, err := exec.LookPath("openssl"); err != nil {
		missing(t, "curl", "the page's tokens are made with openssl, which is not here")
	}
	runPage(t, s, page)
	if _, err := os.Stat("node/node_modules/stringee"); err != nil {
		missing(t, "node", "its packages are not installed: make test-tools does it")
	}
	moving{js: "authen 0 agent_2\nonline_status online"}.runNode(t, s, aroundStringee+blocks["js"])
}
