// Package listen is how connections come in: ports whose connections count what
// is read on them (a sign of life, design §4), TLS with certificates that are
// read again, and the true address of a client that comes through proxies whose
// word is taken. What is spoken on a connection is not its affair.
//
// A connection's way with everything switched on:
//
//	socket -> Conn (counts bytes, reads the PROXY header) -> TLS -> HTTP or gRPC
package listen
