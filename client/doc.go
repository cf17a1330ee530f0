// Package client is for Go programs that want to know who is online, or to
// say that their own user is.
//
//	c, err := client.New(client.Config{Addr: "127.0.0.1:7401", Token: token})
//	people, err := c.Query(ctx, "bob", "carol")                 // ask once
//	s, err := c.Open(ctx, client.Options{Watch: []string{"bob"}}) // be online, and stay told
//	err = s.WatchFriends(ctx)                                     // of everybody on the user's friend list too
//	for change := range s.Changes() { … }
//	err = s.Leave(ctx)
//
// A [Client] speaks for one user to one server; it is cheap, lazy and safe for
// concurrent use. A [Session] is that user's being online on this device. It
// keeps itself alive: when the link breaks it connects again with growing,
// jittered pauses, resumes where it was, states its status and its watches
// anew where the server may have lost them, and fetches a new token when the
// old one expired. Its picture of the watched users is kept over a loss and
// marked stale, so nobody seems to leave and come back because of our link.
//
// It never connects to anything on its own account beyond Config.Addr, logs no
// token, and holds no presence on disk. It is not a way to administer a server
// and not a general RPC stub: the generated code in api/gen is that. Nothing
// in its exported names depends on the transport below it: gRPC for an address
// without a scheme, and the live door's WebSocket (docs/interfaces/live.md) for
// one of ws:// or wss://, which goes wherever web pages go.
package client
