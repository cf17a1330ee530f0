package receiver

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// tolerance is how far a signed time may be from the own clock: what
// standardwebhooks.com proposes.
const tolerance = 5 * time.Minute

const signingPrefix = "whsec_"

// signingKey is what a secret of Standard Webhooks stands for.
func signingKey(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(secret), signingPrefix)
	if !ok {
		return nil, errors.New("a secret of this format begins with whsec_, as in apps.NAME.webhooks.NAME.secrets")
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("what follows whsec_ is not base64; take the secret from the configuration as it stands")
	}
	return key, nil
}

// The headers of Standard Webhooks.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// checkStandard checks a signature of Standard Webhooks.
func (r *Receiver) checkStandard(req *http.Request, body []byte) (verdict, why string) {
	id, stamp, given := req.Header.Get(headerID), req.Header.Get(headerTimestamp), req.Header.Get(headerSignature)
	var missing []string
	for name, value := range map[string]string{headerID: id, headerTimestamp: stamp, headerSignature: given} {
		if value == "" {
			missing = append(missing, strings.ToLower(name))
		}
	}
	switch {
	case len(r.cfg.Secrets) == 0:
		return SignatureUnchecked, ""
	case len(missing) == 3:
		return SignatureWrong, "there is no signature: none of webhook-id, webhook-timestamp and webhook-signature is there. Does the sender's endpoint have another format? Then give --format"
	case len(missing) > 0:
		return SignatureWrong, "a header is missing: " + strings.Join(missing, ", ")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return SignatureWrong, fmt.Sprintf("webhook-timestamp is %.32q; it must be the seconds since 1970", stamp)
	}
	if !r.signed(body, stamped{id, stamp, given}) {
		return SignatureWrong, r.whyWrong(body, stamped{id, stamp, given})
	}
	if off := time.Since(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
		return SignatureWrong, fmt.Sprintf("the signature is right, but its time is %s off this clock, and more than %s is refused: a request that somebody kept, or a clock that is wrong", off.Round(time.Second), tolerance)
	}
	return SignatureGood, ""
}

// stamped is what a request says of its signature.
type stamped struct{ id, stamp, given string }

// signed reports whether any secret made any of the signatures.
func (r *Receiver) signed(body []byte, s stamped) bool {
	for _, secret := range r.cfg.Secrets {
		if key, err := signingKey(secret); err == nil && s.by(key, body) {
			return true
		}
	}
	return false
}

// by reports whether key made one of the signatures: a space stands between
// several, and each is "v1," and base64.
func (s stamped) by(key, body []byte) bool {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", s.id, s.stamp)
	mac.Write(body)
	want := mac.Sum(nil)
	for one := range strings.FieldsSeq(s.given) {
		text, ok := strings.CutPrefix(one, "v1,")
		got, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	return false
}

// whyWrong looks for the mistakes that people make.
func (r *Receiver) whyWrong(body []byte, s stamped) string {
	if !strings.Contains(s.given, "v1,") {
		return "webhook-signature has no v1 signature (v1,BASE64)"
	}
	for _, secret := range r.cfg.Secrets {
		text := strings.TrimPrefix(secret, signingPrefix)
		if s.by([]byte(secret), body) || s.by([]byte(text), body) {
			return "it is signed with the secret's text; the key is what the base64 after whsec_ stands for"
		}
		for _, c := range changed(body) {
			if key, err := signingKey(secret); err == nil && s.by(key, c.body) {
				return "the secret is right, but the body was changed on the way: " + c.how
			}
		}
	}
	return "another secret signed it, or the body was changed on the way. Compare --secret with apps.NAME.webhooks.NAME.secrets of the server (porchlight dev prints its own)"
}

// change is what may have been done to a body, and what it was before.
type change struct {
	how  string
	body []byte
}

func changed(body []byte) []change {
	all := []change{
		{"a line end was put after it", bytes.TrimRight(body, "\r\n")},
		{"its last line end is gone", append(bytes.Clone(body), '\n')},
	}
	var compact bytes.Buffer
	if json.Compact(&compact, body) == nil {
		all = append(all, change{"its JSON was written anew; sign and check the bytes as they came", compact.Bytes()})
	}
	return all
}
