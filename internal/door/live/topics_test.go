package live

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// topical opens a connection with an access token that says something of topics.
func (n *node) topical(user string, topics token.Topics, more string) *peer {
	n.t.Helper()
	p := n.open()
	p.Say(`{"t":"hello","token":%q%s}`, n.TopicJWT(user, topics), more)
	if got := p.Came(); len(got) != 1 || !strings.HasPrefix(got[0], `{"t":"welcome"`) {
		n.t.Fatalf("hello: got %q", got)
	}
	return p
}

// topics are the topic messages that came, one line each.
func (p *peer) topics() (lines []string) {
	p.n.t.Helper()
	for _, f := range p.Came() {
		var frame struct {
			T      string
			Missed bool
			M      []struct {
				Topic, U, Name string
				Value          json.RawMessage
				At             int64
				InCall         bool `json:"in_call"`
			}
		}
		read(p.n.t, f, &frame)
		if frame.T != "topic" {
			p.n.t.Errorf("got %s among topic messages", f)
		}
		if frame.Missed {
			lines = append(lines, "missed")
		}
		for _, m := range frame.M {
			if m.At < 946684800000 {
				p.n.t.Errorf("the time of %s is %d", f, m.At)
			}
			line := fmt.Sprintf("%s %s %s %s", m.Topic, m.U, m.Name, m.Value)
			if m.InCall {
				line += " in a call"
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func (p *peer) wantTopics(what string, want ...string) {
	p.n.t.Helper()
	if got := p.topics(); !slices.Equal(got, want) {
		p.n.t.Errorf("%s: got\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func publishes(pairs ...string) (t token.Topics) {
	for i := 0; i < len(pairs); i += 2 {
		t.Attributes = append(t.Attributes, token.Publication{Attribute: pairs[i], Topic: pairs[i+1]})
	}
	return t
}

// A device hears the topics that its token names, of whom a token maps there.
func TestTopics(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		boss := n.topical("boss", token.Topics{Subscribe: []string{"agents", topic.AllCallStatus}}, `,"topics":true`)
		quiet := n.topical("quiet", token.Topics{Subscribe: []string{"agents"}}, ``) // did not ask
		none := n.hello("none", `"topics":true`)                                     // may not
		agent := n.topical("agent", publishes("onlineStatus", "agents", "mood", "agents"), ``)
		boss.wantTopics("the agent comes", `agents agent onlineStatus "online"`)
		if got := agent.ask(`{"t":"attributes","id":4,"set":[{"name":"mood","value":{"x":"é"}},{"name":"private","value":null}]}`); got != `{"t":"ok","id":4,"changed":2}` {
			t.Errorf("set: %s", got)
		}
		boss.wantTopics("the agent's mood", `agents agent mood {"x":"é"}`)
		agent.ask(`{"t":"attributes","set":[{"name":"mood","value":1}],"remove":["private"]}`)
		if got := agent.ask(`{"t":"attributes","id":5,"set":[{"name":"mood","value":1}],"remove":["private"]}`); got != `{"t":"ok","id":5,"changed":0}` {
			t.Errorf("set again: %s", got)
		}
		boss.wantTopics("once", `agents agent mood 1`)
		if _, err := n.Topics.SetCall(t.Context(), topic.CallParams{App: doortest.App, ID: "c", Participants: []presence.UserID{"agent"}, State: topic.Calling}); err != nil {
			t.Fatal(err)
		}
		boss.wantTopics("a call", `ALL_CALL_STATUS agent call "Calling" in a call`)
		got := boss.ask(`{"t":"attributes","id":6,"user":"agent"}`)
		for _, part := range []string{`{"t":"ok","id":6,"attributes":[{"name":"mood","value":1,"at":`, `{"name":"call","value":"Calling","at":`} {
			if !strings.Contains(got, part) {
				t.Errorf("get: %s, want %s", got, part)
			}
		}
		agent.Say(`{"t":"bye"}`)
		boss.wantTopics("the agent goes", `agents agent onlineStatus "offline" in a call`)
		quiet.wantTopics("who did not ask")
		none.wantTopics("who may not")
	})
}

// What a device may not set, or sees nothing of.
func TestAttributeRights(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice, bob := n.hello("alice", ""), n.hello("bob", "")
		bob.ask(`{"t":"attributes","set":[{"name":"a","value":1}]}`)
		for frame, field := range map[string]string{
			`"user":"bob","set":[{"name":"a","value":2}]`:                              "user",
			`"set":[{"name":"ok","value":1},{"name":"onlineStatus","value":"online"}]`: "set[1].name",
			`"set":[{"name":"ok","value":1}],"remove":["call"]`:                        "remove[0]",
			`"set":[{"name":"ok"}]`:                                                    "set[0].value",
			`"set":{"ok":1}`:                                                           "set",
			`"set":[{"name":1}]`:                                                       "set.name",
			`"remove":[""]`:                                                            "remove[0]",
			`"user":"\u0000"`:                                                          "user",
			`"set":[{"name":"ok","value":"` + strings.Repeat("x", topic.MaxValue) + `"}]`: "set[0].value",
		} {
			if got := alice.ask(`{"t":"attributes","id":1,` + frame + `}`); !strings.HasPrefix(got, `{"t":"error","id":1,"reason":"FIELD_INVALID"`) || !strings.Contains(got, `"path":"`+field+`"`) {
				t.Errorf("%.60s: got %s, want an error of %s", frame, got, field)
			}
		}
		if got := alice.ask(`{"t":"attributes","id":2}`); got != `{"t":"ok","id":2,"attributes":[]}` {
			t.Errorf("what was refused left %s", got)
		}
		if got := alice.ask(`{"t":"attributes","id":3,"user":"bob"}`); !strings.Contains(got, `"name":"a"`) {
			t.Errorf("of bob: %s", got)
		}
		n.Roster.Block("alice", "bob", 0)
		if got := alice.ask(`{"t":"attributes","id":4,"user":"bob"}`); got != `{"t":"ok","id":4,"attributes":[]}` {
			t.Errorf("of one who blocks: %s", got)
		}
	})
}

// A fresh token changes the topics; a bad one of a hello ends it.
func TestTopicsOfTokens(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		bob := n.topical("bob", publishes("a", "A", "b", "B"), ``)
		alice := n.topical("alice", token.Topics{Subscribe: []string{"A"}}, `,"topics":true`)
		both := `{"t":"attributes","set":[{"name":"a","value":%d},{"name":"b","value":%d}]}`
		bob.ask(both, 1, 1)
		alice.wantTopics("A", "A bob a 1")
		alice.ask(`{"t":"token","token":%q}`, n.TopicJWT("alice", token.Topics{Subscribe: []string{"B"}}))
		bob.ask(both, 2, 2)
		alice.wantTopics("B", "B bob b 2")
		bob.ask(`{"t":"token","token":%q}`, n.TopicJWT("bob", publishes("a", "B")))
		bob.ask(both, 3, 3)
		alice.wantTopics("mapped anew", "B bob a 3")
		alice.ask(`{"t":"token","token":%q}`, n.JWT("alice"))
		bob.ask(both, 4, 4)
		alice.wantTopics("no topics")

		for _, bad := range []token.Topics{publishes("a", ""), publishes(strings.Repeat("x", 65), "T"), {Subscribe: []string{"a\n"}}} {
			p := n.open()
			p.Say(`{"t":"hello","token":%q,"topics":true}`, n.TopicJWT("carol", bad))
			got := strings.Join(p.Came(), " ")
			if !strings.Contains(got, `"reason":"JWT_INVALID"`) || !strings.Contains(got, "presence_topics") {
				t.Errorf("%v: got %s", bad, got)
			}
		}
	})
}

// Who reads too slowly is told that messages were left out, and goes on.
func TestMissedTopics(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		n.topical("bob", publishes("a", "A"), ``)
		p, _ := n.handshake(Path)
		p.Say(`{"t":"hello","token":%q,"topics":true}`, n.TopicJWT("alice", token.Topics{Subscribe: []string{"A"}}))
		set := func(v int) {
			value := fmt.Sprintf(`{"n":%d,"pad":%q}`, v, strings.Repeat("x", 3000))
			if _, _, err := n.Topics.Set(t.Context(), presence.User{App: doortest.App, ID: "bob"}, []topic.Attribute{{Name: "a", Value: json.RawMessage(value)}}); err != nil {
				t.Fatal(err)
			}
		}
		wait(0) // the peer reads nothing: the welcome waits in the pipe
		for i := range 2 * topic.QueueSize {
			set(i)
		}
		go p.Read()
		got := strings.Join(p.Came(), "\n")
		if !strings.Contains(got, `{"t":"topic","missed":true}`) {
			t.Errorf("nothing said that messages were left out: %.300s", got)
		}
		set(9999)
		if got := strings.Join(p.Came(), "\n"); !strings.Contains(got, `{"n":9999,`) {
			t.Errorf("after it came %.300s", got)
		}
		p.stands()
	})
}
