//go:build !linux

package socket

// poller is the epoll mode, which this system has not.
type poller struct{ table table }

func (l *Loop) place(*Conn) {}

func (*poller) begin(*Conn, []byte) {}
func (*poller) arm(*Conn)           {}
func (*poller) readOn(*Conn)        {}
func (*poller) stop()               {}
