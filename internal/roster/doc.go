// Package roster keeps who may watch whom: each user's friend list, what is
// left of former friends, and blocks. Lists live in our own store, or come
// from a Source such as the app's backend (package httpsource), whose answers
// are kept for a while. It tells a Listener of every change, and answers what
// one user may see of others with a Sight (design note 002).
//
// It knows nothing of sessions' lives, of watches, or of any dialect; who is
// online it asks only to freeze a last seen.
//
// A user has a page: his list as it is known, in a cache bounded by bytes.
// Whoever reads a list to use it, or changes it, takes the page's turn, tells
// the Listener, and passes it on: so nothing changes between reading a list
// and watching it, and the changes of one user are told in their order. Turns
// are waited for with a context. Two pages are opened in the order of their
// users' names. Blocks are written with the pen of who blocks, which is taken
// before a turn. Roster.mu is inside all of them and never held while the
// store, a source or the Listener is called.
//
// Nothing is ever half: what is stored in one message is the whole list with
// what was frozen of former friends, or all blocks of a user. When the result
// of a write is not known, the page is in doubt: it is read again before its
// next use, or behind after a while, and what had changed is told then.
package roster
