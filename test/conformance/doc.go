// Package conformance drives the real binary with other people's
// implementations: grpc-js and Connect's own libraries in node/, web pages with
// the latter in Chromium, Python's grpcio in python/, and grpcurl.
// Our own package for pages and Node, clients/js, is let at it the same way, and
// held against its source.
// The REST API meets a validator of OpenAPI, a client that is generated from its
// description, and curl with the commands of its page. The doors for backends of
// RongCloud and Tencent IM meet those vendors' own packages for Node and Go;
// Stringee's published client meets its door in Node and in Chromium. One test walks
// all pairs of doors: who comes, changes and goes at one is seen at the other.
// What they expect is written against the published .proto and the interface's
// document alone, so a mistake that our server and our Go client share is still
// found here.
//
// It is not the place for every rule of the interface (internal/door/isonline,
// test/script) nor for faults (test/chaos). A tool that is not on the machine
// is skipped with one line; `make test` installs what it can.
package conformance
