package store

import "context"

// NoteGroups is the number of groups that a node's notes are kept in: those of
// the users of a shard are in group shard % NoteGroups.
const NoteGroups = 64

// NodeNotes keep, for each of several nodes, what the log does not have of the
// sessions that it has: their statuses, and what they watch. Another node reads it
// when the first is gone. A node is named by its incarnation. What is in a note is
// the writer's affair.
type NodeNotes interface {
	// SaveNotes appends to what the node keeps of a group, in order; whole says that
	// this replaces all that it kept of it, which goes only when all of it is on disk.
	// One caller at a time for a group of a node.
	SaveNotes(ctx context.Context, incarnation uint64, group int, whole bool, data ...[]byte) error

	// LoadNotes calls f with what a node keeps of a group, in order; incarnation 0
	// stands for all nodes and group -1 for all groups, each node's of a group in
	// order. What a save acknowledged is there, what is saved meanwhile
	// may come as well, and what that replaces too. f may keep data.
	LoadNotes(ctx context.Context, incarnation uint64, group int, f func(incarnation uint64, data []byte) error) error

	// ForgetNotes drops all that a node keeps. It is no error that there is nothing.
	ForgetNotes(ctx context.Context, incarnation uint64) error
}
