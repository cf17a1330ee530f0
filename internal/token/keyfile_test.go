package token

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var keyA = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("A", 32)))
var keyB = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("B", 32)))

func writeKeyFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "session-keys")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

func TestLoadRingMakesTheFileOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "session-keys")
	first, err := LoadRing(path)
	if err != nil {
		t.Fatalf("LoadRing, no file yet: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadRing(path)
	if err != nil {
		t.Fatalf("LoadRing, with the file: %v", err)
	}
	if got, err := second.Open(first.Seal(aliceSession())); err != nil || got != aliceSession() {
		t.Errorf("after a restart: Open = %+v, %v", got, err)
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(text) {
		t.Errorf("the second load changed the file (%v)", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if posix() && st.Mode().Perm() != 0o600 {
		t.Errorf("the new file has mode %04o, want 0600", st.Mode().Perm())
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want the key file alone", entries, err)
	}
	other, err := LoadRing(filepath.Join(t.TempDir(), "session-keys"))
	if err != nil {
		t.Fatalf("LoadRing elsewhere: %v", err)
	}
	refuses(t, other, "sealed with another new file", first.Seal(aliceSession()))
}

// TestLoadRingAtOnce lets many loaders find no file at the same moment: all
// must end up with the keys that stay on disk.
func TestLoadRingAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "session-keys")
	rings := make([]*Ring, 16)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			var err error
			if rings[i], err = LoadRing(path); err != nil {
				t.Errorf("loader %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	final, err := LoadRing(path)
	if err != nil {
		t.Fatalf("LoadRing at the end: %v", err)
	}
	for i, r := range rings {
		if _, err := final.Open(r.Seal(aliceSession())); err != nil {
			t.Errorf("loader %d has keys that are not in the file", i)
		}
	}
}

func TestLoadRingReadsOperatorsFiles(t *testing.T) {
	t.Parallel()
	text := "# ours\r\n\n   b   " + keyB + "  \r\n#old: x\na\t" + keyA // no line end
	r, err := LoadRing(writeKeyFile(t, text, 0o400))
	if err != nil {
		t.Fatalf("LoadRing: %v", err)
	}
	a, errA := ParseSealKey("a " + keyA)
	b, errB := ParseSealKey("b " + keyB)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatalf("ParseSealKey: %v", err)
	}
	if _, err := newTestRing(t, b).Open(r.Seal(aliceSession())); err != nil {
		t.Error("the first key of the file does not seal")
	}
	if _, err := r.Open(newTestRing(t, a).Seal(aliceSession())); err != nil {
		t.Error("the second key of the file does not open")
	}
}

func TestLoadRingRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"group may read", "a " + keyA, 0o640, "chmod 600"},
		{"others may read", "a " + keyA, 0o604, "chmod 600"},
		{"group may write", "a " + keyA, 0o620, "chmod 600"},
		{"empty", "", 0o600, "at least one"},
		{"comments only", "# a " + keyA, 0o600, "at least one"},
		{"no id", "\n" + keyA, 0o600, "line 2: want \"id base64key\""},
		{"three words", "a " + keyA + " x", 0o600, "line 1: want \"id base64key\""},
		{"swapped", keyA + " a", 0o600, "line 1: the id"},
		{"id too long", "abcdefghi " + keyA, 0o600, "line 1: the id"},
		{"key too short", "a " + keyA[4:], 0o600, "line 1: the key"},
		{"key without padding", "a " + strings.TrimRight(keyA, "="), 0o600, "line 1: the key"},
		{"key with loose bits", "a " + strings.Replace(keyA, "E=", "F=", 1), 0o600, "line 1: the key"},
		{"key of zeros", "a " + base64.StdEncoding.EncodeToString(make([]byte, 32)), 0o600, "all zeros"},
		{"id twice", "a " + keyA + "\na " + keyB, 0o600, "listed twice"},
		{"oversized", strings.Repeat("#\n", maxKeyFile), 0o600, "longer than 65536"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.mode != 0o600 && !posix() {
				t.Skip("no group and others on this system")
			}
			path := writeKeyFile(t, tt.text, tt.mode)
			_, err := LoadRing(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("LoadRing: %v, want an error with %q and the path", err, tt.want)
			}
			for _, key := range []string{keyA, keyB, keyA[4:]} {
				if strings.Contains(err.Error(), key) {
					t.Errorf("the error quotes a key: %v", err)
				}
			}
		})
	}
}

func TestLoadRingNeedsItsFolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "session-keys")
	if _, err := LoadRing(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "create session key file") {
		t.Errorf("LoadRing in a missing folder: %v", err)
	}
	if _, err := LoadRing(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("LoadRing of a folder: %v", err)
	}
}
