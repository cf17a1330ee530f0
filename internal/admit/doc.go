// Package admit is what every door for end users does before and around the
// core: it believes access tokens and session tokens, says which web pages may
// call, takes a session up on a connection with all that it watched, and keeps
// subscriptions in step with the roster and the checkpoint. So a session that
// was made at one door can be resumed at another, and what is allowed at one is
// allowed at all.
//
// It knows no dialect: how a message looks, what ends a connection and how long
// a reader may take is a door's affair. A [Gate] is made once for a node and
// shared by its doors.
package admit
