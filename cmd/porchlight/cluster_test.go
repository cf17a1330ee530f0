package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// stoppedNode is the data directory of a node that ran.
func stoppedNode(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "node")
	s, err := porchlight.New(porchlight.Options{Data: dir, HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestClusterExport(t *testing.T) {
	t.Parallel()
	dir := stoppedNode(t)
	file := filepath.Join(t.TempDir(), "node.export")
	out, errText, err := once(t, "cluster", "export", "--json", "--data", dir, file)
	var answer struct {
		File    string
		Streams int
		Bytes   int64
	}
	if err != nil || json.Unmarshal([]byte(out), &answer) != nil || answer.File != file || answer.Streams == 0 || answer.Bytes == 0 {
		t.Fatalf("export: %q, %q, %v; want what was written", out, errText, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: got %v, %v, want it readable by its owner alone", info, err)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"there already":     {[]string{"export", "--data", dir, file}, "is there already"},
		"nothing":           {[]string{"export", file + "2"}, "--data DIR"},
		"both":              {[]string{"export", "--data", dir, "--cluster", "nats://127.0.0.1:1", file + "2"}, "one at a time"},
		"no such directory": {[]string{"export", "--data", dir + "2", file + "2"}, "is no data directory of a node"},
		"an empty one":      {[]string{"export", "--data", t.TempDir(), file + "2"}, "is no data directory of a node"},
		"no such file":      {[]string{"import", "--cluster", "nats://127.0.0.1:1", file + "2"}, "no such file"},
		"into nothing":      {[]string{"import", file}, "--cluster URL"},
		"nobody there":      {[]string{"status", "--cluster", "nats://127.0.0.1:1"}, "is it running"},
	} {
		out, errText, err := once(t, append([]string{"cluster"}, c.args...)...)
		if err == nil || !strings.Contains(errText, c.says) {
			t.Errorf("%s: %q, %q, %v; want an error that says %q", name, out, errText, err, c.says)
		}
	}
	if _, err := os.Stat(file + "2"); err == nil {
		t.Error("a failed export left a file")
	}
	out, _, err = once(t, "cluster", "rights", "--import", "--cluster-prefix", "shop")
	if err != nil || !strings.Contains(out, `"shop.>"`) || !strings.Contains(out, `"$JS.API.STREAM.RESTORE.SHOP_LOG"`) {
		t.Errorf("rights: %q, %v; want the prefix's", out, err)
	}
}

func TestClusterImport(t *testing.T) {
	t.Parallel()
	servers := natsbustest.Start(t, natsbustest.Settings{})
	urls := strings.Join(servers.URLs(), ",")
	file := filepath.Join(t.TempDir(), "node.export")
	began := time.Now()
	out, errText, err := once(t, "cluster", "export", "--cluster", urls, "--cluster-prefix", "other", file)
	if err == nil || !strings.Contains(errText, `nothing is stored here with the prefix "other"`) || !strings.Contains(errText, "--cluster-prefix") {
		t.Errorf("export of nothing: %q, %q, %v; want what to do", out, errText, err)
	}
	if out, errText, err := once(t, "cluster", "status", "--cluster", urls, "--cluster-prefix", "other", "--json"); err == nil || strings.TrimSpace(out) != "[]" || !strings.Contains(errText, "nothing is stored") {
		t.Errorf("status of nothing: %q, %q, %v; want an empty list and an error", out, errText, err)
	}
	if took := time.Since(began); took > 20*time.Second { // it waited for 30 s once
		t.Errorf("export of nothing took %s", took)
	}
	if out, errText, err := once(t, "cluster", "export", "--data", stoppedNode(t), file); err != nil || !strings.Contains(out, "export of") {
		t.Fatalf("export: %q, %q, %v", out, errText, err)
	}
	if out, errText, err := once(t, "cluster", "import", "--cluster", urls, file); err != nil || !strings.Contains(out, "import of") {
		t.Fatalf("import: %q, %q, %v", out, errText, err)
	}
	if out, errText, err := once(t, "cluster", "import", "--cluster", urls, file); err == nil || !strings.Contains(errText, "stored already") {
		t.Errorf("import again: %q, %q, %v; want a refusal", out, errText, err)
	}
	natsbustest.Eventually(t, "the cluster is as it should be", func() error {
		out, _, err := once(t, "cluster", "status", "--cluster", urls)
		if err == nil && !strings.Contains(out, "PL_LOG") {
			t.Errorf("status: %q; want the streams", out)
		}
		return err
	})
}
