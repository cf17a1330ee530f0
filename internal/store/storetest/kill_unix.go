//go:build unix

package storetest

import (
	"os/exec"
	"syscall"
)

// killGroup kills the child without a chance to clean up, and what it runs
// under, if started by ownGroup.
func killGroup(cmd *exec.Cmd) error {
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Setpgid {
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return cmd.Process.Kill()
}

// ownGroup has the command start a process group, so that killGroup reaches
// all of it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
