// Package archtest keeps the shape of the house: who may import whom, which
// libraries stay behind which wall, which names, sizes and habits are refused.
// It holds tests only; `go test ./internal/archtest` takes a second or two.
//
// table_test.go is the part to edit: a new package needs its line there, with
// the reason. Each rule is proven on small sources in prove_test.go, because a
// rule that cannot fail keeps nothing.
//
// It reads source text, not types: it cannot tell whether a design is good,
// only whether the agreed borders hold. Formatting is gofmt's affair and
// likely mistakes are vet's.
package archtest
