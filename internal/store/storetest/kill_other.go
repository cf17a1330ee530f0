//go:build !unix

package storetest

import "os/exec"

func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func ownGroup(*exec.Cmd) {}
