package rongcloud

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mostNonce is one more than the largest nonce, which has at most 18 characters.
const mostNonce = 1_000_000_000_000_000_000

func newNonce() string { return strconv.FormatUint(rand.Uint64N(mostNonce), 10) }

// parameters are the names that are put on an address, in their order.
func (c *Callback) parameters() []string {
	if c.cfg.Style == StyleSignTimestamp {
		return []string{"signTimestamp", "nonce", "signature"}
	}
	return []string{"appKey", "timestamp", "nonce", "signature"}
}

// signedURL puts the signature of an attempt on the address, which stays as it is
// to the last byte. The order is the document's: url.Values would sort it.
func (c *Callback) signedURL(address, nonce string, at time.Time) string {
	address, _, _ = strings.Cut(address, "#")
	var b strings.Builder
	b.WriteString(address)
	switch {
	case !strings.Contains(address, "?"):
		b.WriteByte('?')
	case !strings.HasSuffix(address, "?") && !strings.HasSuffix(address, "&"):
		b.WriteByte('&')
	}
	timestamp := strconv.FormatInt(at.UnixMilli(), 10)
	if c.cfg.Style == StyleSignTimestamp {
		b.WriteString("signTimestamp=" + timestamp)
	} else {
		b.WriteString("appKey=" + url.QueryEscape(c.cfg.Key) + "&timestamp=" + timestamp)
	}
	b.WriteString("&nonce=" + nonce + "&signature=" + Signature(c.cfg.Secret, nonce, timestamp))
	return b.String()
}

// checkURL says what is wrong with the address of an endpoint. It repeats nothing
// of it but our own names.
func checkURL(address string, taken []string) error {
	address, _, _ = strings.Cut(address, "#")
	_, query, _ := strings.Cut(address, "?")
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if slices.Contains(taken, name) {
			return fmt.Errorf("its query already has %s, which the signature puts there; leave it out", name)
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("it is not a URL")
	}
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	if _, rest, _ := strings.Cut(address, "//"); strings.ContainsFunc(query, odd) || !strings.HasSuffix(rest, strings.TrimPrefix(u.RequestURI(), "/")) {
		return errors.New("it has characters that are not sent as they are; write them percent-encoded")
	}
	return nil
}
