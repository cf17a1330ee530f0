// Package isonline is the IsOnline door: the gRPC service isonline.v1 with its
// events stream, reflection and health, and the same service for browsers and
// curl over Connect and gRPC-Web (web.go). It turns calls into words of the core
// (tracker, hub, token) and pictures of presence into messages; it keeps no
// truth of its own. The document, sentence by sentence, with where each is done
// and tested: docs/interfaces/isonline.md.
//
// A stream's way: ConnectToIsOnlineSession attaches a [stream] to the session's
// watcher and parks its goroutine. A change puts the stream in line for the
// [flushers], a few goroutines that drain watchers and send; so an idle stream
// has no buffer and no goroutine besides grpc's. The
// messages are encoded once per change, locale and side (encode.go) and reach
// the transport without another copy (codec.go). On the HTTP port a stream sits in
// the answer to a request instead (webstream.go); all above it is the same.
package isonline
