package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
)

// longest is how long one foreign test run may take.
const longest = 3 * time.Minute

// TestForeignPrograms starts one server and lets the foreign programs at it,
// all at once.
func TestForeignPrograms(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	t.Run("node", func(t *testing.T) { t.Parallel(); testNode(t, s) })
	t.Run("browser", func(t *testing.T) { t.Parallel(); testBrowser(t, s) })
	t.Run("python", func(t *testing.T) { t.Parallel(); testPython(t, s) })
	t.Run("grpcurl", func(t *testing.T) { t.Parallel(); testGrpcurl(t, s) })
}

func testNode(t *testing.T, s *server) {
	files, err := filepath.Glob("node/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding the node tests: %d found, error %v", len(files), err)
	}
	for i, f := range files {
		files[i] = filepath.Base(f)
	}
	runNode(t, "node", []string{
		"PORCHLIGHT_GRPC=" + s.grpc, "PORCHLIGHT_HTTP=" + s.http, "PORCHLIGHT_PROGRAM=" + s.program, "PORCHLIGHT_DESCRIPTORS=" + descriptorFile(t),
	}, files...)
}

// testBrowser lets web pages in a real browser at servers of their own.
func testBrowser(t *testing.T, s *server) {
	chromium := browserOf(t)
	pair := listentest.New(t, 1)
	runNode(t, "browser", []string{
		"PORCHLIGHT_PROGRAM=" + s.program, "PORCHLIGHT_DESCRIPTORS=" + descriptorFile(t), "PORCHLIGHT_CHROMIUM=" + chromium,
		"PORCHLIGHT_CERT=" + pair.Cert, "PORCHLIGHT_KEY=" + pair.Key,
	}, "browser.mjs", "client.browser.mjs", "demo.browser.mjs", "presence.browser.mjs")
}

// browserOf finds a browser.
func browserOf(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "browser", "there is no chromium on this machine")
	return ""
}

// runNode runs files of node/ with node's own test runner.
func runNode(t *testing.T, tool string, env []string, files ...string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, tool, "there is no node on this machine")
	}
	if _, err := os.Stat("node/node_modules/@connectrpc/connect"); err != nil {
		missing(t, tool, "its packages are not installed: make test-tools does it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	out := run(t, ctx, "node", env, slices.Concat([]string{node}, webSocket(t, node), []string{"--test", "--test-reporter=tap"}, files)...)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "# tests ") || strings.HasPrefix(line, "# pass ") {
			t.Log(tool + " " + strings.TrimSpace(line))
		}
	}
	if !strings.Contains(out, "# fail 0") || strings.Contains(out, "# pass 0") {
		t.Errorf("%s ran nothing, or not to its end:\n%s", tool, out)
	}
}

// webSocket is the flag that a Node before 22 needs for a WebSocket of its own.
func webSocket(t *testing.T, node string) []string {
	t.Helper()
	version, err := exec.CommandContext(t.Context(), node, "--version").Output()
	if err != nil {
		t.Fatalf("asking node for its version: %v", err)
	}
	if v := string(version); strings.HasPrefix(v, "v20.") || strings.HasPrefix(v, "v21.") {
		return []string{"--experimental-websocket"}
	}
	return nil
}

func testPython(t *testing.T, s *server) {
	python := pythonWithGrpc(t)
	if python == "" {
		missing(t, "python", "no python3 here can import grpc and google.protobuf (Debian: python3-grpcio python3-protobuf)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	// Each test builds its messages from the descriptors, so no generated Python
	// and no compiler are needed.
	descriptors := descriptorFile(t)
	out := run(t, ctx, "python", []string{
		"PORCHLIGHT_GRPC=" + s.grpc, "PORCHLIGHT_PROGRAM=" + s.program, "PORCHLIGHT_DESCRIPTORS=" + descriptors,
		"PYTHONDONTWRITEBYTECODE=1",
	}, python, "-m", "unittest", "-v", "story_test.py")
	if !strings.Contains(out, "\nOK") || strings.Contains(out, "Ran 0 tests") {
		t.Errorf("python ran nothing, or not to its end:\n%s", out)
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "Ran ") {
			t.Log("python " + strings.TrimSpace(line))
		}
	}
}

// pythonWithGrpc finds a Python that has grpcio: the first of the PATH often is
// not the one the distribution installs for.
func pythonWithGrpc(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if python, err := exec.LookPath(name); err == nil &&
			exec.CommandContext(t.Context(), python, "-c", "import grpc, google.protobuf").Run() == nil {
			return python
		}
	}
	return ""
}

// descriptorFile has the descriptor set.
func descriptorFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "isonline.binpb")
	if err := os.WriteFile(path, descriptorSet(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// descriptorSet describes the interface and the error details, each file after
// those it imports.
func descriptorSet(t *testing.T) []byte {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(isonlinev1.File_isonline_v1_isonline_proto)
	add((&status.Status{}).ProtoReflect().Descriptor().ParentFile())
	add((&errdetails.ErrorInfo{}).ProtoReflect().Descriptor().ParentFile())
	b, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
