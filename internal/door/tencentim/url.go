package tencentim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// parameters are the names that are put on an address; the last two only with a
// token.
var parameters = []string{"SdkAppid", "CallbackCommand", "contenttype", "ClientIP", "OptPlatform", "Sign", "RequestTime"}

// Sign is the signature of a request's time: the SHA-256 of the token and the
// time in seconds, one after the other, in lower-case hex. It covers nothing else;
// the interface wants it so.
func Sign(token, requestTime string) string {
	sum := sha256.Sum256([]byte(token + requestTime))
	return hex.EncodeToString(sum[:])
}

// signedURL puts the parameters of an event on the address, which stays as it is
// to the last byte, in the document's order: url.Values would sort them.
func (c *Callback) signedURL(address string, e *webhook.Event, at time.Time) string {
	address, _, _ = strings.Cut(address, "#")
	var b strings.Builder
	b.WriteString(address)
	switch {
	case !strings.Contains(address, "?"):
		b.WriteByte('?')
	case !strings.HasSuffix(address, "?") && !strings.HasSuffix(address, "&"):
		b.WriteByte('&')
	}
	device := &e.Session.Device
	fmt.Fprintf(&b, "SdkAppid=%d&CallbackCommand=%s&contenttype=json&ClientIP=%s&OptPlatform=%s",
		c.cfg.ID, commandName, clientIP(device.Addr), optPlatform(device, e.Reason, c.later()))
	if c.cfg.Token != "" {
		seconds := strconv.FormatInt(at.Unix(), 10)
		b.WriteString("&Sign=" + Sign(c.cfg.Token, seconds) + "&RequestTime=" + seconds)
	}
	return b.String()
}

// clientIP is an address without its port; "" where none is known, such as of
// what a server says of a user.
func clientIP(addr string) string {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return ""
	}
	return at.Addr().Unmap().WithZone("").String()
}

// checkURL says what is wrong with the address of an endpoint. It repeats nothing
// of it but our own names.
func checkURL(address string) error {
	address, _, _ = strings.Cut(address, "#")
	_, query, _ := strings.Cut(address, "?")
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if slices.Contains(parameters, name) {
			return fmt.Errorf("its query already has %s, which each request puts there; leave it out", name)
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
