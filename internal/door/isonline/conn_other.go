//go:build !unix

package isonline

// rawReader has nothing to offer here: grpc keeps a buffer per connection.
type rawReader struct{}
