// Package presence holds the words and the rules of Porchlight: users,
// sessions, phases, reasons, epochs, statuses, how several sessions add up to
// one availability, what was last seen when, the records of the log and the
// fold that makes the present of them.
//
// It is pure: no network, no storage, no goroutines, no clock; time comes in
// as an argument. It imports the standard library only. Who keeps sessions
// alive, stores records or tells watchers stands elsewhere (tracker, store,
// hub).
//
// The central idea is the fold (docs/design/001-where-truth-lives.md): a
// [Record] is a claim that something happened; [Folded.Apply] is the one pure
// function that turns records, in the order of the log, into the present of a
// user and the [Fact]s that changed it. Doubled, late or reordered claims are
// harmless to it.
package presence
