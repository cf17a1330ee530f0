package conformance

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/token"
)

const (
	doorsSID    = "SK.0.doors"
	doorsSecret = "an API key secret of these tests, 32 bytes"
	doorsConfig = foreignConfig + `    stringee: {key_sid: ` + doorsSID + `, key_secret: "` + doorsSecret + `", project_id: 25}
    mozpresence: {publishers: open}
    policy: {grace: 1s}
`
	accessSecret = "an access token key of these tests, 32 bytes"
)

// What a door can see of a user: the doors that know no more than two words say
// online for away.
const (
	seenOnline  = "online"
	seenAway    = "away"
	seenOffline = "offline"
)

// comer is a user at a door: he comes, may change so that others see him away, and
// goes.
type comer struct {
	name string
	come func(t *testing.T, s *server, user string) (change, leave func())
	away bool // his change is of the status; else it changes an attribute
}

// observer asks a door for a user.
type observer struct {
	name string
	see  func(t *testing.T, s *server, user string) string
	away bool // it tells away from online
}

// TestAllPairsOfDoors walks all pairs: who comes, changes and goes at one door is
// seen at the other as its document says.
func TestAllPairsOfDoors(t *testing.T) {
	t.Parallel()
	s := startConfigured(t, doorsConfig)
	for _, c := range comers() {
		for _, o := range observers() {
			t.Run(c.name+" seen at "+o.name, func(t *testing.T) {
				t.Parallel()
				user := "u-" + c.name + "-" + o.name
				sees := func(want string) {
					t.Helper()
					until(t, func() string { return o.see(t, s, user) }, want)
				}
				sees(seenOffline)
				change, leave := c.come(t, s, user)
				sees(seenOnline)
				change()
				if c.away && o.away {
					sees(seenAway)
				} else {
					sees(seenOnline)
				}
				leave()
				sees(seenOffline)
			})
		}
	}
}

func comers() []comer {
	return []comer{
		{"isonline", byClient(func(s *server) string { return s.grpc }), true},
		{"live", byClient(func(s *server) string { return "ws://" + s.http }), true},
		{"rest", byREST, true},
		{"stringee", byStringee, false},
		{"mozpresence", byMozilla, true},
	}
}

func observers() []observer {
	return []observer{
		{"isonline", queried(func(s *server) string { return s.grpc }), true},
		{"live", queried(func(s *server) string { return "ws://" + s.http }), true},
		{"rest", func(t *testing.T, s *server, user string) string {
			var p struct{ Availability string }
			answer(t, http.MethodGet, "http://"+s.http+"/api/v1/users/"+user, "Authorization", "Bearer "+foreignKey, "", &p)
			switch p.Availability {
			case "unavailable":
				return seenOffline
			case "online":
				return seenOnline
			}
			return seenAway
		}, true},
		{"rongcloud", func(t *testing.T, s *server, user string) string {
			now := fmt.Sprint(time.Now().UnixMilli())
			r := request(t, http.MethodPost, "http://"+s.http+"/user/checkOnline.json", "userId="+user)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for k, v := range map[string]string{"App-Key": rongKey, "Nonce": "1", "Timestamp": now, "Signature": rongSigned("1" + now)} {
				r.Header.Set(k, v)
			}
			var a struct{ Status string }
			read(t, r, &a)
			return map[string]string{"1": seenOnline, "0": seenOffline}[a.Status]
		}, false},
		{"tencentim", func(t *testing.T, s *server, user string) string {
			got := s.tencent(t, "openim/querystate", `{"To_Account":["`+user+`"]}`)
			if strings.Contains(got, `"State":"Online"`) {
				return seenOnline
			}
			return seenOffline // also PushOnline: not connected
		}, false},
		{"stringee", func(t *testing.T, s *server, user string) string {
			var p struct {
				R          int
				Attributes []struct {
					Attribute string
					Value     any
				}
			}
			answer(t, http.MethodGet, "http://"+s.http+"/v1/users/"+user, "X-STRINGEE-AUTH", stringeeToken(t, map[string]any{"rest_api": true}), "", &p)
			if p.R == http.StatusNotFound {
				return seenOffline
			}
			return fmt.Sprint(p.Attributes[0].Value)
		}, false},
	}
}

func queried(addr func(*server) string) func(*testing.T, *server, string) string {
	return func(t *testing.T, s *server, user string) string {
		c := goClient(t, addr(s), "watcher-"+user)
		defer c.Close()
		if strings.HasPrefix(addr(s), "ws:") { // that door answers on a session alone
			session, err := c.Open(t.Context(), client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer session.Logout(t.Context())
		}
		list, err := c.Query(t.Context(), user)
		if err != nil || len(list) != 1 {
			t.Fatalf("query: %v, %v", list, err)
		}
		if !list[0].Available {
			return seenOffline
		}
		for _, one := range list[0].Sessions {
			if one.Show != client.Online { // unavailable is busy
				return seenAway
			}
		}
		return seenOnline
	}
}

func goClient(t *testing.T, addr, user string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Addr: addr, Token: func(context.Context) (string, error) { return accessToken(t, user), nil }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func byClient(addr func(*server) string) func(*testing.T, *server, string) (func(), func()) {
	return func(t *testing.T, s *server, user string) (change, leave func()) {
		c := goClient(t, addr(s), user)
		t.Cleanup(func() { c.Close() })
		session, err := c.Open(t.Context(), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		return func() { check(session.Set(t.Context(), client.Status{Show: client.Away})) }, func() { check(session.Logout(t.Context())) }
	}
}

func byREST(t *testing.T, s *server, user string) (change, leave func()) {
	at := "http://" + s.http + "/api/v1/users/" + user + "/presence"
	say := func(method, body string) {
		t.Helper()
		answer(t, method, at, "Authorization", "Bearer "+foreignKey, body, nil)
	}
	say(http.MethodPut, `{"ttl":3600}`)
	return func() { say(http.MethodPut, `{"ttl":3600,"status":"away"}`) }, func() { say(http.MethodDelete, "") }
}

// dialed is a WebSocket whose frames are asked and answered.
type dialed struct {
	t *testing.T
	c *websocket.Conn
}

func dial(t *testing.T, address string) *dialed {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &dialed{t, c}
}

// ask sends a frame and waits for one that has a text.
func (d *dialed) ask(frame, want string) {
	d.t.Helper()
	if err := d.c.Write(d.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	for {
		_, b, err := d.c.Read(ctx)
		if err != nil {
			d.t.Fatalf("waiting for %s: %v", want, err)
		}
		if strings.Contains(string(b), want) {
			return
		}
	}
}

func byStringee(t *testing.T, s *server, user string) (change, leave func()) {
	d := dial(t, "ws://"+s.http+"/")
	d.ask(fmt.Sprintf(`{"service":2,"body":{"accesstoken":%q,"deviceId":"web-1","browserId":"b","platform":3,"sdkVersion":"2.6.0","requestId":1}}`,
		stringeeToken(t, map[string]any{"userId": user})), `"r":0`)
	return func() {
			d.ask(`{"service":103,"body":{"attribute":"mood","value":"good","requestId":2}}`, `"r":0`)
			var list struct {
				Attributes []struct {
					Name  string
					Value any
				}
			}
			answer(t, http.MethodGet, "http://"+s.http+"/api/v1/users/"+user+"/attributes", "Authorization", "Bearer "+foreignKey, "", &list)
			if got := fmt.Sprint(list.Attributes); !strings.Contains(got, "{mood good}") {
				t.Errorf("the attribute at our own door: %s", got)
			}
		}, func() {
			d.c.Close(websocket.StatusNormalClosure, "")
		}
}

func byMozilla(t *testing.T, s *server, user string) (change, leave func()) {
	d := dial(t, "ws://"+s.http+"/presence")
	say := func(status string) {
		d.ask(fmt.Sprintf(`{"email":%q,"assertion":%q,"status":%q}`, user, accessToken(t, user), status), `"result":"OK"`)
	}
	say("online")
	return func() { say("unavailable") }, func() { say("offline") }
}

// accessToken is a JWT of the app's issuer.
func accessToken(t *testing.T, user string) string {
	t.Helper()
	raw, err := token.SignVendor(nil, map[string]any{"iss": "i", "sub": user, "exp": time.Now().Add(time.Hour).Unix()}, []byte(accessSecret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func stringeeToken(t *testing.T, claims map[string]any) string {
	t.Helper()
	claims["iss"], claims["exp"] = doorsSID, time.Now().Add(time.Hour).Unix()
	raw, err := token.SignVendor(map[string]any{"cty": "stringee-api;v=1"}, claims, []byte(doorsSecret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func request(t *testing.T, method, address, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// answer makes a call with one header and reads its answer.
func answer(t *testing.T, method, address, header, value, body string, into any) {
	t.Helper()
	r := request(t, method, address, body)
	r.Header.Set(header, value)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	read(t, r, into)
}

func read(t *testing.T, r *http.Request, into any) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 400 && resp.StatusCode != http.StatusNotFound {
		t.Fatalf("%s %s: %d %s %v", r.Method, r.URL.Path, resp.StatusCode, b, err)
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatalf("%s %s: %s: %v", r.Method, r.URL.Path, b, err)
		}
	}
}

// rongSigned is RongCloud's signature of a nonce and a time.
func rongSigned(text string) string {
	sum := sha1.Sum([]byte(rongSecret + text))
	return hex.EncodeToString(sum[:])
}
