// Package mailbox keeps short messages for users until they come: one queue per
// user and publisher, first in first out, of at most 100 messages, the oldest of
// which gives way to a new one. A message is stored before it is acknowledged and
// handed to every connection of the user that takes messages; it leaves its queue
// when a connection has written it, when its time is over, when the publisher's
// grant ends, or with the user. There is no receipt beyond the write.
//
// Everything that happens to mailboxes is an entry of one stream of the store
// (store.Mailboxes): messages put, queues purged, users erased. One goroutine
// (commit.go) makes one entry of all that waits, so a hundred messages cost one
// sync of the disk: it works out what becomes of the queues (plan.go), stores that
// behind the last entry it has folded, and folds it (fold.go). The fold alone changes
// queues, and a start is nothing but the fold of what is left of the stream.
//
// In memory is an index: for each message where it stands, when its time is over and
// a hash of its id, about 150 bytes with its share of the maps. The text of the newest
// messages is kept beside it up to Config.TextBytes; that of older ones is read back
// when somebody comes. The stream is cut before the oldest message that is left
// (compact.go); what stands long in front of much that has gone is written anew.
//
// How messages leave: [Mailboxes.Attach] gives a connection a [Taker], which is woken,
// taken from when the connection can write, and told when it has written.
//
// Several nodes write to one stream, for a writer who does not know the newest entry is
// refused, reads it and counts again: sizes are exact whoever puts. No node owns a
// mailbox. Each folds all entries, which the others tell it (Config.Tell, Stored) or it
// reads when it was told of none (others.go), and gives what comes to its own
// connections; what one of them has written leaves the queues at all nodes by an entry,
// as it does on one. So nothing moves when a node goes. Only cutting the stream, and
// writing anew for that, is done by one of them (Config.Mine).
//
// The package knows no dialect: what a publisher or an action is, doors know.
package mailbox
