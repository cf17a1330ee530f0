//go:build !linux

package chaos

import (
	"errors"
	"syscall"
)

// endWithTest has no means here: the cleanups of the test end the server.
func endWithTest() *syscall.SysProcAttr { return nil }

func mountMemory(string) (func() error, error) { return nil, errors.ErrUnsupported }
