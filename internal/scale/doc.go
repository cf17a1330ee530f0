// Package scale is the node's side of `porchlight bench --nodes`: a whole node in
// a process of its own that takes orders on its standard input. What it is told to
// open it opens through the tracker, as a door does; only the connections are
// missing, because one machine cannot hold a million. Everything else is what a
// node does anyway: the log, the checkpoint, its notes, what it tells the other
// nodes and what it learns of them.
//
// It is not a way to run a node: package app and the program's commands are.
package scale
