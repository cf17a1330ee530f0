package token

import (
	"crypto/rand"
)

// A note on the wire is sealed as a session token is, with its purpose bound to it
// in place of the session tokens' context, so that neither opens as the other.
const (
	noteContext = "porchlight/note/v1/"
	// MaxNote is the longest sealed note that is looked at, in characters.
	MaxNote = 3 << 10
)

// SealNote returns content sealed with the newest key, URL-safe and different at
// each call: something that one of our pages hands out and wants back unread and
// unaltered. It opens for the same purpose only.
func (r *Ring) SealNote(purpose string, content []byte) string {
	k := r.keys[0]
	b := make([]byte, len(k.header)+nonceSize, len(k.header)+nonceSize+len(content)+k.aead.Overhead())
	nonce := b[copy(b, k.header):]
	rand.Read(nonce) // never fails
	return r.text.EncodeToString(k.aead.Seal(b, nonce, content, k.boundTo(purpose)))
}

// OpenNote returns the content of a note that was sealed for the purpose. Of
// anything else it says no more than that it is not one.
func (r *Ring) OpenNote(purpose, note string) (content []byte, ok bool) {
	if len(note) > MaxNote {
		return nil, false
	}
	b, err := r.text.DecodeString(note)
	if err != nil || r.text.EncodedLen(len(b)) != len(note) {
		return nil, false
	}
	k := r.find(b)
	if k == nil {
		return nil, false
	}
	at := len(k.header) + nonceSize
	content, err = k.aead.Open(nil, b[len(k.header):at], b[at:], k.boundTo(purpose))
	return content, err == nil
}

// boundTo is the associated data of a note.
func (k *ringKey) boundTo(purpose string) []byte {
	return append([]byte(noteContext+purpose+"\x00"), k.header...)
}
