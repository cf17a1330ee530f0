package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// TestCutOffNodesSayStale takes the servers away that all nodes meet at. Each then
// answers at every door what it knew last of users of the others, says that it may
// be old, and calls nobody offline whom it does not know.
func TestCutOffNodesSayStale(t *testing.T) {
	servers := natsbustest.Start(t, natsbustest.Settings{})
	nodes := cluster(t, 2, func(p *app.Params) {
		p.Nodes.Peers, p.Nodes.Cluster = nil, &natsbus.Cluster{URLs: servers.URLs(), Synced: true}
	})
	bob := speak(t, nodes[1], "bob")
	bob.connect(bob.make())
	asker := speak(t, nodes[0], "asker")
	happens(t, "the other node knows bob", func() bool { return asker.sees("bob") == isOnline })
	if m := rest(t, nodes[0], "GET", "/api/v1/online/count", ""); m["stale_since"] != nil || m["users"] != 1.0 {
		t.Errorf("before: %v", m)
	}
	for i := range 3 {
		servers.Kill(i)
	}
	happens(t, "bob is stale at the other node", func() bool { return rest(t, nodes[0], "GET", "/api/v1/users/bob", "")["stale_since"] != nil })
	pause := time.NewTimer(12 * time.Second) // longer than a loss and its grace would be
	defer pause.Stop()
	for waits := true; waits; {
		select {
		case <-pause.C:
			waits = false
		case <-time.After(time.Second):
		}
		checkStale(t, nodes[0], asker)
	}

	for i := range 3 {
		servers.Restart(i)
	}
	happens(t, "bob is known again", func() bool {
		code, m := restCode(t, nodes[0], "GET", "/api/v1/users/bob", "")
		return code == http.StatusOK && m["stale_since"] == nil && m["available"] == true
	})
	happens(t, "nobody is known again", func() bool { return rest(t, nodes[0], "GET", "/api/v1/users/nobody", "")["unknown"] == nil })
	for _, a := range nodes {
		happens(t, "the store takes what is written", func() bool {
			code, _ := restCode(t, a, "PUT", "/api/v1/users/last/presence", `{"ttl":60}`)
			return code == http.StatusOK
		})
	}
}

// checkStale asks a node that hears no other at every door.
func checkStale(t *testing.T, a *app.App, asker speaker) {
	t.Helper()
	for path, user := range map[string]string{"/api/v1/users/%s": "available", "/api/v1/users/%s/sessions": ""} {
		m := rest(t, a, "GET", fmt.Sprintf(path, "bob"), "")
		if m["stale_since"] == nil || len(m["sessions"].([]any)) != 1 || user != "" && m[user] != true {
			t.Errorf("GET %s of bob: %v", path, m)
		}
		if m := rest(t, a, "GET", fmt.Sprintf(path, "nobody"), ""); m["stale_since"] == nil || m["unknown"] != true {
			t.Errorf("GET %s of nobody: %v", path, m)
		}
	}
	id := rest(t, a, "GET", "/api/v1/users/bob/sessions", "")["sessions"].([]any)[0].(map[string]any)["session"].(string)
	if m := rest(t, a, "GET", "/api/v1/users/bob/sessions/"+id, ""); m["stale_since"] == nil {
		t.Errorf("bob's session: %v", m)
	}
	if code, m := restCode(t, a, "GET", "/api/v1/users/nobody/sessions/"+id, ""); code != http.StatusServiceUnavailable || m["code"] != "NODE_UNAVAILABLE" {
		t.Errorf("nobody's session: %d %v", code, m)
	}
	for _, path := range []string{"/api/v1/online", "/api/v1/online/count"} {
		if m := rest(t, a, "GET", path, ""); m["stale_since"] == nil {
			t.Errorf("GET %s: %v", path, m)
		}
	}
	r, err := asker.BatchGetUserIsOnline(asker.ctx, &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: []string{"bob", "nobody"}})
	if err != nil {
		t.Fatal(err)
	}
	if u := r.GetUsers()[0]; u.GetStaleSince() == nil || u.GetUnknown() || u.GetUserFlag() != isonlinev1.UserFlag_USER_FLAG_ONLINE {
		t.Errorf("IsOnline of bob: %v", u)
	}
	if u := r.GetUsers()[1]; u.GetStaleSince() == nil || !u.GetUnknown() {
		t.Errorf("IsOnline of nobody: %v", u)
	}
	if got := askRongCloud(t, a, config.DevelopmentRongCloudKey, config.DevelopmentRongCloudSecret, "bob"); got != `{"code":200,"status":"1"}` {
		t.Errorf("RongCloud of bob: %s", got)
	}
	if got := askRongCloud(t, a, config.DevelopmentRongCloudKey, config.DevelopmentRongCloudSecret, "nobody"); !strings.Contains(got, "1050") {
		t.Errorf("RongCloud of nobody: %s", got)
	}
	at := fmt.Sprintf("/v4/openim/query_online_status?sdkappid=%d&identifier=%s&usersig=%s&random=1&contenttype=json", config.DevelopmentTencentIMApp,
		config.DevelopmentTencentIMAdmin, userSig(t, config.DevelopmentTencentIMApp, config.DevelopmentTencentIMKey, config.DevelopmentTencentIMAdmin))
	if _, got := web(t, a, "POST", at, "", `{"To_Account":["bob","nobody"]}`); !strings.Contains(got, `"Status":"Online"`) || !strings.Contains(got, "90992") {
		t.Errorf("Tencent: %s", got)
	}
	// Stringee's answers have attributes, which are in the store.
	if _, got := web(t, a, "GET", "/v1/users?userId=bob", vendor(t), ""); !strings.Contains(got, `"count":1`) && !strings.Contains(got, `"r":503`) {
		t.Errorf("Stringee of bob: %s", got)
	}
	checkStaleLive(t, a)
}

// checkStaleLive asks at the live door, as far as that takes anybody in: a node that
// is cut off sends devices away.
func checkStaleLive(t *testing.T, a *app.App) {
	t.Helper()
	c, err := client.New(client.Config{
		Addr: a.GRPCAddr().String(),
		Token: func(context.Context) (string, error) {
			return token.Sign(token.Development(), "reader", time.Hour, time.Now())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list, err := c.Query(t.Context(), "bob", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	if list[0].StaleSince.IsZero() || !list[0].Available || !list[1].Unknown || list[1].StaleSince.IsZero() {
		t.Errorf("the client says %+v", list)
	}
}
