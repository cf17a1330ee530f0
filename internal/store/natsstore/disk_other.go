//go:build !linux && !darwin && !freebsd

package natsstore

import "errors"

// DiskUsage measures the file system that holds dir. Where it cannot, the error
// is errors.ErrUnsupported.
func DiskUsage(string) (Usage, error) { return Usage{}, errors.ErrUnsupported }
