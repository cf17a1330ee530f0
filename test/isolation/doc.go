// Package isolation shows that nothing crosses apps. It has tests only.
//
// Two apps with the same user ids live on one node and do the same kinds of
// things at random: every call of the IsOnline door, over gRPC and over Connect, and
// every call of the REST door with a server key. What each app's devices and backend are
// told is written down. Then the same is done again with one of the apps
// silent, at the same moments by a fake clock. An app that can tell the
// difference learned something of the other.
//
// What is addressed across on purpose, such as a session token of one app
// beside an access token of the other, is tried in a test of its own.
package isolation
