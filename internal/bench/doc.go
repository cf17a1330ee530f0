// Package bench is the standard load of Porchlight (design §10) and the null
// server it is measured against.
//
// The load: N users in a uniform random symmetric graph, each watching F
// others over a TCP connection of its own, and status changes of about 160
// bytes by random users, each delivered to all F watchers. [Run] drives it
// through its phases and reports one [Row] for each: what the server paid in
// CPU time and memory, and how long a change took to reach its watchers. With
// a null server beside it, every figure also comes as a ratio; the ratios are
// what counts, because they hardly depend on the machine.
//
// The null server ([NullServer]) does the least that any gRPC server written
// with grpc-go can do for the same traffic: it copies a frame encoded in
// advance, sets the time stamp in it and sends it, once for each delivery. It
// keeps no sessions, checks no tokens and stores nothing.
//
// At the live door ([DoorLive]) there are two null servers for the same table:
// [LiveNullServer] has a goroutine for each connection and makes one write for
// each delivery, as most WebSocket servers in Go do, and is the one that goals
// refer to; [LiveNullEpoll] has neither goroutines nor buffers for its
// connections and coalesces, and tells how much is possible at all.
//
// With [DoorTopics] the live door has another load: all users are subscribed to
// one topic, and each change is an attribute set, on the server's disk before it
// is told. The null servers store nothing.
//
// The load is made by one thread with one epoll set (loop_linux.go), and HTTP/2
// or WebSocket framed by hand (wire.go, frame.go), because server and load share
// the machine: a library with several goroutines for each connection would cost
// as much as the server it measures. Run therefore works on Linux only.
//
// This is not a tool for loading other people's servers: it talks to loopback
// addresses only, is bounded in users and time, and knows no interface but
// ours.
package bench
