package rest

import (
	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/text/language"

	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func checkLocale(at, locale string) []error {
	if locale == "" {
		return nil
	}
	if _, err := language.Parse(locale); err != nil {
		return []error{&huma.ErrorDetail{Location: at, Message: "not a locale; write it as en-US or en_US"}}
	}
	return nil
}

// translate makes texts of the references in sessions of an app, for a reader of
// the locale; with an empty one they stay as they are.
func (d *Door) translate(app presence.AppID, locale string, sessions []Session) {
	if locale == "" {
		return
	}
	r := d.cfg.Texts.Reader(app, locale)
	for i := range sessions {
		sessions[i].translate(r)
	}
}

func (o *Session) translate(r localize.Reader) {
	if v := o.RichText; v != nil && v.Kind == presence.KindRef {
		text, used := r.Text(&v.Value, o.Device.Product)
		o.RichText, o.TextLocale = nil, used
		if text != "" {
			o.RichText = &Value{presence.Value{Kind: presence.KindText, Text: text}}
		}
	}
	for key, v := range o.Properties {
		if v.Kind == presence.KindRef {
			text, _ := r.Text(&v.Value, o.Device.Product)
			o.Properties[key] = Value{presence.Value{Kind: presence.KindText, Text: text}}
		}
	}
}
