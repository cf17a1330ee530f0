//go:build !linux

package chaos

import "syscall"

// endWithTest has no means here: the cleanups of the test end the server.
func endWithTest() *syscall.SysProcAttr { return nil }
