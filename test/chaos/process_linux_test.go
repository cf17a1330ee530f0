package chaos

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// endWithTest makes the system kill the server when the test's process is
// gone, as after a time-out of go test, which runs no cleanups.
func endWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// mountMemory lays a file system in memory over dir.
func mountMemory(dir string) (unmount func() error, err error) {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2g"); err != nil {
		return nil, err
	}
	return func() error { return unix.Unmount(dir, unix.MNT_DETACH) }, nil
}
