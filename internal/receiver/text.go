package receiver

import (
	"fmt"
	"strings"
)

// String is the request in lines for people.
func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  POST %s  %s, signature %s", r.At.Local().Format("15:04:05.000"), clean(r.Path), count(len(r.Events), "event"), r.Signature)
	if r.Replay != "" {
		b.WriteString(", replay " + clean(r.Replay))
	}
	if r.Resent {
		b.WriteString(", sent again")
	}
	fmt.Fprintf(&b, ", answered %d", r.Answer)
	if r.After != "" {
		b.WriteString(" after " + r.After)
	}
	b.WriteByte('\n')
	if r.Problem != "" {
		b.WriteString("  ! " + clean(r.Problem) + "\n")
	}
	for _, e := range r.Events {
		b.WriteString("  " + e.String() + "\n")
	}
	return b.String()
}

// String is the event in one line.
func (e Event) String() string {
	line := fmt.Sprintf("%-12s  %-10s", clean(e.User), clean(e.Kind))
	if e.User == "" {
		line = clean(e.Kind)
	}
	if e.Seq > 0 {
		line += fmt.Sprintf("  #%d", e.Seq)
	}
	if e.Text != "" {
		line += "  " + clean(e.Text)
	}
	if !e.At.IsZero() {
		line += "  " + e.At.Local().Format("15:04:05.000")
	}
	if e.Note != "" {
		line += "  <- " + e.Note
	}
	return line
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// longestShown bounds what is printed of one value.
const longestShown = 512

// clean makes what a stranger sent harmless for a terminal.
func clean(s string) string {
	if len(s) > longestShown {
		s = s[:longestShown] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}
