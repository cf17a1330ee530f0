package bench

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareFiles are the descriptors that a process needs beside its connections.
const spareFiles = 64

// needFiles makes sure that this process may open n connections: it raises the
// soft limit to the hard one, and says what to do when that is not enough.
func needFiles(n int) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("bench: read the limit of open files: %w", err)
	}
	need := uint64(n + spareFiles)
	if lim.Cur < need && lim.Cur < lim.Max {
		lim.Cur = lim.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			return fmt.Errorf("bench: raise the limit of open files: %w", err)
		}
	}
	if lim.Cur < need {
		return fmt.Errorf("bench: %d connections need %d open files, but this process may open %d; use fewer users or raise `ulimit -Hn`", n, need, lim.Cur)
	}
	return nil
}
