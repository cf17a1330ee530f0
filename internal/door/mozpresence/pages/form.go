package pages

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"

	"github.com/porchlight-dev/porchlight/internal/admit"
)

// forForm is what the notes of forms are sealed for.
const forForm = "mozpresence/form"

// note is what a form is sealed with.
type note struct {
	Nonce string `json:"n"` // of the login
	What  string `json:"w"`
	On    string `json:"o"` // what it does it to
}

// formNote returns what a form carries in the field "form".
func (v *visit) formNote(what, on string) string {
	text, err := json.Marshal(note{v.login.Nonce, what, on})
	if err != nil {
		return "" // never: it is text
	}
	return v.p.cfg.Gate.SealNote(forForm, text)
}

// checkForm refuses a form that is not one of ours, for this login and for just
// this.
func (v *visit) checkForm(what, on string) error {
	if v.direct {
		return nil
	}
	foreign := &problem{Code: http.StatusForbidden, Errno: errnoForm, Title: "This form is not good any more",
		Text: "It was made for another sign-in, was used already, or does not come from our pages. Nothing was changed. Please open the page again and repeat what you wanted.", Link: "/grant", Words: "Go to your list"}
	if v.at.get != nil {
		foreign.Link, foreign.Words = v.r.URL.RequestURI(), "Open the page again"
	}
	origin, site := v.r.Header.Get("Origin"), v.r.Header.Get("Sec-Fetch-Site")
	if origin != "" && !admit.SameOrigin(origin, v.r.Host) || site != "" && site != "same-origin" {
		return foreign
	}
	text, ok := v.p.cfg.Gate.OpenNote(forForm, v.field("form"))
	var n note
	if !ok || json.Unmarshal(text, &n) != nil || n.What != what || n.On != on || subtle.ConstantTimeCompare([]byte(n.Nonce), []byte(v.login.Nonce)) != 1 {
		return foreign
	}
	return nil
}
