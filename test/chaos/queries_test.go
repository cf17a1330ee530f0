package chaos

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// verdictOf is what a door says of a user.
type verdictOf struct {
	online  bool
	stale   bool // it says that this may be old
	unknown bool // it says that it does not know
}

// asking is a way to ask a node.
type asking struct {
	name  string
	batch int
	marks bool // whether an answer can say that it may be old
	ask   func(w *crowd, node int, users []string) (map[string]verdictOf, error)
}

func askings() []asking {
	return []asking{
		{"isonline", 50, true, (*crowd).askGRPC},
		{"rest", 50, true, (*crowd).askREST},
		{"tencentim", 50, false, (*crowd).askTencent},
		{"rongcloud", 1, false, (*crowd).askRongCloud},
		{"stringee", 1, false, (*crowd).askStringee},
	}
}

func (w *crowd) askGRPC(node int, users []string) (map[string]verdictOf, error) {
	ctx, cancel := context.WithTimeout(w.as(w.ctx, w.asker), callLimit)
	defer cancel()
	answer, err := isonlinev1.NewIsOnlineServiceClient(w.conns[node]).BatchGetUserIsOnline(ctx, &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: users})
	if err != nil {
		return nil, err
	}
	m := map[string]verdictOf{}
	for _, u := range answer.GetUsers() {
		m[u.GetUserId()] = verdictOf{online: u.GetUserFlag() == isonlinev1.UserFlag_USER_FLAG_ONLINE, stale: u.GetStaleSince() != nil, unknown: u.GetUnknown()}
	}
	return m, nil
}

// web makes a call to the HTTP port of a node and reads JSON.
func (w *crowd) web(node int, r *http.Request, into any) error {
	ctx, cancel := context.WithTimeout(w.ctx, callLimit)
	defer cancel()
	r.URL.Scheme, r.URL.Host = "http", w.fleet.nodes[node].http
	resp, err := w.client.Do(r.WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("%s at node %d: %s %q: %w", r.URL.Path, node+1, resp.Status, b, err)
	}
	return nil
}

// calling is a request without a host yet.
func calling(method, path string, body []byte) (*http.Request, error) {
	return http.NewRequest(method, "http://node"+path, bytes.NewReader(body)) //nolint:noctx // web adds one
}

func (w *crowd) rest(node int, method, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := calling(method, "/api/v1"+path, b)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+serverKey)
	r.Header.Set("Content-Type", "application/json")
	return w.web(node, r, into)
}

func (w *crowd) askREST(node int, users []string) (map[string]verdictOf, error) {
	var a struct {
		Users []struct {
			User       string
			Available  bool
			StaleSince string `json:"stale_since"`
			Unknown    bool
		}
	}
	if err := w.rest(node, http.MethodPost, "/users/query", map[string]any{"users": users}, &a); err != nil {
		return nil, err
	}
	m := map[string]verdictOf{}
	for _, u := range a.Users {
		m[u.User] = verdictOf{online: u.Available, stale: u.StaleSince != "", unknown: u.Unknown}
	}
	return m, nil
}

// rongUnknown, tencentUnknown and tooFast are codes of those doors.
const (
	rongUnknown    = 1050
	rongTooFast    = 1008
	tencentUnknown = 90992
)

func (w *crowd) askRongCloud(node int, users []string) (map[string]verdictOf, error) {
	m := map[string]verdictOf{}
	for _, u := range users {
		r, err := calling(http.MethodPost, "/user/checkOnline.json", []byte(url.Values{"userId": {u}}.Encode()))
		if err != nil {
			return nil, err
		}
		const nonce = "14314"
		now := fmt.Sprint(time.Now().UnixMilli())
		sum := sha1.Sum([]byte(rongAppSecret + nonce + now))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for k, v := range map[string]string{"App-Key": rongAppKey, "Nonce": nonce, "Timestamp": now, "Signature": hex.EncodeToString(sum[:])} {
			r.Header.Set(k, v)
		}
		var a struct {
			Code   int
			Status string
		}
		if err := w.web(node, r, &a); err != nil {
			return nil, err
		}
		switch a.Code {
		case http.StatusOK:
			m[u] = verdictOf{online: a.Status == "1"}
		case rongUnknown:
			m[u] = verdictOf{unknown: true}
		case rongTooFast:
		default:
			return nil, fmt.Errorf("rongcloud at node %d: code %d", node+1, a.Code)
		}
	}
	return m, nil
}

func (w *crowd) askTencent(node int, users []string) (map[string]verdictOf, error) {
	sig, err := tencentyun.GenUserSig(tencentApp, tencentKey, tencentAdmin, 3600)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(map[string]any{"To_Account": users})
	if err != nil {
		return nil, err
	}
	r, err := calling(http.MethodPost, fmt.Sprintf("/v4/openim/query_online_status?sdkappid=%d&identifier=%s&usersig=%s", tencentApp, tencentAdmin, sig), b)
	if err != nil {
		return nil, err
	}
	var a struct {
		ErrorCode   int
		ErrorInfo   string
		QueryResult []struct {
			Account string `json:"To_Account"`
			Status  string
		}
		ErrorList []struct {
			Account   string `json:"To_Account"`
			ErrorCode int
		}
	}
	if err := w.web(node, r, &a); err != nil {
		return nil, err
	}
	m := map[string]verdictOf{}
	for _, u := range a.QueryResult {
		m[u.Account] = verdictOf{online: u.Status == "Online"}
	}
	for _, u := range a.ErrorList {
		m[u.Account] = verdictOf{unknown: u.ErrorCode == tencentUnknown}
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("tencentim at node %d: %d %s", node+1, a.ErrorCode, a.ErrorInfo)
	}
	return m, nil
}

func (w *crowd) askStringee(node int, users []string) (map[string]verdictOf, error) {
	signed, err := token.SignVendor(map[string]any{"cty": "stringee-api;v=1"}, map[string]any{"iss": stringeeSID, "rest_api": true, "exp": time.Now().Add(time.Hour).Unix()}, []byte(stringeeSecret))
	if err != nil {
		return nil, err
	}
	m := map[string]verdictOf{}
	for _, u := range users {
		r, err := calling(http.MethodGet, "/v1/users/"+url.PathEscape(u), nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("X-STRINGEE-AUTH", signed)
		var a struct {
			R          int
			Attributes []struct {
				Attribute string
				Value     any
			}
		}
		if err := w.web(node, r, &a); err != nil {
			return nil, err
		}
		switch {
		case a.R == http.StatusNotFound:
			m[u] = verdictOf{}
		case a.R != 0:
			m[u] = verdictOf{unknown: true}
		}
		for _, one := range a.Attributes {
			if one.Attribute == "onlineStatus" {
				m[u] = verdictOf{online: fmt.Sprint(one.Value) == "online"}
			}
		}
	}
	return m, nil
}

// moodAt is what a user's attribute of Stringee's patrons is at a node.
func (w *crowd) moodAt(node int, user string) (number int, err error) {
	var a struct {
		Attributes []struct {
			Name  string
			Value any
		}
	}
	if err := w.rest(node, http.MethodGet, "/users/"+user+"/attributes", nil, &a); err != nil {
		return 0, err
	}
	for _, one := range a.Attributes {
		if one.Name == "mood" {
			return numberOf(strings.TrimSpace(fmt.Sprint(one.Value)))
		}
	}
	return 0, nil
}
