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
	// SaveNotes appends to what the node keeps of a group; whole says that this
	// replaces all that it kept of it. One caller at a time.
	SaveNotes(ctx context.Context, incarnation uint64, group int, whole bool, data []byte) error

	// LoadNotes calls f with what a node keeps of a group, in order; with
	// incarnation 0 and group -1 with that of all nodes and groups, each group's in
	// order. What a save acknowledged is there.
	LoadNotes(ctx context.Context, incarnation uint64, group int, f func(incarnation uint64, data []byte) error) error

	// ForgetNotes drops all that a node keeps. It is no error that there is nothing.
	ForgetNotes(ctx context.Context, incarnation uint64) error
}
