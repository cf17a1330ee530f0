// Package porchlighttest runs a real Porchlight server inside a test: the whole
// node, with its log on disk in the test's own directory, not an imitation.
//
//	func TestBob(t *testing.T) {
//		srv := porchlighttest.Start(t)
//		bob := srv.Client("bob")
//		…
//	}
//
// The server stops with the test and leaves no goroutine and no file. Any number
// of them run beside each other, in parallel tests too. Starting and stopping one
// takes about a quarter of a second.
//
// It has the development configuration: one app, "demo", whose key signs the
// tokens that Token gives, and the demo catalogue of texts. Set changes single
// keys of it, Config and ConfigFile take another one.
//
// # Programs in any language
//
// The server listens on loopback: Addr is its gRPC address, URL its HTTP port, and
// Token and ServerKey let a program under test in, whatever it is written in.
// Restart stops the server and starts it again on the same addresses, with
// everything that it had stored.
//
// # Inside testing/synctest
//
// With InMemory the server listens on a network in memory, so a test can run it in
// a bubble and let ten minutes pass in about a second. The program's TestMain has to call
// Synctest first. Dial, HTTPClient and Client reach such a server, addresses do not.
// Session tokens and access tokens are of the bubble's time, and all goroutines of
// the server end with the test, as synctest demands.
package porchlighttest
