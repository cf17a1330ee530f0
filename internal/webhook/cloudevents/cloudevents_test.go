package cloudevents

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/cloudevents/sdk-go/v2"
	sdkhttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func delivery(events int) *webhook.Delivery {
	d := &webhook.Delivery{App: "demo", Endpoint: "main", ID: "msg_1"}
	for i := range events {
		d.Events = append(d.Events, webhook.Event{
			Position: webhook.Position{Sequence: uint64(i + 1)}, ID: fmt.Sprint("id-", i),
			Fact: presence.Fact{
				Kind: presence.RecordOpened, Seq: uint64(i + 9), User: presence.User{App: "demo", ID: "älice & co"}, Reason: presence.ReasonOpened,
				Time: 1767225600123, After: true, Session: presence.FoldedSession{Public: presence.PublicID{1}},
			},
		})
	}
	return d
}

func post(t *testing.T, cfg Config, d *webhook.Delivery) *http.Request {
	t.Helper()
	cfg.Secrets = []string{secret}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	q, err := f.Request(d, webhook.Attempt{Number: 1, Time: time.Now(), URL: "https://receiver.example/events"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(q.Body, q.Header); err != nil {
		t.Errorf("the signature: %v", err)
	}
	r, err := http.NewRequest(http.MethodPost, q.URL, bytes.NewReader(q.Body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = q.Header
	return r
}

// same compares what the SDK read with what was meant.
func same(t *testing.T, e *sdk.Event, want *webhook.Event) {
	t.Helper()
	if err := e.Validate(); err != nil {
		t.Errorf("the SDK says %v", err)
	}
	var data native.Event
	if err := e.DataAs(&data); err != nil {
		t.Fatal(err)
	}
	wantSeq := fmt.Sprintf("%020d", want.Seq)
	if e.ID() != want.ID || e.Subject() != string(want.User.ID) || e.Source() != "/apps/demo" || e.Type() != "dev.porchlight.presence.opened" ||
		e.Time().UnixMilli() != int64(want.Time) || e.Extensions()["sequence"] != wantSeq || e.SpecVersion() != "1.0" {
		t.Errorf("got %v, want that of %+v", e, want)
	}
	if got, want := fmt.Sprintln(data.ID, data.User, data.Position, data.Seq), fmt.Sprintln(want.ID, want.User.ID, want.Position, want.Seq); got != want {
		t.Errorf("got the data %s, want %s", got, want)
	}
}

func TestStructured(t *testing.T) {
	t.Parallel()
	d := delivery(1)
	e, err := sdk.NewEventFromHTTPRequest(post(t, Config{}, d))
	if err != nil {
		t.Fatal(err)
	}
	same(t, e, &d.Events[0])
	d.Replay = "rp_1"
	if e, err = sdk.NewEventFromHTTPRequest(post(t, Config{}, d)); err != nil || e.Extensions()["replay"] != "rp_1" {
		t.Errorf("got %v, %v, want the replay named", e, err)
	}
	d.Replay, d.Resent = "", true
	if e, err = sdk.NewEventFromHTTPRequest(post(t, Config{}, d)); err != nil || e.Extensions()["resent"] != true {
		t.Errorf("got %v, %v, want it marked as sent again", e, err)
	}
	f, _ := New(Config{Secrets: []string{secret}})
	if _, err := f.Request(delivery(2), webhook.Attempt{}); err == nil {
		t.Error("two events went into one structured request")
	}
	if p := f.Policy(); p.Batch.Events != 1 || p.View != webhook.Truth || p.Timeout != native.Policy().Timeout {
		t.Errorf("got %+v, want native's policy with one event a request", p)
	}
}

func TestBatched(t *testing.T) {
	t.Parallel()
	d := delivery(3)
	r := post(t, Config{Batched: true}, d)
	if !sdkhttp.IsHTTPBatch(r.Header) {
		t.Errorf("the SDK sees no batch in %v", r.Header)
	}
	events, err := sdk.NewEventsFromHTTPRequest(r)
	if err != nil || len(events) != 3 {
		t.Fatalf("got %v, %v, want three events", events, err)
	}
	for i := range events {
		same(t, &events[i], &d.Events[i])
	}
}

func TestGap(t *testing.T) {
	t.Parallel()
	d := delivery(0)
	d.Gap = &webhook.Gap{From: webhook.Position{Sequence: 1}, To: webhook.Position{Sequence: 9}, Time: 1767225600123}
	e, err := sdk.NewEventFromHTTPRequest(post(t, Config{}, d))
	if err != nil {
		t.Fatal(err)
	}
	var data native.Gap
	if err := e.DataAs(&data); err != nil || e.Type() != "dev.porchlight.presence.gap" || data.From != "1.0.0" || data.To != "9.0.0" || e.Validate() != nil {
		t.Errorf("got %v with %+v, %v, want the gap", e, data, err)
	}
	if events, err := sdk.NewEventsFromHTTPRequest(post(t, Config{Batched: true}, d)); err != nil || len(events) != 1 {
		t.Errorf("batched: got %v, %v, want one event", events, err)
	}
}

func TestNumbersSortAsText(t *testing.T) {
	t.Parallel()
	d := delivery(1)
	var last string
	for _, n := range []uint64{1, 9, 10, 1 << 40, 1<<64 - 1} {
		d.Events[0].Seq = n
		if now := event(d, &d.Events[0]).Sequence; now <= last {
			t.Errorf("%s after %s: it does not sort", now, last)
		} else {
			last = now
		}
	}
}

func TestHidesSecrets(t *testing.T) {
	t.Parallel()
	cfg := Config{Secrets: []string{secret}}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%v %+v %#v %d %v %+v %#v %d", cfg, cfg, cfg, cfg, f, f, f, f); strings.Contains(all, secret[6:]) {
		t.Errorf("the secret shows in %s", all)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a format without a secret was made")
	}
	b, _ := json.Marshal(event(delivery(1), &delivery(1).Events[0]))
	if !bytes.HasPrefix(b, []byte(`{"specversion":"1.0","id":"id-0","source":"/apps/demo","type":"dev.porchlight.presence.opened","subject":"älice \u0026 co","time":"2026-01-01T00:00:00.123Z","sequence":"00000000000000000009","datacontenttype":"application/json","data":{"position":"1.0.0"`)) {
		t.Errorf("got %s, want the wire picture of the package comment", b)
	}
}
