package receiver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// tencentTolerance is how far RequestTime may be from the own clock.
const tencentTolerance = time.Minute

// checkTencentIM checks Sign, which is there when the endpoint has a token: the
// SHA-256 of the token and the time. Nothing else is signed.
func (r *Receiver) checkTencentIM(req *http.Request) (verdict, why string) {
	q := req.URL.Query()
	stamp, given := q.Get("RequestTime"), q.Get("Sign")
	switch {
	case len(r.cfg.Secrets) == 0:
		return SignatureUnchecked, ""
	case given == "" || stamp == "":
		return SignatureWrong, "Sign and RequestTime are missing in the URL: give the sender's endpoint the same token (tencentim.token), or this receiver no --secret"
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return SignatureWrong, fmt.Sprintf("RequestTime is %.32q; it must be the seconds since 1970", stamp)
	}
	good := false
	for _, token := range r.cfg.Secrets {
		good = good || sameText(given, sha256Hex(token, stamp))
	}
	if !good {
		for _, token := range r.cfg.Secrets {
			if sameText(given, sha256Hex(stamp, token)) {
				return SignatureWrong, "the token came last in what was hashed; the order is token, RequestTime"
			}
		}
		return SignatureWrong, "another token signed it: compare --secret with tencentim.token of the server's endpoint"
	}
	if off := time.Since(time.Unix(seconds, 0)); off > tencentTolerance || off < -tencentTolerance {
		return SignatureWrong, fmt.Sprintf("the signature is right, but its time is %s off this clock, and more than %s is refused", off.Round(time.Second), tencentTolerance)
	}
	return SignatureGood, ""
}

func sha256Hex(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// tencentEvent is the body of State.StateChange.
type tencentEvent struct {
	Command string `json:"CallbackCommand"`
	Time    int64  `json:"EventTime"`
	Info    struct {
		Action string
		User   string `json:"To_Account"`
		Reason string
		Custom string `json:"CustomStatus"`
	}
	Kicked []struct{ Platform string } `json:"KickedDevice"`
}

func readTencentIM(q url.Values, body []byte) ([]Event, error) {
	var e tencentEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("the body is no JSON object: %w", err)
	}
	if e.Command != q.Get("CallbackCommand") {
		return nil, fmt.Errorf("CallbackCommand is %.40q in the URL and %.40q in the body", q.Get("CallbackCommand"), e.Command)
	}
	if q.Get("SdkAppid") == "" {
		return nil, fmt.Errorf("SdkAppid is missing in the URL; a receiver must check it")
	}
	words := present(e.Info.Reason, q.Get("OptPlatform"), q.Get("ClientIP"), "sdkappid "+q.Get("SdkAppid"))
	for _, k := range e.Kicked {
		words = append(words, "kicked "+k.Platform)
	}
	if e.Info.Custom != "" {
		words = append(words, "custom status "+strconv.Quote(e.Info.Custom))
	}
	one := Event{Kind: e.Info.Action, User: e.Info.User, Text: strings.Join(words, ", "), Raw: body}
	if e.Time != 0 {
		one.At = time.UnixMilli(e.Time).UTC()
	}
	return []Event{one}, nil
}
