// Package socket is the server's end of one WebSocket connection (RFC 6455),
// made for very many connections that are silent most of the time. It knows
// frames, pings and close codes; what is said in the messages is a Door's affair.
//
// A connection has one of two modes behind one type:
//
//	epoll       plain TCP on Linux. An idle connection has no goroutine, no
//	            buffer and no timer; workers are lent to it while there is
//	            something to read or to write.
//	goroutine   TLS, other systems, in-memory listeners of tests. One goroutine
//	            reads; another one writes while there is something to write.
//
// The way of a message in epoll mode, both directions:
//
//	kernel -> poller (epoll, one per core) -> line of readers -> frames -> Door.Message
//	Wake -> line of writers -> Door.Fill into a lent buffer -> one write -> kernel
//
// Writing is pull-based: there is no queue here. Whoever has something for a
// device says Wake; when it is the connection's turn and the peer reads, the door
// fills a lent buffer with all that waits, and it leaves in one write. Of a write
// that the peer does not take, the unsent rest is kept (64 KB at most, if the door
// heeds Out.Full), and the door is asked again only when that has gone. So a peer that
// stops reading costs that rest, and sees the newest when it reads again.
//
// Compression (permessage-deflate, RFC 7692) is never agreed to. A window for each
// direction is 300 KB with Go's compressor, against the 1 KB that an idle connection
// costs; without windows kept, messages of some hundred bytes hardly shrink, and
// compressing each costs more than writing it; and bytes that are encoded once and
// shared by all watchers of a user could not be shared once compressed. Who needs
// less traffic says less in a message.
package socket
