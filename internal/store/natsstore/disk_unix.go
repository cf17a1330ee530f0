//go:build linux || darwin || freebsd

package natsstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// DiskUsage measures the file system that holds dir. Where it cannot, the error
// is errors.ErrUnsupported.
func DiskUsage(dir string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Usage{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	block := uint64(st.Bsize)
	return Usage{
		Used: (uint64(st.Blocks) - uint64(st.Bfree)) * block,
		Free: uint64(max(int64(st.Bavail), 0)) * block,
	}, nil
}
