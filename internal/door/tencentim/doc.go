// Package tencentim speaks the part of Tencent IM's server interface that is
// about who is online, so that a backend written for it works unchanged: the
// queries and the kick of its REST API, which are a door on the HTTP port, and
// the callback State.StateChange, which is a format of webhooks. What each
// sentence of its document became is in docs/interfaces/tencentim.md.
//
// The wire, as its clients have it:
//
//	POST /v4/openim/query_online_status?sdkappid=…&identifier=…&usersig=…
//	{"To_Account":["bob"],"IsNeedDetail":1}  →  {"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"QueryResult":[…]}
//	POST /v4/openim/querystate                  the same before 2021, with other names
//	POST /v4/im_open_login_svc/kick             {"UserID":"bob"}
//
//	POST URL?SdkAppid=…&CallbackCommand=State.StateChange&contenttype=json&ClientIP=…&OptPlatform=…
//	{"CallbackCommand":"State.StateChange","Info":{"Action":"Login","To_Account":"bob","Reason":"Register"}}
//
// Every answer of the door has HTTP status 200; what went wrong is in its
// ErrorCode. Who may call is proved by a UserSig of an administrator
// (usersig.go).
//
// It delivers nothing (package webhook does) and keeps nothing: it tells what
// others may see, so a user who is invisible has left here.
package tencentim
