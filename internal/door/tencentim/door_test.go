package tencentim

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// The answer of the documents: online on two platforms, logged out, and an id
// that is none.
func TestQueryOnlineStatus(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		phone := n.open("id1", "ios")
		n.open("id1", "web")
		n.lose(phone)
		n.end(n.open("id2", "android"), presence.ReasonLogout)
		got := n.post(queryPath, n.admin(), `{"To_Account":["id1","id2","id3","id\u00004","id1"],"IsNeedDetail":1}`)
		const want = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"QueryResult":[` +
			`{"To_Account":"id1","Status":"Online","Detail":[{"Platform":"iPhone","Status":"PushOnline"},{"Platform":"Web","Status":"Online"}]},` +
			`{"To_Account":"id2","Status":"Offline"},{"To_Account":"id3","Status":"Offline"},` +
			`{"To_Account":"id1","Status":"Online","Detail":[{"Platform":"iPhone","Status":"PushOnline"},{"Platform":"Web","Status":"Online"}]}],` +
			`"ErrorList":[{"To_Account":"id\u00004","ErrorCode":70107}]}`
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		for body, want := range map[string]string{
			`{"To_Account":["id1"]}`: `"QueryResult":[{"To_Account":"id1","Status":"Online"}]}`, `{"To_Account":["id1"],"IsNeedDetail":0}`: `"QueryResult":[{"To_Account":"id1","Status":"Online"}]}`,
			`{"To_Account":["id2"],"IsNeedDetail":1,"IsReturnInstid":1,"IsReturnCustomStatus":1}`: `"QueryResult":[{"To_Account":"id2","Status":"Offline"}]}`,
			`{"To_Account":[""]}`: `"QueryResult":[],"ErrorList":[{"To_Account":"","ErrorCode":70107}]}`,
		} {
			if got := n.post(queryPath, n.admin(), body); !strings.HasSuffix(got, want) {
				t.Errorf("%s: got %s, want it to end with %s", body, got, want)
			}
		}
	})
}

// The older query has the state under another name, another spelling of the
// phone, and no list of failures.
func TestQueryState(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		n.lose(n.open("id1", "ios"))
		got := n.post(statePath, n.admin(), `{"To_Account":["id1","\u0000"],"IsNeedDetail":1}`)
		const want = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"QueryResult":[` +
			`{"To_Account":"id1","State":"PushOnline","Detail":[{"Platform":"IPhone","Status":"PushOnline"}]},{"To_Account":"\u0000","State":"Offline"}]}`
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// Who may be known to a node that is not heard of is no Offline.
func TestQueryUnsure(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		n.open("id1", "ios")
		n.unsure = true
		got := n.post(queryPath, n.admin(), `{"To_Account":["id1","id2"]}`)
		if want := `"QueryResult":[{"To_Account":"id1","Status":"Online"}],"ErrorList":[{"To_Account":"id2","ErrorCode":90992}]}`; !strings.HasSuffix(got, want) {
			t.Errorf("got %s, want it to end with %s", got, want)
		}
		n.fails("querystate", n.post(statePath, n.admin(), `{"To_Account":["id2"]}`), 90992)
	})
}

func TestKick(t *testing.T) {
	for name, body := range map[string]string{"UserID": `{"UserID":"id1"}`, "Identifier, as older clients": `{"Identifier":"id1"}`, "both": `{"Identifier":"id2","UserID":"id1"}`} {
		t.Run(name, func(t *testing.T) {
			inNode(t, func(t *testing.T, n *node) {
				n.open("id1", "ios")
				n.lose(n.open("id1", "android"))
				n.open("id2", "ios")
				n.says("id1", `"Status":"Online","Detail":[{"Platform":"iPhone","Status":"Online"},{"Platform":"Android","Status":"PushOnline"}]`)
				if got := n.post(kickPath, n.admin(), body); got != `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}` {
					t.Errorf("got %s", got)
				}
				n.says("id1", `"Status":"Offline"`)
				n.says("id2", `"Status":"Online","Detail":[{"Platform":"iPhone","Status":"Online"}]`)
				if at := n.door.cfg.Revocations.Before(presence.User{App: "demo", ID: "id1"}); at != presence.At(time.Now()) {
					t.Errorf("access tokens count from %v on, want from now", at)
				}
				n.stop() // it holds over a restart
				n.start()
				n.says("id1", `"Status":"Offline"`)
				n.lose(n.open("id1", "ios"))
				n.says("id1", `"Status":"PushOnline","Detail":[{"Platform":"iPhone","Status":"PushOnline"}]`)
			})
		})
	}
}

// A kicked administrator needs a new UserSig, and one of the same second is new.
func TestKickOfAnAdministrator(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		old := n.admin()
		wait(1500 * time.Millisecond)
		early := n.admin()
		n.post(kickPath, n.admin(), `{"UserID":"`+testAdmin+`"}`)
		n.fails("a usersig of before", n.post(queryPath, old, `{"To_Account":["a"]}`), 70001)
		n.says("id1", `"Status":"Offline"`)
		if got := n.post(queryPath, early, `{"To_Account":["a"]}`); !strings.Contains(got, `"OK"`) {
			t.Errorf("a usersig of the very second: got %s", got)
		}
	})
}

// PushOnline lasts seven days from when the connection was lost, over restarts,
// to the millisecond.
func TestPushOnlineForSevenDays(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		ref := n.open("id1", "android")
		n.lose(ref)
		lost := n.tracker.Presence(ref.User).Absent[0].At.Time()
		n.stop()
		wait(time.Until(lost.Add(7*24*time.Hour - time.Millisecond)))
		n.start()
		n.says("id1", `"Status":"PushOnline","Detail":[{"Platform":"Android","Status":"PushOnline"}]`)
		wait(time.Millisecond)
		n.says("id1", `"Status":"Offline"`)
	})
}

// What a close, a hide and their reasons mean for the state.
func TestStates(t *testing.T) {
	const offline = `"Status":"Offline"`
	push := func(platform string) string {
		return `"Status":"PushOnline","Detail":[{"Platform":"` + platform + `","Status":"PushOnline"}]`
	}
	for _, v := range []struct {
		name string
		do   func(n *node)
		want string
	}{
		{"logged out", func(n *node) { n.end(n.open("u", "ios"), presence.ReasonLogout) }, offline},
		{"left, still logged in", func(n *node) { n.end(n.open("u", "ipad"), presence.ReasonLeft) }, push("iPad")},
		{"lost on the web", func(n *node) { n.lose(n.open("u", "web")) }, offline},
		{"lost on a PC", func(n *node) { n.lose(n.open("u", "windows")) }, offline},
		{"lost on what has no name", func(n *node) { n.lose(n.open("u", "")) }, offline},
		{"within the grace", func(n *node) { n.tracker.LinkLost(n.open("u", "ios"), link{}) }, `"Status":"Online","Detail":[{"Platform":"iPhone","Status":"Online"}]`},
		{"lost, then logged out on another device", func(n *node) {
			n.lose(n.open("u", "ios"))
			n.end(n.open("u", "ios"), presence.ReasonLogout)
		}, offline},
		{"all six", func(n *node) {
			for _, p := range []string{"mac", "linux", "ipad", "web", "android", "iPhone"} {
				n.open("u", p)
			}
		}, `"Status":"Online","Detail":[{"Platform":"iPhone","Status":"Online"},{"Platform":"Android","Status":"Online"},{"Platform":"Web","Status":"Online"},` +
			`{"Platform":"PC","Status":"Online"},{"Platform":"iPad","Status":"Online"},{"Platform":"Mac","Status":"Online"}]`},
		{"invisible", func(n *node) {
			ref := n.open("u", "ios")
			n.hide(ref)
			wait(time.Minute)
			n.end(ref, presence.ReasonLogout)
		}, push("iPhone")},
	} {
		t.Run(v.name, func(t *testing.T) {
			inNode(t, func(t *testing.T, n *node) {
				v.do(n)
				n.says("u", v.want)
				n.says("u", v.want)
				n.stop()
				n.start()
				if !strings.Contains(v.want, `"Online"`) { // who was online comes back as lost
					n.says("u", v.want)
				}
			})
		})
	}
}

// hide makes a session invisible.
func (n *node) hide(ref tracker.Ref) {
	n.t.Helper()
	_, err := n.tracker.Update(n.t.Context(), ref, func(*presence.Status) (*presence.Status, error) { return &presence.Status{Invisible: true}, nil })
	if err != nil {
		n.t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		set := func(name, value string) url.Values {
			q := n.admin()
			if q.Del(name); value != "" {
				q.Set(name, value)
			}
			return q
		}
		sig := func(id int, key, user string) url.Values {
			s, err := tencentyun.GenUserSig(id, key, user, 10)
			if err != nil {
				t.Fatal(err)
			}
			return url.Values{"sdkappid": {strconv.Itoa(testID)}, "identifier": {testAdmin}, "usersig": {s}}
		}
		with := func(q url.Values, name, value string) url.Values {
			q.Set(name, value)
			return q
		}
		many := `{"To_Account":["` + strings.Join(slices.Repeat([]string{"x"}, 501), `","`) + `"]}`
		for _, v := range []struct {
			name, path string
			query      url.Values
			body       string
			want       int
		}{
			{"another path", "/v4/openim/sendmsg", n.admin(), "{}", 60009},
			{"the segment alone", "/v4", n.admin(), "{}", 60009},
			{"no sdkappid", queryPath, set("sdkappid", ""), "{}", 60012},
			{"sdkappid is text", queryPath, set("sdkappid", "x"), "{}", 60006},
			{"sdkappid is 0", queryPath, set("sdkappid", "0"), "{}", 60006},
			{"unknown sdkappid", queryPath, set("sdkappid", "7"), "{}", 70020},
			{"an app without a key", queryPath, set("sdkappid", "6"), "{}", 70016},
			{"no identifier", queryPath, set("identifier", ""), "{}", 60004},
			{"no usersig", queryPath, set("usersig", ""), "{}", 60005},
			{"usersig cut off", queryPath, set("usersig", sigZlib6[:99]), "{}", 70003},
			{"the other app's", queryPath, set("sdkappid", "5"), "{}", 70014},
			{"another user's", queryPath, set("identifier", "bob"), "{}", 70013},
			{"expired", queryPath, set("usersig", expired(t)), "{}", 70001},
			{"another key's", queryPath, sig(testID, "else", testAdmin), "{}", 70009},
			{"no administrator queries", queryPath, with(sig(testID, testKey, "bob"), "identifier", "bob"), "{}", 90009},
			{"no administrator queries, as before 2021", statePath, with(sig(testID, testKey, "bob"), "identifier", "bob"), "{}", 90009},
			{"no administrator kicks", kickPath, with(sig(testID, testKey, "bob"), "identifier", "bob"), "{}", 70403},
			{"no body", queryPath, n.admin(), "", 90001}, {"no JSON", queryPath, n.admin(), "To_Account", 90001}, {"JSON that is no object", queryPath, n.admin(), "[]", 90001},
			{"nobody", queryPath, n.admin(), "{}", 90001}, {"an empty list", queryPath, n.admin(), `{"To_Account":[]}`, 90001}, {"null", queryPath, n.admin(), `{"To_Account":null}`, 90001},
			{"a text", queryPath, n.admin(), `{"To_Account":"id1"}`, 90003}, {"numbers", queryPath, n.admin(), `{"To_Account":[1]}`, 90003}, {"a null in it", statePath, n.admin(), `{"To_Account":[null]}`, 90003},
			{"501", queryPath, n.admin(), many, 90011}, {"501, as before 2021", statePath, n.admin(), many, 90011},
			{"IsNeedDetail is text", queryPath, n.admin(), `{"To_Account":["a"],"IsNeedDetail":"1"}`, 90001},
			{"a body without end", queryPath, n.admin(), `{"To_Account":["` + strings.Repeat("x", 1<<20), 60002},
			{"kick without JSON", kickPath, n.admin(), "UserID=bob", 60003},
			{"kick of nobody", kickPath, n.admin(), "{}", 70402}, {"kick of an empty text", kickPath, n.admin(), `{"UserID":""}`, 70402},
			{"kick of a number", kickPath, n.admin(), `{"UserID":5}`, 70402}, {"kick of null", kickPath, n.admin(), `{"UserID":null,"Identifier":null}`, 70402},
			{"kick of what is no id", kickPath, n.admin(), `{"UserID":"a\u0000"}`, 70107}, {"kick of 129 bytes", kickPath, n.admin(), `{"UserID":"` + strings.Repeat("x", 129) + `"}`, 70107},
		} {
			n.fails(v.name, n.post(v.path, v.query, v.body), v.want)
		}
		if got := n.post(queryPath, n.admin(), strings.Replace(many, `"x",`, "", 1)); !strings.Contains(got, `"OK"`) {
			t.Errorf("500: got %.100s", got)
		}
		n.fails("GET", n.send(httptest.NewRequest(http.MethodGet, "http://node"+queryPath+"?"+n.admin().Encode(), nil)), 60002)
		broken := httptest.NewRequest(http.MethodPost, "http://node"+queryPath+"?"+n.admin().Encode(), nil)
		broken.Body = io.NopCloser(cut{})
		n.fails("a body that breaks off", n.send(broken), 60002)
		// The samples of the documents have the parameters in either order, and any random.
		for _, raw := range []string{"usersig=%s&identifier=administrator&sdkappid=1400000001&random=-5", "sdkappid=1400000001&identifier=administrator&usersig=%s&contenttype=json&random=" + strings.Repeat("9", 32)} {
			r := httptest.NewRequest(http.MethodPost, "http://node"+queryPath+"?"+strings.Replace(raw, "%s", n.admin().Get("usersig"), 1), strings.NewReader(`{"To_Account":["a"]}`))
			if got := n.send(r); !strings.Contains(got, `"OK"`) {
				t.Errorf("%s: got %s", raw, got)
			}
		}
		if strings.Contains(strings.Join(n.calls, " "), "sendmsg") {
			t.Error("a stranger's path is counted by its name")
		}
	})
}

// expired is a UserSig of a day before the bubble's time.
func expired(t testing.TB) string {
	t.Helper()
	return pack(t, `{"TLS.ver":"2.0","TLS.identifier":"administrator","TLS.sdkappid":1400000001,"TLS.time":1,"TLS.expire":1,"TLS.sig":"x"}`)
}

// cut is a body that breaks off.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// 200 calls a second for each app, of queries and of kicks.
func TestRate(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		ask := func(path string) string { return n.post(path, n.admin(), `{"To_Account":["a"],"UserID":"a"}`) }
		for i := range 200 {
			path := queryPath
			if i%2 == 0 {
				path = statePath
			}
			if got := ask(path); !strings.Contains(got, `"OK"`) {
				t.Fatalf("call %d: got %s", i, got)
			}
		}
		n.fails("the 201st query", ask(queryPath), 60007)
		n.door.SetApps([]App{testApp}) // a reload gives nothing back
		n.fails("after a reload", ask(statePath), 60007)
		n.fails("no kick is a query", n.post(kickPath, n.admin(), "{}"), 70402)
		wait(4 * time.Millisecond)
		n.fails("4 ms later", ask(queryPath), 60007)
		wait(time.Millisecond)
		if got := ask(queryPath); !strings.Contains(got, `"OK"`) {
			t.Errorf("5 ms later: got %s", got)
		}
		q := n.admin()
		q.Set("sdkappid", "5")
		n.fails("the app is gone", n.post(queryPath, q, "{}"), 70020)
	})
}

// A kick that the store does not take is not answered OK; the next one does it.
func TestKickWithoutAStore(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		n.open("id1", "ios")
		n.store.Refuse(errors.New("disk full"))
		n.fails("no room", n.post(kickPath, n.admin(), `{"UserID":"id1"}`), 70169)
		n.store.Recover()
		if got := n.post(kickPath, n.admin(), `{"UserID":"id1"}`); !strings.Contains(got, `"OK"`) {
			t.Errorf("got %s", got)
		}
		n.says("id1", `"Status":"Offline"`)
	})
}

// stopped is a tracker whose node just stood still.
type stopped struct{ *tracker.Tracker }

// Takes is the tracker's.
func (stopped) Takes() error { return fault.New(fault.NodeUnavailable, "it stood still") }

// A kick that waited at a node that stood still ends nothing: the user may have signed in
// anew since.
func TestKickOfLongAgo(t *testing.T) {
	inNode(t, func(t *testing.T, n *node) {
		n.open("id1", "ios")
		n.door.cfg.Tracker = stopped{n.tracker}
		n.fails("it stood still", n.post(kickPath, n.admin(), `{"UserID":"id1"}`), 70169)
		if at := n.door.cfg.Revocations.Before(presence.User{App: "demo", ID: "id1"}); at != 0 {
			t.Errorf("access tokens count from %v on", at)
		}
		n.says("id1", `"Status":"Online","Detail":[{"Platform":"iPhone","Status":"Online"}]`)
	})
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{`{"To_Account":["a"],"IsNeedDetail":1}`, `{"To_Account":null}`, `[]`, `{"To_Account":[null,1]}`, ``, `{"to_account":["a"]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, no := parseQuery(body)
		if no == nil && (len(q.Accounts) == 0 || len(q.Accounts) > maxAccounts) {
			t.Errorf("%d accounts were taken", len(q.Accounts))
		}
		if no != nil && (no.Code < 90000 || no.Text == "") {
			t.Errorf("got %v", no)
		}
		if id, no := parseKick(body); (no == nil) != presence.ValidUserID(id) {
			t.Errorf("kick: got %q, %v", id, no)
		}
	})
}
