package facts

import "testing"

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"0", "7", "7.1.0", "18446744073709551615.4294967295.0", "1.4294967295.4294967295", "x", "", "1..2", "-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePosition(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Errorf("%q: got %v, want one text for each position", s, p)
		}
	})
}
