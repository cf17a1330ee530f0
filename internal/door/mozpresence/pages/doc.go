// Package pages is what people see of the Mozilla Presence door in a browser:
// where a developer registers a publisher, proves its domain and gets its API key,
// and where a user lets a publisher see when he is online, lists those he let, and
// takes it back. What each sentence of the interface became is in
// docs/interfaces/mozpresence-pages.md.
//
//	GET  /myapps, POST /myapps            a developer's publishers; register one
//	GET  /myapps/ID, /myapps/ID/proof     one of them; the text that its domain must serve
//	POST /validate_app, /activate_app     its domain is fetched; key, new key, deactivate
//	GET  /ID/grant?redirect=URL&id=NAME   the question to a user (also /grant/ID), POST: his answer
//	GET  /grant, /getApps                 whom he let, as a page and as JSON
//	GET  /ID/revoke, POST                 taking it back (also /revoke/ID); GET only asks
//	GET  /login, POST /login, /logout     an access token for a login, and its end
//
// The pages are made here and have no script: they work in every browser and with
// every aid. A login is a cookie that the node's key ring sealed; nothing of it is
// kept, so every node knows it. A form carries a note that is sealed for the login,
// for what it does and for what it does it to. Nobody is sent anywhere but to the
// publisher's registered domain, and to the app's own page for signing in.
//
// The package keeps no publishers (package publisher does), and has nothing to do
// with the door's sockets.
package pages
