// Package receiver is the other end of a webhook, for development: it takes
// requests of every format that Porchlight speaks, checks their signatures as a
// careful backend would, says in words what is wrong with one, reads the events
// and notices repeats, gaps and wrong order. It can answer badly on purpose, so
// that one sees what the server makes of it.
//
// It is not part of a node, keeps nothing, and knows the formats from their
// documents alone (docs/interfaces/webhooks.md, rongcloud.md, tencentim.md): no
// code is shared with what sends, or a mistake there would be repeated here.
package receiver
