// Package rongcloud speaks RongCloud's interface for who is online, so that a
// backend written for it works unchanged: the query of a user's online status
// (POST /user/checkOnline.json), which is a door on the HTTP port, and the
// signed callback of status events, which is a format of webhooks. What each
// sentence of its document became is in docs/interfaces/rongcloud.md.
//
// The wire, as its clients have it:
//
//	POST /user/checkOnline.json                  App-Key, Nonce, Timestamp, Signature (or RC-App-Key, …)
//	userId=bob                               →   {"code":200,"status":"1"}
//
//	POST URL?appKey=…&timestamp=…&nonce=…&signature=…
//	[{"userid":"bob","status":"1","os":"iOS","time":1437982625625,"clientIp":"172.20.10.94:41748","sessionId":"…"}]
//
// Mind that "status" means two things: in the query "1" is online; in the
// callback "0" is came online, "1" went offline and "2" logged out.
//
// It delivers nothing (package webhook does) and keeps nothing: it tells what
// others may see, so a user who is invisible is offline here.
package rongcloud
