// Package script tells stories of the whole server: text files in testdata
// that make sessions, connect, cut links, wait and restart, with everything
// that every device was told printed below each step. The server is the real
// one, its log on disk included; devices speak to it through generated gRPC
// stubs over a network in memory; the clock is the test's, so 400 seconds pass
// in milliseconds and land exactly.
//
// It is not the place for rules of one package, nor for races: a story has one
// order. What a story's steps can say stands in testdata/README.md.
//
// After a change of behaviour, look at what changed and let it be written:
//
//	go test ./test/script -rewrite && git diff test/script/testdata
package script
