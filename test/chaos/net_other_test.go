//go:build !linux

package chaos

import "testing"

// network is of Linux alone.
type network struct{}

const ourHost = 0

func newNetwork(t *testing.T, _ int) *network {
	t.Helper()
	t.Skip("network namespaces are Linux's")
	return nil
}

func (*network) addr(int) string                      { return "" }
func (*network) at(_ int, command ...string) []string { return command }
func (*network) cut(_, _ int)                         {}
func (*network) slow(_, _ int)                        {}
func (*network) heal()                                {}
