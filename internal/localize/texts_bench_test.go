package localize

import (
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A status with an enumeration in it, as in the demo catalogue; and the locale
// of a reader, which is looked up once for each watcher and reload.
//
//	go test -bench . -benchmem ./internal/localize
func BenchmarkText(b *testing.B) {
	x := texts(b, "en", map[string]string{"": `{"locales": {
		"en": {"match": "In a match on {map}, {score} to {other}", "map.7": "The Harbour"},
		"de": {"match": "In einem Spiel auf {map}, {score} zu {other}"}}}`})
	v := ref("match", "In a match", arg("map", *ref("map.7", "")), arg("other", presence.Value{Kind: presence.KindInteger, Integer: 2}),
		arg("score", presence.Value{Kind: presence.KindInteger, Integer: 3}))
	for _, bb := range []struct {
		name, locale string
		v            *presence.Value
	}{{"nested", "de", v}, {"fallback", "de", ref("none", "In a match")}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Text(bb.v, "", bb.locale)
			}
		})
	}
	b.Run("locale", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.Locale("de-AT")
		}
	})
}
