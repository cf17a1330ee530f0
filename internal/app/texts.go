package app

import (
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// setTexts puts other texts in place of all. Whoever watches reads them in what
// he is told from then on; of what did not change nobody is told again.
func (a *App) setTexts(texts map[presence.AppID]*localize.Texts) {
	a.texts.Replace(texts)
	if a.hub != nil {
		a.hub.Forget()
	}
}
