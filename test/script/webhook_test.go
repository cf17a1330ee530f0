package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

// hook is the backend that the server's webhook tells.
type hook struct {
	story *story

	mu     sync.Mutex // guards all below
	status int        // what it answers; 0: nothing
	down   bool
}

// webhooks are the endpoints of a start: hook, of the format that option
// webhook names.
func webhooks(st *step) map[string]config.Webhook {
	format := st.options["webhook"]
	if format == "" {
		return nil
	}
	w := config.Webhook{URL: "https://hook.example/", Format: format, IncludeCustom: st.options["custom"] == "true"}
	if format == config.FormatNative || format == config.FormatCloudEvents {
		w.Secrets = []config.Secret{config.DevelopmentWebhookSecret}
	}
	return map[string]config.Webhook{"hook": w}
}

// Post prints a request, and answers as the story has it.
func (h *hook) Post(ctx context.Context, address string, _ http.Header, body []byte) (outbound.Answer, error) {
	h.mu.Lock()
	status, down := h.status, h.down
	h.mu.Unlock()
	lines := told(address, body)
	word := fmt.Sprint("answered ", status)
	switch {
	case down:
		return outbound.Answer{}, errors.New("connection refused")
	case status == 0:
		word = "not answered"
	}
	for _, line := range lines {
		// Between users there is no order at one instant: they are sorted as streams are.
		h.story.hear("hook", int(line[0]), "%s, %s", line, word)
	}
	if status == 0 {
		<-ctx.Done()
		return outbound.Answer{}, ctx.Err()
	}
	return outbound.Answer{Status: status, Body: []byte(`{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`)}, nil
}

// Close does nothing: the backend outlives the server.
func (h *hook) Close() {}

// told is a request in words.
func told(address string, body []byte) (lines []string) {
	switch {
	case strings.Contains(address, "appKey="):
		var events []struct{ Userid, Status, Os string }
		json.Unmarshal(body, &events)
		for _, e := range events {
			lines = append(lines, fmt.Sprintf("%s status %s %s", e.Userid, e.Status, e.Os))
		}
	case strings.Contains(address, "SdkAppid="):
		lines = append(lines, string(body))
	default:
		var b native.Body
		json.Unmarshal(body, &b)
		mark := ""
		if b.Replay != "" {
			mark = " (replay)"
		}
		if b.Resent {
			mark = " (resent)"
		}
		if b.Gap != nil {
			return []string{"gap"}
		}
		for _, e := range b.Events {
			lines = append(lines, eventLine(&e)+mark)
		}
	}
	return lines
}

func eventLine(e *native.Event) string {
	line := fmt.Sprintf("%s #%d %s", e.User, e.Seq, e.Kind)
	if e.Reason != e.Kind && e.Reason != "" {
		line += " " + e.Reason
	}
	if e.Session != nil {
		line += " " + unnamed + e.Session.ID + unnamed
	}
	if e.Invisible {
		line += " invisible"
	}
	switch {
	case e.Available && !e.WasAvailable:
		line += ", there now"
	case e.WasAvailable && !e.Available:
		line += ", gone now"
	}
	switch {
	case e.ShownAvailable && !e.ShownWasAvailable:
		line += ", seen to come"
	case e.ShownWasAvailable && !e.ShownAvailable:
		line += ", seen to go"
	}
	return line
}

// receiver is what the backend answers from now on: a status, nothing (hangs), or
// no connection (down).
func receiver(s *story, st *step) []string {
	h := s.server.hook
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down, h.status = false, 0
	switch word := st.word(0); word {
	case "down":
		h.down = true
	case "hangs":
	case "up":
		h.status = http.StatusOK
	default:
		if _, err := fmt.Sscan(word, &h.status); err != nil {
			s.t.Fatalf("%s: up, down, hangs, or a status", st.line)
		}
	}
	return nil
}

// hooked prints how the webhook is doing.
func hooked(s *story, _ *step) []string {
	a, problem := s.rest("GET", "/webhooks/hook", nil)
	if problem != nil {
		return problem
	}
	line := fmt.Sprintf("%v, %v delivered, %v failed, %v dead, lag %vs", a["doing"], a["delivered"], a["failures"], a["dead"], a["lag_seconds"])
	if e := a["last_error"]; e != nil {
		line += fmt.Sprintf(", last: %v", e)
	}
	return []string{line}
}

// replay tells again what happened since a position.
func replay(s *story, st *step) []string {
	_, problem := s.rest("POST", "/webhooks/hook/replay", map[string]any{"position": st.word(0)})
	return problem
}

// resend sends all dead letters again.
func resend(s *story, st *step) []string {
	a, problem := s.rest("POST", "/webhooks/hook/resend", map[string]any{"all": true, "force": st.options["force"] == "true"})
	if problem != nil {
		return problem
	}
	older, _ := a["older"].([]any)
	return []string{fmt.Sprintf("%v sent, %v failed, %d older", a["sent"], a["failed"], len(older))}
}

// changes prints what happened behind a position.
func changes(s *story, st *step) (out []string) {
	a, problem := s.rest("GET", "/changes?limit=1000&after="+st.options["after"], nil)
	if problem != nil {
		return problem
	}
	b, _ := json.Marshal(a["events"])
	var events []native.Event
	if err := json.Unmarshal(b, &events); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range events {
		out = append(out, s.named(eventLine(&events[i])))
	}
	return out
}

var _ webhook.Sender = (*hook)(nil)
