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
