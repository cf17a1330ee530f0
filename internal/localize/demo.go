package localize

import _ "embed"

//go:embed demo.json
var demo []byte

// Demo is the catalogue of `porchlight dev`: a game, calls and breaks in English,
// German and Portuguese. It is also an example of the format.
func Demo() (*Catalogue, error) { return Parse(demo) }
