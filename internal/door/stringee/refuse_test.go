package stringee

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func many(n int, f func(i int) string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = f(i)
	}
	return strings.Join(list, ",")
}

// What is no frame ends the connection; all else is answered and changes nothing.
func TestFrames(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]string{
		"not JSON": `hello`, "empty": ``, "a list": `[1]`, "a number": `1`, "null": `null`, "no service": `{"body":{}}`, "service is a text": `{"service":"2","body":{}}`,
		"service is a fraction": `{"service":2.5,"body":{}}`, "body is a list": `{"service":103,"body":[]}`, "body is a text": `{"service":103,"body":"x"}`, "cut": `{"service":103,"body":{`,
		"deep": `{"service":103,"body":` + strings.Repeat(`{"a":`, 8000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
				for _, p := range []*peer{n.open(), n.connect(n.client("bob", ""), "web-b")} {
					p.Say("%s", frame)
					if code := p.ended(); code != 1008 {
						t.Errorf("ended with %d", code)
					}
				}
			})
		})
	}
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		p := n.open()
		if got := p.ask(`{"service":103,"body":{"attribute":"x","value":1,"requestId":7}}`); !strings.Contains(got, `"requestId":7,"r":401`) {
			t.Errorf("before the authen: %s", got)
		}
		p.hello(n.client("bob", "s", "x>s"), "web-b")
		for name, row := range map[string]struct {
			frame string
			want  string
		}{
			"a service that is none":   {`{"service":54,"body":{"toUser":"x","requestId":1}}`, `{"service":54,"body":{"requestId":1,"r":404,`},
			"a negative service":       {`{"service":-1,"body":{"requestId":1}}`, `{"service":-1,"body":{"requestId":1,"r":404,`},
			"wants no answer":          {`{"service":54,"body":{}}`, ``},
			"requestId is a text":      {`{"service":54,"body":{"requestId":"1"}}`, ``},
			"requestId is null":        {`{"service":54,"body":{"requestId":null}}`, ``},
			"no body":                  {`{"service":1}`, ``},
			"authen twice":             {`{"service":2,"body":{"accesstoken":"x","requestId":1}}`, `{"service":2,"body":{"requestId":1,"r":400,`},
			"attribute missing":        {`{"service":103,"body":{"value":1,"requestId":1}}`, `{"service":103,"body":{"requestId":1,"r":400,"message":"attribute: `},
			"attribute is a number":    {`{"service":103,"body":{"attribute":1,"value":1,"requestId":1}}`, `{"service":103,"body":{"requestId":1,"r":400,`},
			"value missing":            {`{"service":103,"body":{"attribute":"x","requestId":1}}`, `{"service":103,"body":{"requestId":1,"r":400,"message":"value is missing`},
			"onlineStatus is kept":     {`{"service":103,"body":{"attribute":"onlineStatus","value":"x","requestId":1}}`, `{"service":103,"body":{"requestId":1,"r":400,"message":"attribute: `},
			"call is kept":             {`{"service":103,"body":{"attribute":"call","value":"x","requestId":1}}`, `{"service":103,"body":{"requestId":1,"r":400,`},
			"name too long":            {`{"service":103,"body":{"attribute":"` + strings.Repeat("n", 65) + `","value":1,"requestId":1}}`, `{"service":103,"body":{"requestId":1,"r":400,`},
			"value too long":           {`{"service":103,"body":{"attribute":"x","value":"` + strings.Repeat("v", 4095) + `","requestId":1}}`, `{"service":103,"body":{"requestId":1,"r":400,"message":"value: `},
			"unknown keys are nothing": {`{"service":1,"body":{"x":1},"y":2}`, ``},
		} {
			if got := p.ask("%s", row.frame); !strings.HasPrefix(got, row.want) || row.want == "" && got != "" {
				t.Errorf("%s: got %q, want %q", name, got, row.want)
			}
			p.stands()
		}
		if r, err := n.Topics.Get(t.Context(), user("bob")); err != nil || len(r.Attributes) != 0 {
			t.Errorf("after what was refused: %+v, %v", r.Attributes, err)
		}
		for name, frame := range map[string]string{
			"longest name":  `{"service":103,"body":{"attribute":"` + strings.Repeat("n", 64) + `","value":1,"requestId":1}}`,
			"longest value": `{"service":103,"body":{"attribute":"x","value":"` + strings.Repeat("v", 4094) + `","requestId":1}}`,
			"null":          `{"service":103,"body":{"attribute":"x","value":null,"requestId":1}}`,
		} {
			if got := p.ask("%s", frame); !strings.Contains(got, `"r":0`) {
				t.Errorf("%s: got %.100s", name, got)
			}
		}
		p.Came()
		if err := p.Frame(2, []byte(`{"service":1,"body":{}}`)); err != nil {
			t.Fatal(err)
		}
		if code := p.ended(); code != 1008 {
			t.Errorf("a binary frame: ended with %d", code)
		}
	})
}

// A frame of MaxFrame is taken, a longer one ends the connection; so do too many.
func TestFrameSizeAndPace(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		p := n.connect(n.client("bob", ""), "web-b")
		frame := `{"service":1,"body":{"x":"%s"}}`
		room := MaxFrame - len(frame) + 2
		p.Say(frame, strings.Repeat("x", room))
		p.stands()
		go p.Send(fmt.Sprintf(frame, strings.Repeat("x", room+1)))
		if code := p.ended(); code != 1009 {
			t.Errorf("ended with %d, want 1009", code)
		}
		doortest.Elapse(time.Second)
		q := n.connect(n.client("bob", ""), "web-b")
		for range 300 {
			q.Say(`{"service":54,"body":{"requestId":1}}`)
		}
		got := strings.Join(q.Came(), "")
		if a, b := strings.Count(got, `"r":404`), strings.Count(got, `"r":429`); a+b != 300 || a < 190 || b < 90 {
			t.Errorf("%d answered, %d refused", a, b)
		}
		doortest.Elapse(time.Second)
		for range 1100 {
			if q.Send(`{"service":54,"body":{}}`) != nil {
				break
			}
		}
		if code := q.ended(); code != closeTooMany {
			t.Errorf("ended with %d", code)
		}
	})
}

// What a client may say of itself, from both sides.
func TestDevices(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		q    authen
		want presence.Device
		bad  bool
	}{
		"published client": {q: authen{DeviceID: "web-1", BrowserID: "browser-1", SDKVersion: "2.6.0", Platform: 3}, want: presence.Device{ID: "web-1", Platform: "web", Version: "2.6.0 browser-1"}},
		"nothing":          {},
		"no version":       {q: authen{BrowserID: "b"}, want: presence.Device{Version: "- b"}},
		"no browser":       {q: authen{SDKVersion: "1"}, want: presence.Device{Version: "1"}},
		"another platform": {q: authen{Platform: 1}},
		"longest id":       {q: authen{DeviceID: strings.Repeat("d", 64)}, want: presence.Device{ID: strings.Repeat("d", 64)}},
		"id too long":      {q: authen{DeviceID: strings.Repeat("d", 65)}, bad: true},
		"a space":          {q: authen{BrowserID: "a b"}, bad: true},
		"not ASCII":        {q: authen{DeviceID: "é"}, bad: true},
		"a server's id":    {q: authen{DeviceID: presence.ServedDevice + "x"}, bad: true},
		"version too long": {q: authen{SDKVersion: strings.Repeat("1", 65)}, bad: true},
	} {
		got, no := deviceOf(&row.q, "192.0.2.1:1")
		if row.want.Addr, row.want.Door = "192.0.2.1:1", Name; (no != nil) != row.bad || !row.bad && got != row.want {
			t.Errorf("%s: got %+v, %v", name, got, no)
		}
	}
}

// Connections are counted by address, and by user.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{Limits: Limits{PerAddress: 2, PerUser: map[presence.AppID]int{doortest.App: 2}}}, func(t *testing.T, n *node) {
		const from = "203.0.113.7:1"
		first := n.open("Test-From", from)
		n.open("Test-From", from)
		if p, answer := n.handshake("Test-From", "203.0.113.7:2"); p != nil || answer.StatusCode != 429 {
			t.Errorf("the third of an address: %v", answer.Status)
		}
		first.hangUp()
		n.open("Test-From", from)
		n.open("Test-From", "203.0.113.8:1")

		raw := n.client("bob", "")
		n.connect(raw, "web-1")
		n.connect(raw, "web-2")
		if got := n.open().hello(raw, "web-3"); !strings.Contains(got, `"r":429`) {
			t.Errorf("the third of a user: %s", got)
		}
		n.connect(raw, "web-2") // its own does not count
	})
}

// A web page is let in by its origin, and its token's app must have it.
func TestOrigins(t *testing.T) {
	t.Parallel()
	origins := map[presence.AppID][]string{doortest.App: {"https://app.example"}, doortest.Other: {"https://other.example"}}
	inBubble(t, doortest.Config{Origins: origins}, Config{}, func(t *testing.T, n *node) {
		raw := n.client("bob", "")
		for origin, want := range map[string]string{"https://app.example": `"r":0`, "http://porchlight.test": `"r":0`, "https://other.example": `"r":403`} {
			if got := n.open("Origin", origin).hello(raw, ""); !strings.Contains(got, want) {
				t.Errorf("%s: got %s", origin, got)
			}
		}
		if p, answer := n.handshake("Origin", "https://evil.example"); p != nil || answer.StatusCode != 403 {
			t.Errorf("a page of nobody's: %v", answer.Status)
		}
	})
}

// Every kind of fault has a code that is not the one of a mistake in here.
func TestEveryFaultHasACode(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		if code := codeOf(k); (code == codeInternal) != (k == fault.Internal) || statusOf(code) < 400 {
			t.Errorf("%v: code %d, status %d", k, code, statusOf(code))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"service":2,"body":{"requestId":1}}`, `{"service":1}`, `[]`, `{"service":103,"body":{"attribute":"x","value":{"a":[1]},"requestId":-5}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		if !json.Valid(r.body) || r.body[0] != '{' {
			t.Errorf("%q: the body is %q", b, r.body)
		}
		var a authen
		var c change
		read(r.body, &a)
		read(r.body, &c)
		if d, no := deviceOf(&a, ""); no == nil && (len(d.ID) > maxWord || strings.ContainsAny(d.ID, " \n\x00")) {
			t.Errorf("%q: the device is %+v", b, d)
		}
	})
}
