package mozpresence

import "encoding/json"

// appendText appends a JSON text, without escaping what HTML would mind: frames
// are no page.
func appendText(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			plain = false
			break
		}
	}
	if plain {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	quoted, _ := json.Marshal(s) // a text
	return append(b, quoted...)
}

// appendField appends a key, not an object's first, and a text; an empty one is
// left out.
func appendField(b []byte, key, text string) []byte {
	if text == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, key...)
	b = append(b, `":`...)
	return appendText(b, text)
}
