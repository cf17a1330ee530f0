package script

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/config"
)

// rest sends a request to the server API with the development key and returns
// what it answers, or prints its problem.
func (s *story) rest(method, path string, body map[string]any) (answer map[string]any, problem []string) {
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		text = string(b)
	}
	r := httptest.NewRequest(method, "http://node/api/v1"+path, strings.NewReader(text)).WithContext(s.t.Context())
	r.Header.Set("Authorization", "Bearer "+config.DevelopmentServerKey)
	w := httptest.NewRecorder()
	s.server.app.API().ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		s.t.Fatalf("%s %s: %d %s: %v", method, path, w.Code, w.Body, err)
	}
	if w.Code != http.StatusOK {
		return nil, []string{fmt.Sprintf("refused: %v", answer["code"])}
	}
	return answer, nil
}

func put(s *story, st *step) []string {
	body := map[string]any{"ttl": st.number(s.t, "ttl")}
	for option, field := range map[string]string{"status": "status", "text": "rich_text"} {
		if v := st.options[option]; v != "" {
			body[field] = v
		}
	}
	if st.options["invisible"] == "true" {
		body["invisible"] = true
	}
	name := st.word(1)
	answer, problem := s.rest("PUT", "/users/"+st.word(0)+"/presence?name="+name, body)
	if problem != nil {
		return problem
	}
	s.name(answer["session"].(string), name)
	if answer["opened"] == true {
		return []string{"opened"}
	}
	return nil
}

func remove(s *story, st *step) []string {
	answer, problem := s.rest("DELETE", "/users/"+st.word(0)+"/presence?name="+st.word(1), nil)
	if problem == nil && answer["removed"] == false {
		return []string{"was not there"}
	}
	return problem
}

func drop(s *story, st *step) []string {
	path := "/users/" + st.word(0) + "/sessions"
	if d := s.devices[st.word(1)]; d != nil {
		for id, name := range s.names {
			if name == st.word(1) {
				path += "/" + id
			}
		}
	}
	answer, problem := s.rest("DELETE", path, nil)
	if problem == nil {
		return []string{fmt.Sprintf("%v dropped", answer["dropped"])}
	}
	return problem
}

func erase(s *story, st *step) []string {
	answer, problem := s.rest("DELETE", "/users/"+st.word(0), nil)
	if problem == nil {
		return []string{fmt.Sprintf("erased with %v sessions", answer["sessions"])}
	}
	return problem
}

func sessions(s *story, st *step) (out []string) {
	answer, problem := s.rest("GET", "/users/"+st.word(0)+"/sessions?view=true", nil)
	if problem != nil {
		return problem
	}
	for _, one := range answer["sessions"].([]any) {
		o := one.(map[string]any)
		line := fmt.Sprintf("%s %v %v", s.names[o["session"].(string)], o["phase"], o["status"])
		if o["invisible"] == true {
			line += " invisible"
		}
		out = append(out, line)
	}
	if len(out) == 0 {
		out = append(out, "none")
	}
	return out
}
