package localize

import (
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Set holds the texts of all apps of a node; they can be replaced while they are
// read. The zero value has none, and so has nil.
type Set struct {
	apps atomic.Pointer[map[presence.AppID]*Texts]
}

// Replace puts other texts in place of all. Nothing may change the map after. What
// was made of the older texts and kept must be made anew by whoever kept it.
func (s *Set) Replace(apps map[presence.AppID]*Texts) { s.apps.Store(&apps) }

func (s *Set) of(app presence.AppID) *Texts {
	if s == nil {
		return nil
	}
	if apps := s.apps.Load(); apps != nil {
		return (*apps)[app]
	}
	return nil
}

// Locale is Texts.Locale of an app.
func (s *Set) Locale(app presence.AppID, locale string) string { return s.of(app).Locale(locale) }

// Reader reads the texts of one app, as they are now, for one locale.
type Reader struct {
	texts  *Texts
	locale string
}

// Reader returns one for a reader of the locale.
func (s *Set) Reader(app presence.AppID, locale string) Reader {
	t := s.of(app)
	return Reader{t, t.Locale(locale)}
}

// Text is Texts.Text.
func (r Reader) Text(v *presence.Value, product string) (text, used string) {
	return r.texts.Text(v, product, r.locale)
}
