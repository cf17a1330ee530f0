// Package token answers two questions about a call: who is asking, and which
// session do they hold.
//
// Who: an access token is a JWT (RFC 7519) that an app's own identity provider
// signed, with HS256, RS256, ES256 or EdDSA. A [Verifier] knows the issuers of
// all apps; the issuer claim selects the app, and a configurable claim names the
// user. The keys stand in the configuration, or a [Published] set gets them from
// where the issuer publishes them (JWK Set, RFC 7517).
//
// Which session: a session token is made by us and opaque to everyone else. A
// [Ring] seals the names of a session with XChaCha20-Poly1305 and opens them
// again on any node that has the same keys. It is useless without an access
// token of the same user; [Session.Check] compares the two.
//
// The package does not know whether a session still exists (tracker does), does
// not read headers or metadata (the doors do), grants no rights beyond "this is
// that user", and logs nothing: no token and no key ever leaves it in an error,
// a log line or a formatted value.
package token
