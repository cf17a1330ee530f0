// Package natsstore keeps the durable contract (package store) on NATS
// JetStream. It owns these streams:
//
//	PL_LOG         pl.log                        the log, one message per group commit
//	PL_CHECKPOINT  pl.ckpt.shard.<n>             the newest state of shard n
//	               pl.ckpt.part.<n>.<set>.<i>    pieces of a state too big for one message
//	               pl.ckpt.mark                  what Advance last said
//	               pl.counter.<name>             the counters
//	PL_NOTE        pl.note                       the notes of the checkpoint, in order
//	PL_ROSTER      pl.roster.<kind>.<app>.<user> the newest roster value of a user
//	PL_ERASED      pl.erased                     where in the log who was erased
//	PL_BASE        pl.base.piece.<id>.<i>        some shards of a base
//	               pl.base.head.<id>             what makes a base of its pieces
//	PL_CURSOR      pl.cursor.<app>.<endpoint>    the newest cursors of an endpoint
//	PL_DEAD        pl.dead.<app>.<endpoint>.<user> dead letters, in order
//	PL_MAIL        pl.mail                       what happens to mailboxes, many messages to an entry
//	PL_LIVE        pl.live.<name>                that a node lives, of several
//	PL_NODENOTE    pl.nodenote.<node>.<group>    what a node notes of its sessions, of several
//
// With several nodes the names begin with the cluster's prefix, each message is
// on several servers, and any node may write: what is decided on what was read
// is stored by compare-and-swap, and the bases, which are many messages, are
// changed under a lease. What is read comes from the stream's leader; long
// readings live on one of the servers, which may lag (they ask the leader whether
// that is all) or go (they go on by another). While a stream has no leader, what
// nobody took is given again. All of this is in stream.go, reader.go and
// several.go, and a node alone does without it.
//
// What it acknowledges is on disk, because natsbus has the engine sync every
// message. It knows nothing of what shards, notes, rosters and mailboxes hold, of folding, or of
// batching records into messages (store.Committer does that).
//
// The engine's own limits would drop records that no checkpoint holds yet, so
// the log refuses at its size limit (ErrRefused) instead of forgetting, and the
// package itself trims behind the checkpoint: by size after 90 % of the limit,
// by age, and by half when the disk is nearly full. The last of the disk is never
// written to, since an engine that meets its end stops until a restart.
package natsstore
