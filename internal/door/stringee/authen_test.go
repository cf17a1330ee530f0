package stringee

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

func mappings(n int, name, to string) any {
	list := make([]map[string]string, n)
	for i := range list {
		list[i] = map[string]string{"attribute": fmt.Sprintf("%s%d", name, i), "topic": to}
	}
	return list
}

// Every code of an authen, and each limit of a token from both sides.
func TestAuthenCodes(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, row := range map[string]struct {
		claims map[string]any
		code   int
	}{
		"good":                 {map[string]any{"userId": "bob"}, 0},
		"no subscribe":         {map[string]any{"userId": "bob", "attributes": mappings(1, "a", "t")}, 0},
		"of a call centre":     {map[string]any{"userId": "bob", "icc_api": true}, 0},
		"rest_api false":       {map[string]any{"userId": "bob", "rest_api": false}, 0},
		"no jti":               {map[string]any{"userId": "bob", "jti": nil}, 0},
		"expired":              {map[string]any{"userId": "bob", "exp": 946684800}, 6},
		"no exp":               {map[string]any{"userId": "bob", "exp": nil}, 7},
		"exp is a text":        {map[string]any{"userId": "bob", "exp": "1"}, 7},
		"unknown SID":          {map[string]any{"userId": "bob", "iss": "SK.x"}, 5},
		"no SID":               {map[string]any{"userId": "bob", "iss": nil}, 5},
		"another app's SID":    {map[string]any{"userId": "bob", "iss": "SK.0.other"}, 6},
		"no user":              {map[string]any{}, 7},
		"empty user":           {map[string]any{"userId": ""}, 7},
		"user is a number":     {map[string]any{"userId": 7}, 7},
		"longest user":         {map[string]any{"userId": long(128)}, 0},
		"user too long":        {map[string]any{"userId": long(129)}, 7},
		"a control character":  {map[string]any{"userId": "a\x01"}, 7},
		"a REST token":         {map[string]any{"rest_api": true}, 7},
		"REST and user":        {map[string]any{"rest_api": true, "userId": "bob"}, 7},
		"rest_api is a text":   {map[string]any{"rest_api": "true", "userId": "bob"}, 7},
		"subscribe is a list":  {map[string]any{"userId": "bob", "subscribe": []string{"a"}}, 7},
		"empty topics":         {map[string]any{"userId": "bob", "subscribe": " , ,,"}, 0},
		"most topics":          {map[string]any{"userId": "bob", "subscribe": many(100, func(i int) string { return fmt.Sprint(i) })}, 0},
		"too many topics":      {map[string]any{"userId": "bob", "subscribe": many(101, func(i int) string { return fmt.Sprint(i) })}, 7},
		"longest topic":        {map[string]any{"userId": "bob", "subscribe": long(256)}, 0},
		"topic too long":       {map[string]any{"userId": "bob", "subscribe": long(257)}, 7},
		"most mappings":        {map[string]any{"userId": "bob", "attributes": mappings(100, "a", "t")}, 0},
		"too many mappings":    {map[string]any{"userId": "bob", "attributes": mappings(101, "a", "t")}, 7},
		"longest attribute":    {map[string]any{"userId": "bob", "attributes": mappings(1, long(63), "t")}, 0},
		"attribute too long":   {map[string]any{"userId": "bob", "attributes": mappings(1, long(64), "t")}, 7},
		"mapping without name": {map[string]any{"userId": "bob", "attributes": []map[string]string{{"topic": "t"}}}, 7},
		"mapping to no topic":  {map[string]any{"userId": "bob", "attributes": []map[string]string{{"attribute": "a"}}}, 7},
		"mapping to too long":  {map[string]any{"userId": "bob", "attributes": mappings(1, "a", long(257))}, 7},
		"attributes an object": {map[string]any{"userId": "bob", "attributes": map[string]string{"a": "t"}}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
				p := n.open()
				got := p.hello(n.sign(row.claims), "web-b")
				if !strings.HasPrefix(got, fmt.Sprintf(`{"service":2,"body":{"requestId":1,"r":%d,`, row.code)) {
					t.Errorf("got %s, want r %d", got, row.code)
				}
				if row.code == 0 {
					p.stands()
					return
				}
				if code := p.ended(); code != closeRefused {
					t.Errorf("ended with %d", code)
				}
				if l := n.Tracker.Sessions(user("bob")); len(l) > 0 {
					t.Errorf("left %v", l)
				}
			})
		})
	}
}

// The codes that tell of a token's form, and cty with and without strict_cty.
func TestTokenForms(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		claims := map[string]any{"iss": testSID, "exp": time.Now().Add(time.Hour).Unix(), "userId": "bob"}
		signed := func(header map[string]any, app App) string {
			claims["iss"] = app.SID
			raw, err := token.SignVendor(header, claims, []byte(app.Secret))
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		lax, strict := testApps()[0], testApps()[1]
		good := signed(map[string]any{"cty": contentType}, lax)
		for name, row := range map[string]struct {
			raw  string
			code int
		}{
			"empty": {"", codeEmpty}, "no JWT": {"x", codeForm}, "two parts": {"a.b", codeForm}, "not JSON": {"a.b.c", codeUndecoded},
			"wrong cty": {signed(map[string]any{"cty": "stringee-api;v=2"}, lax), codeForm}, "cty is a number": {signed(map[string]any{"cty": 1}, lax), codeForm},
			"no cty": {signed(nil, lax), codeOK}, "no cty, strict": {signed(nil, strict), codeForm}, "cty, strict": {signed(map[string]any{"cty": contentType}, strict), codeOK},
			"alg": {signed(map[string]any{"alg": "HS512"}, lax), codeAlgorithm}, "altered": {good[:len(good)-4] + "AAAA", codeExpired},
			"with space": {" " + good, codeForm},
		} {
			b, no := n.door.bear(row.raw, time.Now())
			if code := codeOf2(no); code != row.code || no == nil && b.access.User != "bob" {
				t.Errorf("%s: got %d (%v), want %d", name, code, no, row.code)
			}
			if no != nil && len(row.raw) > 20 && strings.Contains(no.message, row.raw[10:20]) {
				t.Errorf("%s: the message holds the token: %s", name, no.message)
			}
		}
	})
}

func codeOf2(no *refusal) int {
	if no == nil {
		return codeOK
	}
	return no.code
}

// An app that is taken out of the configuration, and tokens that were revoked:
// without iat the time that ends jti counts.
func TestVoidTokens(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		r := func(claims map[string]any) string {
			claims["userId"] = "bob"
			got := n.open().hello(n.sign(claims), "")
			_, got, _ = strings.Cut(got, `"r":`)
			got, _, _ = strings.Cut(got, ",")
			return got
		}
		was := time.Now().Unix()
		standing := n.connect(n.sign(map[string]any{"userId": "bob", "iat": was}), "web-b")
		doortest.Elapse(2 * time.Second)
		if _, err := n.Revocations.Revoke(t.Context(), user("bob")); err != nil {
			t.Fatal(err)
		}
		doortest.Elapse(2 * time.Second)
		now := time.Now().Unix()
		for name, row := range map[string]struct {
			claims map[string]any
			want   string
		}{
			"before":                {map[string]any{"iat": was}, "6"},
			"after":                 {map[string]any{"iat": now}, "0"},
			"jti before":            {map[string]any{"jti": fmt.Sprintf("%s-%d", testSID, was)}, "6"},
			"jti after":             {map[string]any{"jti": fmt.Sprintf("%s-%d", testSID, now)}, "0"},
			"jti after, with _":     {map[string]any{"jti": fmt.Sprintf("%s_%d", testSID, now)}, "0"},
			"jti after, in ms":      {map[string]any{"jti": fmt.Sprintf("%s-%d000", testSID, now)}, "0"},
			"jti says nothing":      {map[string]any{"jti": "x"}, "6"},
			"jti of the far future": {map[string]any{"jti": fmt.Sprintf("%s-%d", testSID, now+3600)}, "6"},
			"iat goes before jti":   {map[string]any{"iat": was, "jti": fmt.Sprintf("%s-%d", testSID, now)}, "6"},
		} {
			if got := r(row.claims); got != row.want {
				t.Errorf("%s: r %s, want %s", name, got, row.want)
			}
		}
		if got := standing.ask(`{"service":103,"body":{"attribute":"x","value":1,"requestId":2}}`); !strings.Contains(got, `"r":6`) {
			t.Errorf("a change with a revoked token: %s", got)
		}
		n.Tracker.SetPolicies(map[presence.AppID]tracker.Policy{doortest.Other: {}})
		if got := r(map[string]any{"iat": now}); got != "8" {
			t.Errorf("of an app that is not served: r %s, want 8", got)
		}
		if code, body := n.call("GET", "/v1/users", ""); code != 401 || !strings.Contains(body, `"r":8`) {
			t.Errorf("REST of an app that is not served: %d %s", code, body)
		}
		n.door.SetApps(nil)
		if got := r(map[string]any{"iat": now}); got != "5" {
			t.Errorf("without its key: r %s, want 5", got)
		}
	})
}

// A token that expires ends nothing: the client brings a fresh one when it comes
// again, and it can at no other time.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		raw := n.sign(map[string]any{"userId": "bob", "exp": time.Now().Add(10 * time.Second).Unix()})
		p := n.connect(raw, "web-b")
		doortest.Elapse(11 * time.Second)
		if got := p.ask(`{"service":103,"body":{"attribute":"x","value":1,"requestId":2}}`); !strings.Contains(got, `"r":0`) {
			t.Errorf("got %s", got)
		}
		if got := n.open().hello(raw, "web-b"); !strings.Contains(got, `"r":6`) {
			t.Errorf("got %s", got)
		}
		p.stands()
	})
}

// Whatever a key's owner signs is a bearer within the limits, or refused with a code.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{`{"iss":"SK.0.tests","exp":4102444800,"userId":"bob","subscribe":"a, b,","attributes":[{"attribute":"x","topic":"t"}]}`, `{"rest_api":true,"jti":"SK-1554197947"}`} {
		f.Add([]byte(s))
	}
	d := &Door{}
	d.SetApps(testApps())
	f.Fuzz(func(t *testing.T, b []byte) {
		var claims map[string]any
		if json.Unmarshal(b, &claims) != nil || claims == nil {
			return
		}
		raw, err := token.SignVendor(nil, claims, []byte(testSecret))
		if err != nil {
			return
		}
		got, no := d.bear(raw, time.Unix(1_500_000_000, 0))
		switch {
		case no != nil && (no.code < codeEmpty || no.code > codeProject || no.message == ""):
			t.Errorf("%q: %d %s", b, no.code, no.message)
		case no == nil && !got.rest && (!presence.ValidUserID(string(got.access.User)) || len(got.topics) > 100 || len(got.mapping) > 100):
			t.Errorf("%q: %+v", b, got)
		}
	})
}
