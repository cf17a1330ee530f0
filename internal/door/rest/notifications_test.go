package rest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestNotify(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	post := func(body, want string) {
		t.Helper()
		n.wants(http.MethodPost, "/users/alice/notifications", `{"notifications":[`+body+`]}`, `{"notifications":[`+want+`]}`)
	}
	post(`{"message":"one"}`, `{"id":"*","queue_size":1}`)
	post(`{"message":"two","id":"2"},{"message":"again","id":"2"},{"message":"three","publisher":"chat","ttl":0}`,
		`{"id":"2","queue_size":2},{"id":"2","queue_size":2},{"id":"*","queue_size":1}`)
	alice := presence.User{App: "demo", ID: "alice"}
	taker := n.mailboxes.Attach(t.Context(), alice, func() {})
	defer taker.Close()
	got, _, err := taker.Take(nil, 10)
	if err != nil || len(got) != 3 || got[0].Text != "one" || got[1].ID != "2" || got[2].Publisher != "chat" || got[2].Expires != 0 ||
		got[0].Expires-got[0].At != presence.Time(mailbox.DefaultTTL.Milliseconds()) {
		t.Errorf("taken: got %+v, %v, want one, two and three", got, err)
	}
	other := n.mailboxes.Attach(t.Context(), presence.User{App: "other", ID: "alice"}, func() {})
	defer other.Close()
	if got, _, _ := other.Take(nil, 10); len(got) != 0 {
		t.Errorf("another app's user of that name: got %+v, want nothing", got)
	}
	n.ok(http.MethodDelete, "/users/alice", "")
	if size := n.mailboxes.Size(alice, ""); size != 0 {
		t.Errorf("after erasure: got %d, want none", size)
	}
}

func TestNotifyRefuses(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	long, most := strings.Repeat("ä", mailbox.MaxText+1), strings.Repeat("ä", mailbox.MaxText)
	for body, place := range map[string]string{
		`{"message":""}`:                             "body.notifications[1].message",
		`{"message":"` + long + `"}`:                 "body.notifications[1].message",
		`{"message":"x","action":"` + long + `"}`:    "body.notifications[1].action",
		`{"message":"x","ttl":-1}`:                   "body.notifications[1].ttl",
		`{"message":"x","ttl":2592001}`:              "body.notifications[1].ttl",
		`{"message":"x","text":"y"}`:                 "body.notifications[1].text",
		`{"message":"x","id":"` + long[:2*65] + `"}`: "body.notifications[1].id",
		`{"message":"x","publisher":"` + long + `"}`: "body.notifications[1].publisher",
		`{"message":"x","source":"` + long + `"}`:    "body.notifications[1].source",
		`{"message":7}`:                              "body.notifications[1].message",
		`{"message":"x","ttl":9223372036854775807}`:  "body.notifications[1].ttl",
	} {
		p := n.refused(http.MethodPost, "/users/alice/notifications", `{"notifications":[{"message":"good"},`+body+`]}`, http.StatusUnprocessableEntity, "FIELD_INVALID")
		if got := fmt.Sprint(p["errors"]); !strings.Contains(got, "location:"+place+" ") {
			t.Errorf("%.60s: got %s, want it at %s", body, got, place)
		}
	}
	if size := n.mailboxes.Size(presence.User{App: "demo", ID: "alice"}, ""); size != 0 {
		t.Errorf("beside bad ones: got %d stored, want none", size)
	}
	n.wants(http.MethodPost, "/users/alice/notifications", `{"notifications":[{"message":"`+most+`","action":"`+most+`","ttl":2592000}]}`,
		`{"notifications":[{"id":"*","queue_size":1}]}`)
	n.refused(http.MethodPost, "/users/alice/notifications", `{"notifications":[]}`, http.StatusUnprocessableEntity, "FIELD_INVALID")
	n.store.RefuseMail(fmt.Errorf("disk full"))
	n.refused(http.MethodPost, "/users/alice/notifications", `{"notifications":[{"message":"x"}]}`, http.StatusServiceUnavailable, "LOG_UNAVAILABLE")
}
