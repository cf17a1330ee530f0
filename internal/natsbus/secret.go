package natsbus

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that does not show, however it is formatted or logged.
type Secret string

// String hides it.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(not shown)"
}

// Format hides it from every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue hides it from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
