package rongcloud

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
)

// Signature is what both directions are signed with: the SHA-1 of the app's
// secret, a nonce and a time, one after the other, in lower-case hex. It is a
// plain hash and covers neither address nor body; the interface wants it so.
// Nonce and time are texts: they are never read and printed again.
func Signature(secret, nonce, timestamp string) string {
	sum := sha1.Sum([]byte(secret + nonce + timestamp))
	return hex.EncodeToString(sum[:])
}

// signed reports whether signature is the right one, in a time that does not
// tell how much of it is right.
func signed(secret, nonce, timestamp, signature string) bool {
	return subtle.ConstantTimeCompare([]byte(Signature(secret, nonce, timestamp)), []byte(signature)) == 1
}
