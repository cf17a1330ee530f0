// Package topic keeps the attributes of users, says to which topics a user's
// attributes are published, and brings what is published to the subscribers of
// this node (design note 005).
//
// An attribute is a named JSON value of a user, which all his devices share and
// which outlives them. Each device may come with a map, attribute to topics;
// while several are connected the union of theirs counts, and when none is, that
// of the last. All of it is one stored value per user, changed by
// compare-and-swap and read anew for every change: nothing of it is kept in
// memory, so it is right whichever node wrote it last. What is set is on disk
// before anybody is told.
//
// Two attributes set themselves and take no value from outside: onlineStatus,
// which follows the availability that others see, and call, which follows
// [Topics.SetCall].
//
// A message is told at most once, to who is subscribed at that moment. The
// messages of one attribute of one user come in the order of their storing; a
// message that was overtaken on its way from another node is left out. A
// subscription has a bounded queue that nothing coalesces; one that is over its
// bound ends with [ErrSlow]. Messages of a user whom the subscriber may not see
// (package roster) are not for him.
//
// Where onlineStatus is published: every node has the whole presence table and
// tells its own subscribers of what it sees change; such messages are not sent
// to other nodes. All others are, through [Config.Tell].
//
// Locks: a user's turn, then crowd.mu (for reading), then Subscription.mu. Wake
// is called with the first two held, so it must neither block nor call back.
package topic
