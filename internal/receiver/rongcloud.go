package receiver

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// checkRongCloud checks a callback's signature: SHA-1 of secret, nonce and
// timestamp. Nothing else is signed.
func (r *Receiver) checkRongCloud(req *http.Request) (verdict, why string) {
	q := req.URL.Query()
	nonce, given := q.Get("nonce"), q.Get("signature")
	stamp := q.Get("timestamp")
	if stamp == "" {
		stamp = q.Get("signTimestamp")
	}
	var missing []string
	for _, p := range []struct{ name, value string }{{"timestamp", stamp}, {"nonce", nonce}, {"signature", given}} {
		if p.value == "" {
			missing = append(missing, p.name)
		}
	}
	switch {
	case len(r.cfg.Secrets) == 0:
		return SignatureUnchecked, ""
	case len(missing) > 0:
		return SignatureWrong, "parameters are missing in the URL: " + strings.Join(missing, ", ") + ". Does the sender's endpoint have another format? Then give --format"
	}
	for _, secret := range r.cfg.Secrets {
		if sameText(given, sha1Hex(secret, nonce, stamp)) {
			return SignatureGood, ""
		}
	}
	for _, secret := range r.cfg.Secrets {
		switch {
		case strings.EqualFold(given, sha1Hex(secret, nonce, stamp)):
			return SignatureWrong, "the signature is right, but in capitals; it is written in small letters"
		case sameText(given, sha1Hex(nonce, stamp, secret)):
			return SignatureWrong, "the secret came last in what was hashed; the order is secret, nonce, timestamp"
		case sameText(given, sha1Hex(q.Get("appKey"), nonce, stamp)):
			return SignatureWrong, "the app key was hashed in place of the app secret"
		}
	}
	return SignatureWrong, "another secret signed it: compare --secret with apps.NAME.rongcloud.app_secret of the server"
}

func sha1Hex(parts ...string) string {
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// rongEvent is one event of RongCloud's callback.
type rongEvent struct {
	User    string `json:"userid"`
	Status  string `json:"status"`
	OS      string `json:"os"`
	Time    int64  `json:"time"`
	Address string `json:"clientIp"`
	Session string `json:"sessionId"`
}

func readRongCloud(_ url.Values, body []byte) ([]Event, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("the body is no JSON array: %w", err)
	}
	var list []Event
	for i, one := range raw {
		var e rongEvent
		if err := json.Unmarshal(one, &e); err != nil {
			return list, fmt.Errorf("event %d cannot be read: %w", i, err)
		}
		word, ok := map[string]string{"0": "online", "1": "offline", "2": "logout"}[e.Status]
		if !ok {
			return list, fmt.Errorf("event %d has status %.16q; 0, 1 and 2 are known", i, e.Status)
		}
		list = append(list, Event{
			Kind: word, User: e.User, ID: e.Session + " " + e.Status + " " + fmt.Sprint(e.Time), Raw: one,
			Text: strings.Join(present(e.OS, e.Address, "session "+e.Session), ", "), At: time.UnixMilli(e.Time).UTC(),
		})
	}
	return list, nil
}
