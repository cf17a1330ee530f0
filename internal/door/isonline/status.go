package isonline

import (
	"fmt"
	"maps"
	"slices"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// statusOf reads an update as a whole status. path is where the update stands
// in the request, for the words of a refusal.
func statusOf(path string, u *isonlinev1.IsOnlineUpdate) (*presence.Status, error) {
	s := &presence.Status{Invisible: u.GetAppearOffline()}
	switch u.GetStatus() {
	case isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_UNSPECIFIED, isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_ONLINE:
		s.Show = presence.Online
	case isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY:
		s.Show = presence.Away
	case isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY:
		s.Show = presence.Busy
	default:
		return nil, fault.Invalid(path+".status", "unknown status %d; use ONLINE, AWAY or BUSY", u.GetStatus())
	}
	var err error
	if s.Text, err = textOf(path+".rich_text", u.GetRichText()); err != nil {
		return nil, err
	}
	if s.Properties, err = propertiesOf(path+".properties", u.GetProperties(), 0); err != nil {
		return nil, err
	}
	return s, checkStatus(path, s)
}

// checkStatus refuses a status that is over a bound.
func checkStatus(path string, s *presence.Status) error {
	broken := s.Check()
	if len(broken) == 0 {
		return nil
	}
	e := &fault.Error{Kind: fault.FieldInvalid}
	for _, v := range broken {
		at := path
		if v.Path != "" {
			at += "." + v.Path
		}
		e.Fields = append(e.Fields, fault.Field{Path: at, Rule: v.Rule})
	}
	return e
}

func textOf(path string, t *isonlinev1.RichText) (presence.Value, error) {
	switch k := t.GetKind().(type) {
	case *isonlinev1.RichText_Literal:
		if k.Literal == "" {
			return presence.Value{}, nil
		}
		return presence.Value{Kind: presence.KindText, Text: k.Literal}, nil
	case *isonlinev1.RichText_Template:
		return refOf(path+".template", k.Template, 0)
	}
	return presence.Value{}, nil
}

// propertiesOf reads a map in the order of its keys.
func propertiesOf(path string, m map[string]*isonlinev1.Value, depth int) ([]presence.Property, error) {
	if len(m) == 0 {
		return nil, nil
	}
	if len(m) > presence.MaxProperties {
		return nil, fault.Invalid(path, "%d entries; at most %d are allowed", len(m), presence.MaxProperties)
	}
	list := make([]presence.Property, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		v, err := valueOf(fmt.Sprintf("%s[%.64q]", path, key), m[key], depth)
		if err != nil {
			return nil, err
		}
		list = append(list, presence.Property{Key: key, Value: v})
	}
	return list, nil
}

func valueOf(path string, v *isonlinev1.Value, depth int) (presence.Value, error) {
	switch k := v.GetKind().(type) {
	case *isonlinev1.Value_Text:
		return presence.Value{Kind: presence.KindText, Text: k.Text}, nil
	case *isonlinev1.Value_Integer:
		return presence.Value{Kind: presence.KindInteger, Integer: k.Integer}, nil
	case *isonlinev1.Value_Number:
		return presence.Value{Kind: presence.KindNumber, Number: k.Number}, nil
	case *isonlinev1.Value_Flag:
		return presence.Value{Kind: presence.KindFlag, Flag: k.Flag}, nil
	case *isonlinev1.Value_Localized:
		return refOf(path+".localized", k.Localized, depth)
	}
	return presence.Value{}, fault.Invalid(path, "a value needs one of text, integer, number, flag, localized")
}

func refOf(path string, r *isonlinev1.LocalizedRef, depth int) (presence.Value, error) {
	if depth >= presence.MaxRefDepth {
		return presence.Value{}, fault.Invalid(path, "references nest deeper than %d", presence.MaxRefDepth)
	}
	args, err := propertiesOf(path+".args", r.GetArgs(), depth+1)
	if err != nil {
		return presence.Value{}, err
	}
	return presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{
		Token: r.GetToken(), Args: args, Fallback: r.GetFallbackText(),
	}}, nil
}

// patchOf is a partial update, of which part is its update as a whole status:
// what it does not name stays (protocol note A4, PartialUpdate).
func patchOf(req *isonlinev1.PartialUpdateIsOnlineSessionRequest, part *presence.Status) *presence.Patch {
	p := &presence.Patch{
		Text: part.Text, ClearText: req.GetClearRichText(), Clear: req.GetClearProperties(), Properties: part.Properties,
		Invisible: req.AppearOffline,
	}
	if req.GetUpdate().GetStatus() != isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_UNSPECIFIED {
		p.Show = &part.Show
	}
	return p
}
