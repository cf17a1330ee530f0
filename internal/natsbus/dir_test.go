package natsbus

import "testing"

func FuzzMark(f *testing.F) {
	f.Add(markHead + modeStandalone + "\n")
	f.Add(markHead + modeClustered + "\n")
	f.Add(markHead)
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		mode, err := parseMark(s)
		if err == nil && mode != modeStandalone && mode != modeClustered {
			t.Errorf("parseMark(%q): got mode %q, want one of ours or an error", s, mode)
		}
	})
}
