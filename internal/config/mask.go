package config

import (
	"fmt"
	"regexp"
	"strings"
)

// What an error shows of a file never has a key in it: a line is cut after the
// name of a secret, and so is all that belongs to it on the lines below.
var (
	secretKey = regexp.MustCompile(`(?i)["']?[a-z_-]*(?:secrets?|key|password|token)["']?\s*[:=]`)
	// secretText is what looks like a key wherever it stands.
	secretText = regexp.MustCompile(`[A-Za-z0-9+/=_-]{24,}`)
	// userText is the name and the password of a URL.
	userText = regexp.MustCompile(`://[^/@\s]*@`)
)

const notShown = "(not shown)"

// masked hides what looks like a key in a text of one line.
func masked(s string) string {
	if m := secretKey.FindStringIndex(s); m != nil && strings.TrimSpace(s[m[1]:]) != "" {
		s = s[:m[1]] + " " + notShown
	}
	s = userText.ReplaceAllString(s, "://"+notShown+"@")
	return secretText.ReplaceAllStringFunc(s, func(run string) string {
		for part := range strings.SplitSeq(run, "/") {
			if len(part) >= longWord && looksRandom(part) {
				return notShown
			}
		}
		return run
	})
}

// longWord is longer than what usually stands between two slashes of a path.
const longWord = 20

// looksRandom tells a key from a long name.
func looksRandom(s string) bool {
	digits, upper, lower := 0, 0, 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r >= 'A' && r <= 'Z':
			upper++
		case r >= 'a' && r <= 'z':
			lower++
		}
	}
	return digits >= 3 || upper >= 3 && lower >= 3
}

// maskedLines is a text with its secrets hidden, line by line. Line hide (from
// 1; 0 is none) and what belongs to it is hidden after its first colon, whatever
// its key.
func maskedLines(text string, hide int) []string {
	lines := strings.Split(text, "\n")
	deep := -1     // what is indented more than that belongs to a secret
	items := false // and so do items of a list that are indented like it
	for i, line := range lines {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		blank := strings.TrimSpace(line) == ""
		if deep >= 0 && (blank || indent > deep || items && indent == deep && strings.HasPrefix(line[indent:], "-")) {
			if !blank {
				lines[i] = line[:indent] + notShown
			}
			continue
		}
		deep = -1
		m := secretKey.FindStringIndex(line)
		if colon := strings.IndexByte(line, ':'); i+1 == hide && colon >= 0 && (m == nil || colon < m[1]) {
			m = []int{indent, colon + 1}
		}
		if m == nil {
			lines[i] = masked(line)
			continue
		}
		lines[i] = masked(line[:m[0]]) + line[m[0]:m[1]]
		items = strings.TrimSpace(line[m[1]:]) == ""
		if !items {
			lines[i] += " " + notShown
		}
		if deep = m[0]; strings.ContainsAny(line[:m[0]], "{[") {
			deep = indent
		}
	}
	return lines
}

// excerpt shows a line of a text and the two before it, as
//
//	  3 |     policy:
//	> 4 |       grace: 40s
//	            ^
func excerpt(text string, line, column, hide int) string {
	lines := maskedLines(text, hide)
	if line < 1 || line > len(lines) {
		return ""
	}
	var b strings.Builder
	for i := max(1, line-2); i <= line; i++ {
		mark := ' '
		if i == line {
			mark = '>'
		}
		fmt.Fprintf(&b, "%c %4d | %s\n", mark, i, lines[i-1])
	}
	if column >= 1 && column <= len(lines[line-1]) {
		fmt.Fprintf(&b, "%*s^\n", len("> 1234 | ")+column-1, "")
	}
	return b.String()
}
