package tencentim

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Bounds of a UserSig: a few bytes may inflate to very many.
const (
	maxSig      = 4 << 10
	maxInflated = 16 << 10
	// latestTime is more than any time that is meant, and small enough to add two.
	latestTime = 1 << 40
)

// userSig is what a UserSig (TLSSigAPIv2) claims. It is believed after check.
type userSig struct {
	identifier string
	app        int64
	issued     int64 // seconds since 1970
	life       int64 // seconds
	userbuf    string
	sig        string
}

// sigText is the alphabet of a UserSig, which is not that of RFC 4648's URLs.
var sigText = strings.NewReplacer("*", "+", "-", "/", "_", "=")

// parseUserSig reads what a UserSig claims: replaced characters, base64, zlib,
// JSON. Libraries differ in the level of compression and the order of keys, so
// nothing is compared as text.
func parseUserSig(text string) (*userSig, bool) {
	if len(text) > maxSig {
		return nil, false
	}
	packed, err := base64.StdEncoding.DecodeString(sigText.Replace(text))
	if err != nil {
		return nil, false
	}
	in := bytes.NewReader(packed)
	z, err := zlib.NewReader(in)
	if err != nil {
		return nil, false
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxInflated+1))
	if err != nil || len(plain) > maxInflated || in.Len() > 0 {
		return nil, false
	}
	var claims struct {
		Version    string  `json:"TLS.ver"`
		Identifier *string `json:"TLS.identifier"`
		App        *int64  `json:"TLS.sdkappid"`
		Issued     *int64  `json:"TLS.time"`
		Life       *int64  `json:"TLS.expire"`
		Userbuf    string  `json:"TLS.userbuf"`
		Sig        string  `json:"TLS.sig"`
	}
	if json.Unmarshal(plain, &claims) != nil || claims.Version != "2.0" || claims.Sig == "" ||
		claims.Identifier == nil || claims.App == nil || claims.Issued == nil || claims.Life == nil {
		return nil, false
	}
	s := &userSig{*claims.Identifier, *claims.App, *claims.Issued, *claims.Life, claims.Userbuf, claims.Sig}
	if strings.Contains(s.identifier+s.userbuf, "\n") || // it could be read as another line of what is signed
		s.issued < 0 || s.issued > latestTime || s.life < 0 || s.life > latestTime {
		return nil, false
	}
	return s, true
}

// expired reports whether the UserSig's life is over; in its last second it is
// not yet.
func (s *userSig) expired(now time.Time) bool { return now.Unix() > s.issued+s.life }

// signedWith reports whether key, which is taken as text, signed the claims.
func (s *userSig) signedWith(key string) bool {
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "TLS.identifier:%s\nTLS.sdkappid:%d\nTLS.time:%d\nTLS.expire:%d\n", s.identifier, s.app, s.issued, s.life)
	if s.userbuf != "" {
		fmt.Fprintf(mac, "TLS.userbuf:%s\n", s.userbuf)
	}
	return hmac.Equal([]byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(s.sig))
}

// userSigOf checks a UserSig in the order that the interface's codes have.
func (a *App) userSigOf(text, identifier string, now time.Time) (*userSig, *refusal) {
	s, ok := parseUserSig(text)
	switch {
	case !ok:
		return nil, refuse(codeSigParse, "usersig cannot be read; it may be cut off, or not one of version 2.0")
	case s.app != a.ID:
		return nil, refuse(codeSigApp, "usersig is for another sdkappid")
	case s.identifier != identifier:
		return nil, refuse(codeSigUser, "usersig is for another identifier")
	case s.expired(now):
		return nil, refuse(codeSigExpired, "usersig has expired; make a new one")
	case !s.signedWith(a.Key):
		return nil, refuse(codeSigWrong, "usersig was signed with another key")
	}
	return s, nil
}
