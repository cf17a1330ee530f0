//go:build !linux

package socket

// Without an epoll mode no worker has a connection.

func (*worker) receive(*Conn) []byte { return nil }

func (*worker) send(*Conn, []byte) (int, error) { return 0, errBlocked }

func (*worker) onceRead(uintptr) bool { return true }

func (*worker) onceWrite(uintptr) bool { return true }
