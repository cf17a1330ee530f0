// Package stringee speaks Stringee's interface for attributes and topics, so
// that pages written with its client (npm stringee) and backends written for its
// REST calls work with only the address changed: users' attributes, which are
// published to topics as the users' tokens say, online status and calls among
// them. What each sentence of its document became is in
// docs/interfaces/stringee.md; what stands in no document is marked there.
//
// The wire, as its client has it: JSON in text frames, {"service": N, "body": {…}},
// over a WebSocket at "/". A request has a requestId and so has its answer; what the
// server says by itself has none.
//
//	→ 2   {"accesstoken":JWT,"deviceId":"web-…","browserId":"browser-…","platform":3,…,"requestId":1}
//	← 2   {"requestId":1,"r":0,"message":"SUCCESS","userId":"agent_1","projectId":25,…,"clients":[…]}
//	← 102 {"topic":"online_status","message":{"newValue":"online","callEnded":true,"attribute":"onlineStatus",…}}
//	→ 103 {"attribute":"manual_status","value":"away","requestId":2}
//	← 103 {"requestId":2,"r":0,"message":"SUCCESS"}
//	← 104 {"status":"connected","clientId":"web-…","browserId":"browser-…","userId":"agent_1"}
//	← 1   {}                          and the client answers → 1 {"requestId":3}
//
// A connection is a session like any other, of package tracker. What others
// need to know of it is kept in its device record, which all nodes have and which
// survives: the client's id is the device's id, and the browser's id stands behind
// the version of its software ("2.6.0 browser-…"). So the list of a user's clients
// is made of his sessions, wherever they are, and those of other doors are in it.
//
// The connection keeps nothing but its subscription (package topic) and whom of
// the user's other clients it told of.
package stringee
