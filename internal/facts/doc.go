// Package facts reads the log and tells what its fold concludes: for webhooks,
// pulled changes, snapshots and histories. Whoever reads from wherever is told
// the same facts in the same order with the same numbers and ids.
//
// One reader per node, the tail, folds the log as it grows and serves all who
// are near its end from a ring of recent facts; it waits for nobody. Who falls
// out of the ring, or begins far behind, is caught up by a pass of his own: it
// loads the newest base at or before his position, folds forward without
// telling, tells from his position on, and he joins the tail when the ring has
// what he wants next. The fold of all users is held in memory only while
// somebody follows.
//
// Erased users: what was claimed of one before his erasure is told to nobody
// who reads it after the erasure was stored, wherever in the log it stands.
//
// It knows no webhook and no door, and writes nothing but bases (Keeper).
package facts
