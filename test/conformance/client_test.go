package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clientDir is the package for web pages and Node, seen from this package.
const clientDir = rootDir + "/clients/js"

// TestClientBundle holds what is committed of clients/js against its source. The
// bundle needs Go alone, so it is never left out.
func TestClientBundle(t *testing.T) {
	t.Parallel()
	check := "--check"
	if _, err := os.Stat(clientDir + "/node_modules/.installed"); err != nil {
		check = "--check-bundle"
		defer missing(t, "typescript", "so only the bundle was compared, not the types: make test-tools installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	run(t, ctx, clientDir, nil, "./build", check)
}

// TestClientRules runs the unit tests of clients/js: a fake clock, a fake page
// and a fake server.
func TestClientRules(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node", "there is no node on this machine")
	}
	files, err := filepath.Glob(clientDir + "/test/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding the tests of clients/js: %d found, error %v", len(files), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	out := run(t, ctx, ".", nil, append([]string{node, "--test", "--test-reporter=tap"}, files...)...)
	if !strings.Contains(out, "# fail 0") || strings.Contains(out, "# pass 0") {
		t.Errorf("the tests of clients/js ran nothing, or not to their end:\n%s", out)
	}
}

// TestClientTypes compiles a program that uses the package, as a user's compiler
// would: with and without what browsers have, checking the package's own types.
func TestClientTypes(t *testing.T) {
	t.Parallel()
	tsc, err := filepath.Abs(clientDir + "/node_modules/.bin/tsc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tsc); err != nil {
		missing(t, "typescript", "it is not installed: make test-tools does it")
	}
	for _, lib := range []string{"es2022", "es2022,dom"} {
		for _, module := range []string{"nodenext", "preserve"} {
			ctx, cancel := context.WithTimeout(t.Context(), longest)
			run(t, ctx, clientDir+"/test", nil, tsc, "--ignoreConfig", "--noEmit", "--strict", "--exactOptionalPropertyTypes", "--types", "",
				"--target", "es2022", "--lib", lib, "--module", module, "program.ts")
			cancel()
		}
	}
}
