// Package live is the door for end users' devices: a compact WebSocket dialect of
// the IsOnline service, sub-protocol porchlight.v1 on /live. One connection
// carries one session; each message is a JSON object in a text frame. Every
// frame, limit, reason and close code, and what is promised with its test:
// docs/interfaces/live.md.
//
// A connection's way: [Door.ServeHTTP] checks where the page comes from and
// hands the connection to package socket. The first frame, hello, makes a session
// or takes one up (hello.go, on a worker of its own, for it may wait for the
// store); from then on [conn] is the session's link and the reader of its watcher.
// Calls (calls.go) are answered through [socket.Conn.Send]; notifications are
// pulled by the socket when it can write (fill.go): bodies are encoded once per
// change, locale and side (encode.go) and copied into one frame for all that
// waits. An idle connection is one conn and one socket.Conn, and nothing else.
package live
