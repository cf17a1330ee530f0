package presence

import "slices"

// Patch is a change of some of a status; what it does not name stays.
type Patch struct {
	Show       *Show
	Text       Value // KindNone leaves the text, unless ClearText
	ClearText  bool
	Clear      []string   // keys of properties to take away
	Properties []Property // to set, after Clear; sorted by key, no key twice
	Invisible  *bool
}

// Apply returns old changed by p; old stays as it is.
func (p *Patch) Apply(old *Status) *Status {
	s := *old
	if p.Show != nil {
		s.Show = *p.Show
	}
	switch {
	case p.Text.Kind != KindNone:
		s.Text = p.Text
	case p.ClearText:
		s.Text = Value{}
	}
	if p.Invisible != nil {
		s.Invisible = *p.Invisible
	}
	if len(p.Clear)+len(p.Properties) == 0 {
		return &s
	}
	s.Properties = make([]Property, 0, len(old.Properties)+len(p.Properties))
	for i := range old.Properties {
		one := &old.Properties[i]
		given := slices.ContainsFunc(p.Properties, func(n Property) bool { return n.Key == one.Key })
		if !given && !slices.Contains(p.Clear, one.Key) {
			s.Properties = append(s.Properties, *one)
		}
	}
	if s.Properties = append(s.Properties, p.Properties...); len(s.Properties) == 0 {
		s.Properties = nil
	}
	s.Normalize()
	return &s
}
