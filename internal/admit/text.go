package admit

import (
	"fmt"
	"strings"
	"unicode/utf8"
	"unique"

	"golang.org/x/text/language"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// maxText bounds each text that a device says of itself, in bytes.
const maxText = 64

// Text checks a short text of a request; path is its name there.
func Text(path, s string) error {
	if len(s) > maxText {
		return fault.Invalid(path, "%d bytes; at most %d are allowed", len(s), maxText)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return fault.Invalid(path, "must be UTF-8 without control characters")
	}
	return nil
}

// Locale takes en_US and en-US and returns BCP 47; "" stays.
func Locale(path, s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if err := Text(path, s); err != nil {
		return "", err
	}
	tag, err := language.Parse(s)
	if err != nil {
		return "", fault.Invalid(path, "not a locale; write it as en-US or en_US")
	}
	return tag.String(), nil
}

// DevicePaths are the names of a device's texts in a request, for refusals.
type DevicePaths struct{ Platform, Product, Locale, ID, Version string }

// Device checks and normalizes what a device says of itself, and names all that
// is wrong. Of what many devices say the same there is one copy in memory.
func Device(d presence.Device, at DevicePaths) (presence.Device, error) {
	e := &fault.Error{Kind: fault.FieldInvalid}
	check := func(err error) {
		if f, ok := err.(*fault.Error); ok {
			e.Fields = append(e.Fields, f.Fields...)
		}
	}
	check(Text(at.Platform, d.Platform))
	check(Text(at.Product, d.Product))
	check(Text(at.ID, d.ID))
	check(Text(at.Version, d.Version))
	locale, err := Locale(at.Locale, d.Locale)
	check(err)
	if len(e.Fields) > 0 {
		return presence.Device{}, e
	}
	d.Platform, d.Product, d.Locale, d.Version = shared(d.Platform), shared(d.Product), shared(locale), shared(d.Version)
	return d, nil
}

func shared(s string) string { return unique.Make(s).Value() }

// User checks a user id of a request.
func User(path, s string) (presence.UserID, error) {
	if !presence.ValidUserID(s) {
		return "", fault.Invalid(path, "a user id is 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
	}
	return presence.UserID(s), nil
}

// Users checks several.
func Users(path string, list []string) ([]presence.UserID, error) {
	users := make([]presence.UserID, len(list))
	for i, s := range list {
		u, err := User(fmt.Sprintf("%s[%d]", path, i), s)
		if err != nil {
			return nil, err
		}
		users[i] = u
	}
	return users, nil
}
