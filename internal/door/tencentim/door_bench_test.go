package tencentim

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// go test -run '^$' -bench . -benchmem ./internal/door/tencentim

func BenchmarkUserSig(b *testing.B) {
	now := time.Unix(1767225600, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, no := testApp.userSigOf(sigZlib6, testAdmin, now); no != nil {
			b.Fatal(no)
		}
	}
}

// BenchmarkStateOf adds up a user with two sessions and a lost phone.
func BenchmarkStateOf(b *testing.B) {
	open := presence.Face{Opened: 1, Changed: 1}
	p := &presence.Presence{
		Version: 3, Absent: []presence.Absence{{Platform: "ios", At: 5}},
		Sessions: []*presence.View{{Device: &presence.Device{Platform: "web"}, Shown: open}, {Device: &presence.Device{Platform: "windows"}, Shown: open}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if state, detail := stateOf(p, 6, 0); state != online || len(detail) != 3 {
			b.Fatal(state, detail)
		}
	}
}

func BenchmarkParseQueryOf500(b *testing.B) {
	var q struct{ To_Account []string }
	for n := range maxAccounts {
		q.To_Account = append(q.To_Account, fmt.Sprint("user", n))
	}
	body, err := json.Marshal(q)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, no := parseQuery(body); no != nil {
			b.Fatal(no)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	c := newCallback(b, nil)
	d := &webhook.Delivery{Events: []webhook.Event{told(presence.RecordOpened, presence.ReasonOpened)}}
	a := webhook.Attempt{Number: 1, Time: time.Unix(1767225600, 0), URL: "https://example.com/"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Request(d, a); err != nil {
			b.Fatal(err)
		}
	}
}
