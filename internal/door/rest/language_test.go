package rest

import (
	"net/http"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// demoTexts has a catalogue for app demo alone.
func demoTexts(t testing.TB) *localize.Set {
	t.Helper()
	c, err := localize.Parse([]byte(`{"locales":{"":{"on_map":"On {map}"},"de":{"on_map":"Auf der Karte {map}","harbour":"Der Hafen"},"pt":{"harbour":"O Porto"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	texts, err := localize.New("", map[string]*localize.Catalogue{"": c})
	if err != nil {
		t.Fatal(err)
	}
	set := &localize.Set{}
	set.Replace(map[presence.AppID]*localize.Texts{"demo": texts})
	return set
}

// TestLocale: with locale, references become texts of it; without, they come as
// they are.
func TestLocale(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	harbour := presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "harbour", Fallback: "the harbour"}}
	onMap := presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "on_map", Args: []presence.Property{{Key: "map", Value: harbour}}}}
	n.open("alice", presence.Device{}, &presence.Status{Text: onMap, Properties: []presence.Property{{Key: "map", Value: harbour}, {Key: "score", Value: text("3")}}})
	n.open("bob", presence.Device{}, &presence.Status{Text: presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "unknown"}}})

	session := func(text string) string {
		return `{"session":"*","device":{},"status":"online",` + text + `,"since":"*","updated":"*","revision":"*"}`
	}
	alice := func(sessions string) string {
		return `{"user":"alice","available":true,"availability":"online","sessions":[` + sessions + `]}`
	}
	german := session(`"rich_text":"Auf der Karte Der Hafen","rich_text_locale":"de","properties":{"map":"Der Hafen","score":"3"}`)
	french := session(`"rich_text":"On the harbour","properties":{"map":"the harbour","score":"3"}`)
	n.wants("GET", "/users/alice?locale=de_AT", "", alice(german))
	n.wants("GET", "/users/alice?locale=fr", "", alice(french))
	n.wants("GET", "/users/alice/sessions?locale=de", "", `{"sessions":[`+german+`]}`)
	n.wants("POST", "/users/query", `{"users":["alice"],"locale":"de"}`, `{"users":[`+alice(german)+`]}`)
	n.wants("GET", "/users/alice", "", alice(session(
		`"rich_text":{"token":"on_map","args":{"map":{"token":"harbour","fallback":"the harbour"}}},"properties":{"map":{"token":"harbour","fallback":"the harbour"},"score":"3"}`)))
	// A text that nobody has shows nothing, and its token never.
	n.wants("GET", "/users/bob?locale=de", "", `{"user":"bob","available":true,"availability":"online","sessions":[{"session":"*","device":{},"status":"online","since":"*","updated":"*","revision":"*"}]}`)
	n.refused("GET", "/users/alice?locale=no+locale", "", http.StatusUnprocessableEntity, "FIELD_INVALID")
	n.refused("POST", "/users/query", `{"users":["alice"],"locale":"1"}`, http.StatusUnprocessableEntity, "FIELD_INVALID")
}
