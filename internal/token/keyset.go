package token

import (
	"bytes"
	"sync/atomic"
)

// held is a key that a Verifier or a Published set holds. It is compared by its
// address: a remembered token is good as long as the key that signed it is.
type held struct {
	id        string
	algorithm string
	// material is what the JWT library takes. It is a func because a func prints
	// as an address: with some verbs fmt follows pointers and would print secrets.
	material func() any
	// gone is set when the issuer no longer publishes the key.
	gone atomic.Bool
	// from is where the key was published; nil: it stands in the configuration.
	from *Published
}

func hold(k Key) *held {
	h := &held{id: k.ID, algorithm: k.Algorithm()}
	if k.Public != nil {
		public := k.Public
		h.material = func() any { return public }
		return h
	}
	secret := bytes.Clone(k.Secret)
	h.material = func() any { return secret }
	return h
}

// trusted reports whether what the key signed is good now.
func (h *held) trusted() bool {
	return !h.gone.Load() && (h.from == nil || h.from.usable())
}

// keyset is the keys of an issuer. It is never changed.
type keyset []*held

// with lists the keys that have an id. An issuer may publish two under one id,
// of different kinds (RFC 7517 §4.5).
func (k keyset) with(id string) (list keyset) {
	if id == "" {
		return nil
	}
	for _, h := range k {
		if h.id == id {
			list = append(list, h)
		}
	}
	return list
}

// of lists the keys of an algorithm.
func (k keyset) of(algorithm string) (list keyset) {
	for _, h := range k {
		if h.algorithm == algorithm {
			list = append(list, h)
		}
	}
	return list
}
