package isonline

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/mem"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Texts that are replaced show in what is told and asked from then on, and of a
// status that did not change nobody is told again.
func TestReplacedTextsShowFromTheNextChange(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		replace := func(word string) {
			c, err := localize.Parse(fmt.Appendf(nil, `{"locales": {"en": {"#t": %q}}}`, word))
			if err != nil {
				t.Fatal(err)
			}
			x, err := localize.New("en", map[string]*localize.Catalogue{"": c})
			if err != nil {
				t.Fatal(err)
			}
			n.texts.Replace(map[presence.AppID]*localize.Texts{"demo": x})
			n.hub.Forget()
		}
		status := &isonlinev1.IsOnlineUpdate{RichText: &isonlinev1.RichText{Kind: &isonlinev1.RichText_Template{
			Template: &isonlinev1.LocalizedRef{Token: "#t", FallbackText: "fallback"},
		}}}
		alice := n.device("alice").make()
		alice.connect(&isonlinev1.ConnectToIsOnlineSessionRequest{Initial: status})
		bob := n.device("bob").make().subscribe("alice")
		stream := bob.connect(nil)
		told := func(want ...string) {
			t.Helper()
			list := notifications(stream.take())
			if len(list) != len(want) {
				t.Fatalf("told of %v, want %d", list, len(want))
			}
			for i, m := range list {
				if got := m.GetSession().GetRichText() + " in " + m.GetSession().GetRichTextLocale(); got != want[i] {
					t.Errorf("told %q, want %q", got, want[i])
				}
			}
		}
		told("fallback in ")
		replace("one")
		told()
		carol := n.device("carol").make().subscribe("alice")
		if got := notifications(carol.connect(nil).take())[0].GetSession().GetRichText(); got != "one" {
			t.Errorf("a snapshot after the texts came: got %q, want one", got)
		}
		replace("two")
		if got := carol.query("alice").GetSessions()[0].GetRichText(); got != "two" {
			t.Errorf("a query: got %q, want two", got)
		}
		told()
		status.Status = isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY
		alice.must(alice.update(status))
		told("two in en")
	})
}

// However many locales watchers are in, a change is encoded once for each language
// that there is.
func TestManyLocalesShareTheTextsThereAre(t *testing.T) {
	t.Parallel()
	e := goldenEncoder()
	forms := map[string]bool{}
	for _, locale := range []string{"da", "da-DK", "da-GL", "en", "en-GB", "en-US", "fr", "ja", "pt-BR", "zh-Hant", ""} {
		forms[e.Locale("demo", locale)] = true
	}
	if len(forms) != 3 {
		t.Errorf("the locales come to %v, want da, en and none", forms)
	}
}

// What a change costs for each language of its watchers.
//
//	go test -run XXX -bench Encode -benchmem ./internal/door/isonline
func BenchmarkEncode(b *testing.B) {
	open := presence.Face{Opened: 1, Changed: 2, Revision: 7, Since: moment(0), Updated: moment(5)}
	for _, bb := range []struct {
		name   string
		status *presence.Status
	}{{"literal", goldenStatus()}, {"template", playing("#map_8")}} {
		b.Run(bb.name, func(b *testing.B) {
			v := goldenView(bb.status, open, open)
			p := &presence.Presence{User: presence.User{App: "demo", ID: "alice"}, Sessions: []*presence.View{v}}
			n := &hub.Notification{Presence: p, View: v, Kind: hub.KindUpdated, Available: true, Locale: "da"}
			e := goldenEncoder()
			b.ReportAllocs()
			for b.Loop() {
				_ = e.Encode(n).(mem.Buffer)
			}
		})
	}
}
