package token

// NewKeyText returns the text of a key file with one random key, for keys that
// are kept elsewhere than in a file. It is a secret.
func NewKeyText() []byte { return newKeyFile() }

// ParseRing reads what NewKeyText returned, or the text of any key file. Errors
// do not quote it.
func ParseRing(text []byte) (*Ring, error) {
	keys, err := parseKeyFile(text)
	if err != nil {
		return nil, err
	}
	return NewRing(keys)
}
