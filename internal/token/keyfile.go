package token

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxKeyFile bounds what is read of a key file, in bytes: room for some
// thousand keys.
const maxKeyFile = 64 << 10

// keyFileHead stands above the key of a new file.
const keyFileHead = `# Porchlight session keys. Keep this file secret; all nodes of a cluster share it.
# One key per line: an id of 1 to 8 of [a-z0-9], a space, 32 bytes in base64
# (openssl rand -base64 32). The first key seals, all of them open.
`

// LoadRing returns the Ring of the key file at path. If there is no such file,
// it makes one with a single random key first, readable by its owner only and
// synced to disk before the ring is returned, so that no token is ever sealed
// with a key that a power cut could take away. Of several processes that do so
// at once, one makes the file and all read it; an existing file is never
// overwritten.
//
// The file has one key per line, "id base64key", newest first: the id 1 to 8
// of [a-z0-9], the key 32 bytes in standard base64 with padding. Empty lines
// and lines that start with # are skipped.
//
// It fails when the folder is missing, when the file is not a regular file of
// at most 64 KiB or (where the system has such permissions) group or others
// may do anything with it, and when a line is wrong; the error then names the
// line and never quotes it.
func LoadRing(path string) (*Ring, error) {
	ring, err := readRing(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return ring, err
	}
	if err := createKeyFile(path); err != nil {
		return nil, fmt.Errorf("create session key file: %w", err)
	}
	return readRing(path)
}

// DevelopmentRing returns a ring with a key that is printed here for everyone
// to read, for loopback use only: anyone can make a token that it opens. It
// fails only where the program runs in a mode that forbids the cipher
// (GODEBUG=fips140=only).
func DevelopmentRing() (*Ring, error) {
	return NewRing([]SealKey{{ID: "dev", Key: [32]byte([]byte("porchlight development seal key!"))}})
}

// ParseSealKey reads one key in the form of a line of the key file,
// "id base64key". Errors do not quote the text, since it may hold a secret.
func ParseSealKey(text string) (SealKey, error) {
	parts := strings.Fields(text)
	if len(parts) != 2 {
		return SealKey{}, errors.New(`want "id base64key", separated by a space`)
	}
	if !validSealKeyID(parts[0]) {
		return SealKey{}, fmt.Errorf("the id in front of the key is not 1 to %d of [a-z0-9]", maxSealKeyID)
	}
	k := SealKey{ID: parts[0]}
	b, err := base64.StdEncoding.Strict().DecodeString(parts[1])
	if err != nil || len(b) != len(k.Key) {
		return SealKey{}, fmt.Errorf("the key after the id is not %d bytes in standard base64 with padding", len(k.Key))
	}
	k.Key = [32]byte(b)
	return k, nil
}

// readRing reads an existing key file.
func readRing(path string) (*Ring, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("read session key file: %w", err)
	}
	keys, err := parseKeyFile(text)
	if err != nil {
		return nil, fmt.Errorf("session key file %s: %w", path, err)
	}
	ring, err := NewRing(keys)
	if err != nil {
		return nil, fmt.Errorf("session key file %s: %w", path, err)
	}
	return ring, nil
}

// readPrivate returns the content of a file that only its owner may touch. The
// open file is judged, not the path, so that nobody can swap it in between.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if perm := st.Mode().Perm(); posix() && perm&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so others than its owner may use the keys in it; run chmod 600 %s", path, perm, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxKeyFile)
	}
	return text, nil
}

// parseKeyFile reads the lines of a key file, newest key first.
func parseKeyFile(text []byte) ([]SealKey, error) {
	var keys []SealKey
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		k, err := ParseSealKey(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// createKeyFile writes a key file with one new key, whole or not at all. That
// the file exists by now is no error: someone else was faster.
func createKeyFile(path string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".session-keys-*") // mode 0600
	if err != nil {
		return err
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := writeSynced(f, newKeyFile()); err != nil {
		return err
	}
	// A link fails where a rename would overwrite the keys that another process
	// has just made. Some file systems have no links; there, rename.
	if err := os.Link(temp, path); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		if err := os.Rename(temp, path); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// newKeyFile returns the text of a key file with one random key. The id is
// random as well: two nodes that each made a file can then pool their keys.
func newKeyFile() []byte {
	id, key := strings.ToLower(rand.Text()[:maxSealKeyID]), make([]byte, len(SealKey{}.Key))
	rand.Read(key) // never fails: crypto/rand ends the program before it returns less
	return fmt.Appendf(nil, "%s%s %s\n", keyFileHead, id, base64.StdEncoding.EncodeToString(key))
}

// writeSynced writes text, forces it to disk and closes f, whatever happens.
func writeSynced(f *os.File, text []byte) error {
	_, err := f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir forces the names in a folder to disk. Windows cannot and need not.
func syncDir(dir string) error {
	if !posix() {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// posix reports whether files have owners, groups and others, and folders can
// be synced.
func posix() bool { return runtime.GOOS != "windows" }
