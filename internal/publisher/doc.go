// Package publisher keeps who may be told of users by the Mozilla interface, and
// by which users: a Publisher is what that interface calls an app, registered at
// run time inside one tenant; a Grant is a user's word that a publisher may know
// of him, under a uid that is made for the two and says nothing of the user.
//
//	Register -> Registered    id and the key that its domain must serve
//	Prove    -> Proven        the domain served it
//	Activate -> Active        the API key, shown once and kept as a hash
//	Deactivate -> Proven      the API key is void
//	Remove                    with all its grants
//
// All of it is on disk before a call returns. The truth about grants is one value
// for each user, so a user's grants change together and go with him; beside it
// each uid leads to its user. A uid that is in no such value is dead, and never
// comes back: a new grant has a new one.
//
// What was read is remembered for maxAge at most. A change made here counts at
// once; nodes tell each other by Config.Tell and Heard, and one that was not told
// is late by maxAge.
//
// It serves no page and no socket, fetches no domain and tells no status: a door
// does.
package publisher
