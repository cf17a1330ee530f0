package receiver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// sign makes the headers of Standard Webhooks.
func sign(key []byte, id string, at time.Time, body string) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	return http.Header{headerID: {id}, headerTimestamp: {stamp}, headerSignature: {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))}}
}

func mustKey(t *testing.T, s string) []byte {
	t.Helper()
	k, err := signingKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The vector that standardwebhooks.com gives is taken, but for its age.
func TestStandardVector(t *testing.T) {
	t.Parallel()
	g := newRig(t, Config{Secrets: []string{secret}})
	got, _ := g.post("/", `{"test": 2432232314}`, http.Header{
		headerID: {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, headerTimestamp: {"1614265330"}, headerSignature: {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	})
	if got.Signature != SignatureWrong || !strings.Contains(got.Problem, "the signature is right, but its time is") {
		t.Errorf("got %s: %s", got.Signature, got.Problem)
	}
}

func TestStandardSignatures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const other = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
		body := changes("alice", 1)
		key := mustKey(t, secret)
		good := sign(key, "msg_1", time.Now(), body)
		with := func(name, value string) http.Header {
			h := good.Clone()
			if value == "" {
				h.Del(name)
			} else {
				h.Set(name, value)
			}
			return h
		}
		for name, test := range map[string]struct {
			header  http.Header
			body    string
			problem string
		}{
			"good":                {good, body, ""},
			"one of two":          {with(headerSignature, "v1,AAAA "+good.Get(headerSignature)), body, ""},
			"the other secret":    {sign(mustKey(t, other), "msg_1", time.Now(), body), body, ""},
			"4 minutes ago":       {sign(key, "msg_1", time.Now().Add(-4*time.Minute), body), body, ""},
			"none":                {http.Header{}, body, "there is no signature"},
			"no id":               {with(headerID, ""), body, "a header is missing: webhook-id"},
			"no time":             {with(headerTimestamp, ""), body, "a header is missing: webhook-timestamp"},
			"a time in words":     {with(headerTimestamp, "now"), body, "seconds since 1970"},
			"another id":          {with(headerID, "msg_2"), body, "another secret signed it"},
			"another version":     {with(headerSignature, "v2,AAAA"), body, "no v1 signature"},
			"6 minutes ago":       {sign(key, "msg_1", time.Now().Add(-6*time.Minute), body), body, "is 6m0s off this clock"},
			"in 6 minutes":        {sign(key, "msg_1", time.Now().Add(6*time.Minute), body), body, "is -6m0s off this clock"},
			"a stranger's secret": {sign([]byte("x"), "msg_1", time.Now(), body), body, "another secret signed it"},
			"the secret as text":  {sign([]byte(secret), "msg_1", time.Now(), body), body, "signed with the secret's text"},
			"without the prefix":  {sign([]byte(secret[6:]), "msg_1", time.Now(), body), body, "signed with the secret's text"},
			"a line end too much": {good, body + "\r\n", "a line end was put after it"},
			"a line end too few":  {sign(key, "msg_1", time.Now(), body+"\n"), body, "its last line end is gone"},
			"written anew":        {good, strings.ReplaceAll(body, ",", ", "), "its JSON was written anew"},
			"another body":        {good, changes("mallory", 1), "the body was changed on the way"},
		} {
			got, w := newRig(t, Config{Secrets: []string{secret, other}}).post("/hook", test.body, test.header)
			switch {
			case test.problem == "" && (got.Signature != SignatureGood || got.Problem != "" || w.Code != 200 || len(got.Events) != 1):
				t.Errorf("%s: got %+v, want it good", name, got)
			case test.problem != "" && (got.Signature != SignatureWrong || !strings.Contains(got.Problem, test.problem) || w.Code != 401):
				t.Errorf("%s: got %s %q, answered %d; want %q", name, got.Signature, got.Problem, w.Code, test.problem)
			}
			if strings.Contains(got.Problem, secret[6:]) {
				t.Errorf("%s: shows the secret", name)
			}
		}
		if got, _ := newRig(t, Config{}).post("/", body, http.Header{}); got.Signature != SignatureUnchecked || len(got.Events) != 1 {
			t.Errorf("without a secret: got %+v", got)
		}
	})
}

// The vectors of docs.rongcloud.cn/im/server/signature and of our own note.
func TestRongCloudSignatures(t *testing.T) {
	t.Parallel()
	const body = `[{"userid":"apert60541","status":"1","os":"iOS","time":1437982625625,"clientIp":"172.20.10.94:41748","sessionId":"0O6Bvfvik_L9R_NxR6GqQb"}]`
	query := func(signature string) string {
		return "/online_status.php?appKey=plAppKey01&timestamp=1767225600123&nonce=48213&signature=" + signature
	}
	for name, test := range map[string]struct{ target, secret, problem string }{
		"published":         {"/?appKey=k&timestamp=1408710653000&nonce=14314&signature=30be0bbca9c9b2e27578701e9fda2358a814c88f", "Y1W2MeFwwwRxa0", ""},
		"ours":              {query("6e0c16b78d2e327e60f71b619ce2534c38f560da"), "plSecret-7hQ2", ""},
		"of before 2021":    {"/?signTimestamp=1767225600123&nonce=48213&signature=6e0c16b78d2e327e60f71b619ce2534c38f560da", "plSecret-7hQ2", ""},
		"the app key":       {query("2b30352c114da875ae167b7a7068a0ec55a861df"), "plSecret-7hQ2", "the app key was hashed"},
		"secret last":       {query("9d590c095385f0af3a59deac40cb0a297d4ae257"), "plSecret-7hQ2", "the secret came last"},
		"capitals":          {query("6E0C16B78D2E327E60F71B619CE2534C38F560DA"), "plSecret-7hQ2", "in capitals"},
		"another secret":    {query("6e0c16b78d2e327e60f71b619ce2534c38f560da"), "other", "another secret signed it"},
		"no nonce":          {"/?timestamp=1&signature=x", "s", "missing in the URL: nonce"},
		"nothing":           {"/", "s", "missing in the URL: timestamp, nonce, signature"},
		"not to be checked": {"/", "", ""},
	} {
		cfg := Config{Format: RongCloud}
		want := SignatureUnchecked
		if test.secret != "" {
			cfg.Secrets, want = []string{test.secret}, SignatureGood
		}
		got, w := newRig(t, cfg).post(test.target, body, nil)
		if test.problem != "" {
			want = SignatureWrong
		}
		if got.Signature != want || !strings.Contains(got.Problem, test.problem) || test.problem == "" && (got.Problem != "" || w.Code != 200) {
			t.Errorf("%s: got %s %q, answered %d; want %s %q", name, got.Signature, got.Problem, w.Code, want, test.problem)
		}
		if e := got.Events[0]; e.User != "apert60541" || e.Kind != "offline" || e.At.UnixMilli() != 1437982625625 || !strings.Contains(e.Text, "iOS, 172.20.10.94:41748, session 0O6B") {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}

func TestTencentIMSignatures(t *testing.T) {
	t.Parallel()
	const body = `{"CallbackCommand":"State.StateChange","EventTime":1629883332497,"Info":{"Action":"Login","To_Account":"testuser316","Reason":"Register"},"KickedDevice":[{"Platform":"Windows"}]}`
	const at = "/?SdkAppid=888888&CallbackCommand=State.StateChange&contenttype=json&ClientIP=127.0.0.1&OptPlatform=IOS"
	now := strconv.FormatInt(time.Now().Unix(), 10)
	for name, test := range map[string]struct{ more, token, problem string }{
		"good":          {"&Sign=" + sha256Hex("plCallbackToken1", now) + "&RequestTime=" + now, "plCallbackToken1", ""},
		"published":     {"&Sign=17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061&RequestTime=1669872112", "xxxxyyyy", "the signature is right, but its time"},
		"another token": {"&Sign=17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061&RequestTime=1669872112", "xxxyyy", "another token signed it"},
		"token last":    {"&Sign=" + sha256Hex("1669872112", "t") + "&RequestTime=1669872112", "t", "the token came last"},
		"none":          {"", "t", "Sign and RequestTime are missing"},
		"a bad time":    {"&Sign=x&RequestTime=now", "t", "seconds since 1970"},
		"unchecked":     {"", "", ""},
	} {
		cfg := Config{Format: TencentIM}
		if test.token != "" {
			cfg.Secrets = []string{test.token}
		}
		got, w := newRig(t, cfg).post(at+test.more, body, nil)
		if (got.Signature == SignatureWrong) != (test.problem != "") || !strings.Contains(got.Problem, test.problem) || test.problem == "" && got.Problem != "" {
			t.Errorf("%s: got %s %q, want %q", name, got.Signature, got.Problem, test.problem)
		}
		if test.problem == "" && strings.TrimSpace(w.Body.String()) != `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}` {
			t.Errorf("%s: answered %s", name, w.Body)
		}
		if e := got.Events[0]; e.User != "testuser316" || e.Kind != "Login" || e.At.UnixMilli() != 1629883332497 || e.Text != "Register, IOS, 127.0.0.1, sdkappid 888888, kicked Windows" {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}
