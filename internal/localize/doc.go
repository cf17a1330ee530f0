// Package localize turns references to messages into text in the language of
// whoever reads it: catalogues of templates, how they are read and checked, and
// which one a reader gets. It knows no door and no configuration, opens no file
// by itself and keeps no clock.
//
// # A catalogue
//
// A Catalogue is what one product can say. Its file is JSON, read by Parse:
//
//	{
//	  "locales": {
//	    "":   {"map.harbour": "Harbour"},
//	    "en": {"match.playing": "In a match on {map}", "map.harbour": "The Harbour"},
//	    "de": {"match.playing": "In einem Spiel auf {map}", "map.harbour": "Der Hafen"}
//	  }
//	}
//
// Locales are BCP 47 ("pt-BR", also written pt_BR); "" is the neutral one. Below
// each stands token → template. Dots in a token are for people: an enumeration
// such as the names of maps is made of tokens like all others, so that it can be
// an argument of a template and a property's value alike.
//
// In a template {name} stands for the argument of that name; {{ and }} are braces.
// A name is made of ASCII letters and digits, '_', '-' and '.'; everything else
// between braces is kept for later forms (plurals) and refused today. An argument
// that is missing is nothing, text is itself, an integer is its digits, a number is
// its shortest form with a point in every language (one that is none is nothing), a
// flag is true or false, and a reference is its own text in the reader's language.
//
// # Which text a reader gets
//
// For a reader of locale L the first that has the token says it: L, its parents
// (pt-BR, pt; es-MX, es-419, es), the app's default locale and its parents, and the
// neutral entry; in the catalogue of the session's product, and then in the
// catalogue of no product (""), which is the fallback of all others. When none has
// the token, the reference's fallback text is shown, and nothing without one: never
// the token. A reference within a reference goes the same way by itself.
//
// A text has at most MaxText characters. What is longer is cut, and an ellipsis is
// the last of them.
package localize
