// Package rest is our own REST API, /api/v1: what an app's backend asks and
// tells about its users, with a server key. Its description in OpenAPI 3.1 is
// made of the same types that serve it (/openapi.json); the page for people is
// docs/interfaces/rest.md.
//
// A request's way: door.go gives it an id, finds whose key it carries (auth.go)
// and hands it to a mux of its own, on which each operation stands with its
// description (operation.go). What goes wrong becomes problem+json with our
// kinds of faults as codes, by one table (problem.go). The door keeps nothing:
// it reads pictures of presence as they are published, and calls the tracker.
package rest
