package script

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"

	"github.com/porchlight-dev/porchlight/internal/config"
)

// What app demo is at RongCloud and at Tencent IM.
var (
	atRongCloud = config.RongCloud{AppKey: "plAppKey01", AppSecret: "plSecret-7hQ2"}
	atTencent   = config.TencentIM{SDKAppID: 1400000001, Key: "a key of the stories", Admins: []string{"administrator"}}
)

// call sends a request to the HTTP port and returns the body of its answer.
func (s *story) call(path, body string, header map[string]string) string {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.server.web.DialContext(ctx)
		},
	}}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://node"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// rongcloud asks for a user as a backend for RongCloud does, and prints the
// answer.
func rongcloud(s *story, st *step) []string {
	sum := sha1.Sum([]byte(string(atRongCloud.AppSecret) + "14314" + "1"))
	return []string{s.call("/user/checkOnline.json", "userId="+st.word(0), map[string]string{
		"App-Key": atRongCloud.AppKey, "Nonce": "14314", "Timestamp": "1", "Signature": hex.EncodeToString(sum[:]),
	})}
}

// tencent asks for a user as a backend for Tencent IM does, and prints his state
// and his platforms.
func tencent(s *story, st *step) []string {
	var answer struct {
		QueryResult []struct {
			Status string
			Detail []struct{ Platform, Status string }
		}
	}
	text := s.tencentCall("openim/query_online_status", `{"To_Account":["`+st.word(0)+`"],"IsNeedDetail":1}`)
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.QueryResult) != 1 {
		return []string{text}
	}
	line := answer.QueryResult[0].Status
	for _, d := range answer.QueryResult[0].Detail {
		line += fmt.Sprintf(", %s %s", d.Platform, d.Status)
	}
	return []string{line}
}

// kick is Tencent's.
func kick(s *story, st *step) []string {
	return []string{s.tencentCall("im_open_login_svc/kick", `{"UserID":"`+st.word(0)+`"}`)}
}

func (s *story) tencentCall(command, body string) string {
	sig, err := tencentyun.GenUserSig(int(atTencent.SDKAppID), string(atTencent.Key), atTencent.Admins[0], 3600)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.call(fmt.Sprintf("/v4/%s?sdkappid=%d&identifier=%s&usersig=%s", command, atTencent.SDKAppID, atTencent.Admins[0], sig), body, nil)
}
