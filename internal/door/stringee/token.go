package stringee

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// contentType is the header cty of tokens.
const contentType = "stringee-api;v=1"

// claims are the payload of a token, of either kind.
type claims struct {
	JTI     string          `json:"jti"` // only logged, and see issued
	Exp     json.RawMessage `json:"exp"`
	Iat     json.RawMessage `json:"iat"`
	REST    bool            `json:"rest_api"`
	User    string          `json:"userId"`
	Topics  string          `json:"subscribe"`
	Publish []mapping       `json:"attributes"`
}

// mapping is where an attribute is published.
type mapping struct {
	Attribute string `json:"attribute"`
	Topic     string `json:"topic"`
}

// bearer is what a token says that is good.
type bearer struct {
	app     *served
	rest    bool
	access  token.Access // of a client; User is "" for a server
	topics  []string
	mapping []topic.Mapping
}

// bear checks a token of either kind.
func (d *Door) bear(raw string, now time.Time) (*bearer, *refusal) {
	if raw == "" {
		return nil, refuse(codeEmpty, "the access token is empty")
	}
	apps := d.apps.Load()
	v, err := token.OpenVendor(raw, func(sid string) []byte {
		if a := apps.bySID[sid]; a != nil {
			return []byte(a.Secret)
		}
		return nil
	})
	if err != nil {
		return nil, refuse(codeOfToken(err), "%s", err)
	}
	b := &bearer{app: apps.bySID[v.Issuer]}
	switch cty, ok := v.Header["cty"]; {
	case ok && cty != contentType, !ok && b.app.StrictCty:
		return nil, refuse(codeForm, "the header cty of the token must be %q", contentType)
	}
	var c claims
	if err := json.Unmarshal(v.Claims, &c); err != nil {
		return nil, refuse(codePayload, "the token's payload is invalid: %s", mismatch(err))
	}
	expires, ok := token.VendorTime(c.Exp)
	switch {
	case !ok:
		return nil, refuse(codePayload, "the token's exp is not a time in seconds since 1970")
	case !now.Before(expires):
		return nil, refuse(codeExpired, "the token has expired")
	}
	b.rest = c.REST
	b.access = token.Access{App: b.app.App.App, Expires: expires, IssuedAt: c.issued(now)}
	if b.rest {
		return b, nil
	}
	return b, b.client(&c)
}

// codeOfToken is the code of each way in which a token is none.
func codeOfToken(err error) int {
	switch {
	case errors.Is(err, token.ErrForm):
		return codeForm
	case errors.Is(err, token.ErrDecode):
		return codeUndecoded
	case errors.Is(err, token.ErrAlgorithm):
		return codeAlgorithm
	case errors.Is(err, token.ErrIssuer):
		return codeKey
	}
	return codeExpired
}

// mismatch says what is wrong with JSON, without its contents.
func mismatch(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		kind, _, _ := strings.Cut(wrong.Value, " ")
		return fmt.Sprintf("%s must not be of the kind %s", wrong.Field, kind)
	}
	return "it is not JSON of the form that is documented"
}

// client reads what a client's token says beyond that of a server.
func (b *bearer) client(c *claims) *refusal {
	if !presence.ValidUserID(c.User) || strings.ContainsRune(c.User, '\uFFFD') {
		return refuse(codePayload, "the token's userId must be 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
	}
	b.access.User = presence.UserID(c.User)
	for t := range strings.SplitSeq(c.Topics, ",") {
		if t = strings.TrimSpace(t); t != "" {
			b.topics = append(b.topics, t)
		}
	}
	for _, m := range c.Publish {
		b.mapping = append(b.mapping, topic.Mapping{Attribute: m.Attribute, Topic: m.Topic})
	}
	err := topic.CheckTopics("subscribe", b.topics)
	if err == nil {
		err = topic.CheckMap("attributes", b.mapping)
	}
	if err != nil {
		return refuse(codePayload, "the token's %s", ruleOf(err))
	}
	return nil
}

// leastTime is 1973 in seconds; a thousand times that is 1973 in milliseconds, and
// more seconds than anybody means.
const leastTime = 100_000_000

// issued is when the token was made: iat where there is one. The official samples
// have none, but end jti with the time; without it a user whose tokens were revoked
// once could never come again. Zero: it does not say.
func (c *claims) issued(now time.Time) time.Time {
	at, ok := token.VendorTime(c.Iat)
	if !ok {
		digits := c.JTI[strings.LastIndexAny(c.JTI, "-_")+1:]
		n, err := strconv.ParseInt(digits, 10, 64)
		switch {
		case err != nil || n < leastTime:
			return time.Time{}
		case n < leastTime*1000:
			at = time.Unix(n, 0)
		default:
			at = time.UnixMilli(n)
		}
	}
	if at.After(now.Add(token.Leeway)) {
		return time.Time{} // nobody made it later than now
	}
	return at
}
