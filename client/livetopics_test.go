package client

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Topic messages are told in their order, and that some were left out.
func TestLiveTopics(t *testing.T) {
	t.Parallel()
	f := &liveFake{scripts: []func(*livePeer){func(p *livePeer) {
		p.welcome(`"resume":"r1","q":0`)
		p.says(`{"t":"topic","m":[{"topic":"T","u":"bob","name":"mood","value":{"x":1},"at":1772366400000},{"topic":"T","u":"bob","name":"call","value":"Ringing","at":1772366400000,"in_call":true}]}`, `{"t":"topic","missed":true}`)
		p.serves()
	}}}
	var told []string
	f.topic = func(m TopicMessage) {
		told = append(told, fmt.Sprintf("%s %s %s %s %d %v %v", m.Topic, m.User, m.Name, m.Value, m.At.UnixMilli(), m.InCall, m.Missed))
	}
	liveBubble(t, f, func(t *testing.T, c *Client) {
		open(t, c, Options{})
		synctest.Wait()
		want := []string{`T bob mood {"x":1} 1772366400000 false false`, `T bob call "Ringing" 1772366400000 true false`}
		if len(told) != 3 || !slices.Equal(told[:2], want) || !strings.HasSuffix(told[2], "false true") {
			t.Errorf("told %q, want %q and that some are missing", told, want)
		}
		f.expect(t, `{"t":"hello","token":"t0","device":{"platform":"web","id":"d1"},"status":{"invisible":false},"topics":true}`)
	})
}

// What was told in topics while the link was down is said to be missing, after
// a resume and after a session that is new; not when the first link comes up.
func TestLiveTopicsMissed(t *testing.T) {
	t.Parallel()
	f := &liveFake{scripts: []func(*livePeer){
		func(p *livePeer) {
			p.welcome(`"resume":"r1","q":0`)
			p.says(`{"t":"topic","m":[{"topic":"T","u":"bob","name":"mood","value":1,"at":1772366400000}]}`)
			wait(p.ctx, time.Second)
		},
		func(p *livePeer) {
			p.welcome(`"resume":"r2","resumed":true,"q":2`)
			wait(p.ctx, time.Second)
		},
		func(p *livePeer) { // the server lost it all
			p.hears()
			p.says(`{"t":"bye","reason":"SESSION_GONE","kept":false}`)
			_ = p.conn.Close(4410, "SESSION_GONE")
		},
		func(p *livePeer) {
			p.welcome(`"resume":"r9","q":0`)
			p.serves()
		},
	}}
	var told []string
	f.topic = func(m TopicMessage) { told = append(told, fmt.Sprint(m.Topic, m.Missed)) }
	liveBubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		expectTales(t, s, "link_down", "link_up", "link_down", "link_up")
		synctest.Wait()
		if want := []string{"Tfalse", "true", "true"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}
