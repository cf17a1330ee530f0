package chaos

import "syscall"

// endWithTest makes the system kill the server when the test's process is
// gone, as after a time-out of go test, which runs no cleanups.
func endWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
