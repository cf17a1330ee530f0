// Package mozpresence speaks Mozilla's Presence interface of 2013: a status socket
// for devices, a status socket for publishers (what that interface calls an app),
// live notifications that publishers post for users, and queries. What each
// sentence of its documents became, and what we chose where they say nothing, is
// in docs/interfaces/mozpresence.md; its pages are package mozpresence/pages.
//
// The wire:
//
//	GET /presence                   WebSocket of a device
//	  > {"email":"alice","assertion":JWT,"status":"online"}
//	  < {"result":"OK","status":"online","user":"alice"}
//	  < {"status":"notification","user":"alice","notifications":[{"userid":UID,"appid":…,"message":…,"action":…}]}
//
//	GET /<appid>, /myapps/<appid>   WebSocket of a publisher
//	  > {"key":API key}
//	  < {"action":"auth","result":"OK"}
//	  < {"status":"online","uid":UID}
//
//	POST /<appid>/notification      [{"userid":UID,"message":…,"action":…}, …]
//	  < {"result":"OK","queue_size":1}
//	GET  /<appid>/presence?uid=A,B  [[A,"online"],[B,"offline"]]
//	GET  /<appid>/presence.json     the same in lines, without an end
//
// A device's connection is a session like any other: seen at all doors, with the
// grace of its app. What publishers are told comes from the log of facts, so it has
// its order, waits for a publisher that is away (an hour at most), and is as others
// may see it; of users alone who granted it.
package mozpresence
