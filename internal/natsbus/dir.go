package natsbus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The modes a data directory can belong to, which are the names of the
// engine's folders in it too.
const (
	modeStandalone = "standalone"
	modeClustered  = "clustered"
)

const (
	lockFile = "porchlight.lock"
	markFile = "porchlight.mode"
	nameFile = "porchlight.node"
	// markHead stands in front of the mode in the mark file; the number would
	// grow with an incompatible layout.
	markHead = "porchlight data directory, layout 1, mode "
)

// ErrInUse means another process has the data directory open.
var ErrInUse = errors.New("in use by another process")

// dirLock is the exclusive right to a data directory; it ends with release or
// with the process, however that dies.
type dirLock struct{ file *os.File }

// lockDir takes the lock without waiting.
func lockDir(dir string) (*dirLock, error) {
	name := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("natsbus: cannot open the lock of the data directory: %w", err)
	}
	if err := tryLock(f); err != nil {
		f.Close()
		if errors.Is(err, ErrInUse) {
			return nil, fmt.Errorf("natsbus: data directory %s is %w: stop that one, or give this one a directory of its own", dir, err)
		}
		return nil, fmt.Errorf("natsbus: cannot lock the data directory %s: %w", dir, err)
	}
	return &dirLock{f}, nil
}

// release gives the directory free; the file stays, since removing it would
// race with the next one that locks it. A nil lock is fine.
func (l *dirLock) release() error {
	if l == nil {
		return nil
	}
	return errors.Join(unlock(l.file), l.file.Close())
}

// claimMode checks that dir is new or belongs to mode, and marks a new one. A
// directory of another mode is refused, because the engine would delete what
// is in it.
func claimMode(dir, mode string) error {
	name := filepath.Join(dir, markFile)
	mark, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeMark(dir, name, mode)
	case err != nil:
		return fmt.Errorf("natsbus: cannot read the mark of the data directory: %w", err)
	}
	found, err := parseMark(string(mark))
	if err != nil {
		return fmt.Errorf("natsbus: %s: %w", name, err)
	}
	if found != mode {
		return fmt.Errorf("natsbus: data directory %s belongs to a %s node and this one is %s: opening it would destroy what is in it; "+
			"give this node a directory of its own and move what is stored with `porchlight cluster export` and `import`", dir, found, mode)
	}
	return nil
}

// parseMark reads the text of a mark file.
func parseMark(s string) (mode string, err error) {
	mode, ok := strings.CutPrefix(strings.TrimSuffix(s, "\n"), markHead)
	if !ok || mode != modeStandalone && mode != modeClustered {
		return "", errors.New("this is not the mark of a directory this version can open; it is damaged, or a newer version wrote it")
	}
	return mode, nil
}

// claimName checks that dir is new or belongs to the member of that name, and
// notes the name in a new one. The others know a member's data by its name: under
// another one it would be a further member, and the former be missed for good.
func claimName(dir, member string) error {
	name := filepath.Join(dir, nameFile)
	b, err := os.ReadFile(name)
	switch found := strings.TrimSuffix(string(b), "\n"); {
	case errors.Is(err, fs.ErrNotExist):
		return writeFile(dir, name, member+"\n")
	case err != nil:
		return fmt.Errorf("natsbus: cannot read whose the data directory is: %w", err)
	case found != member:
		return fmt.Errorf("natsbus: data directory %s belongs to node %q and this one is %q: start it under its name (node, --node), or give this one a directory of its own", dir, found, member)
	}
	return nil
}

// MakeMember makes a new, empty directory that of the member of that name.
func MakeMember(dir, member string) error {
	if err := claimMode(dir, modeClustered); err != nil {
		return err
	}
	return claimName(dir, member)
}

// Used reports whether a directory is the data directory of a node that ran.
func Used(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, markFile))
	return err == nil
}

// Member is the name of the member that a directory belongs to.
func Member(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, nameFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("natsbus: %s is not the data directory of a node of several", dir)
	}
	if err != nil {
		return "", fmt.Errorf("natsbus: cannot read whose the data directory is: %w", err)
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}

// writeMark makes the mark durable before anything is stored beside it.
func writeMark(dir, name, mode string) error { return writeFile(dir, name, markHead+mode+"\n") }

// writeFile makes a small file durable, whole or not at all.
func writeFile(dir, name, text string) error {
	fail := func(err error) error { return fmt.Errorf("natsbus: cannot mark the data directory: %w", err) }
	f, err := os.CreateTemp(dir, filepath.Base(name)+".*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fail(err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fail(err)
	}
	if err := syncDir(dir); err != nil {
		return fail(err)
	}
	return nil
}
