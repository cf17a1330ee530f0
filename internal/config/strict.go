package config

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// mostNodes bounds what is read: with aliases a small text can stand for a huge
// one.
const mostNodes = 100_000

// strict compares a text with the shape of the configuration before anything is
// decoded, because the decoder stops at the first error, and takes 1.5 for 1, 6
// for 6ns and 00123 for "83" without a word.
type strict struct {
	*problems
	src   *source
	nodes int
}

// durationType is written 35s.
var durationType = reflect.TypeFor[time.Duration]()

// look checks the node at a place against the type that will hold it.
func (s *strict) look(n ast.Node, t reflect.Type, at place) {
	if s.nodes++; s.nodes > mostNodes {
		return
	}
	value := s.src.plain(n)
	if value == nil {
		return // absent means the default
	}
	switch {
	case t.Kind() == reflect.Pointer:
		s.look(n, t.Elem(), at)
	case t.Kind() == reflect.Struct:
		s.lookFields(value, t, at)
	case t.Kind() == reflect.Map:
		s.lookMap(value, t, at)
	case t.Kind() == reflect.Slice:
		list, ok := value.(*ast.SequenceNode)
		if !ok {
			s.refuse(value, at, "want a list; write [a, b]")
			return
		}
		for i, item := range list.Values {
			s.look(item, t.Elem(), at.item(i))
		}
	default:
		s.lookValue(value, t, at)
	}
}

func (s *strict) refuse(n ast.Node, at place, format string, args ...any) {
	s.addToken(n.GetToken(), at, format, args...)
}

func (s *strict) lookFields(n ast.Node, t reflect.Type, at place) {
	list, ok := s.src.entries(n, deepMerge)
	if !ok {
		s.refuse(n, at, "want a mapping; write key: value below it, or {key: value}")
		return
	}
	if late := s.src.lateMerge(n); late != nil {
		s.addToken(late, at, "<< must be the first key: the decoder lets what comes later win")
	}
	for _, e := range list {
		f, ok := fieldOf(t, e.name)
		if !ok {
			s.addToken(e.key, at, "unknown key %q; known here are %s", masked(cut(e.name)), strings.Join(fieldNames(t), ", "))
			s.list[len(s.list)-1].hide = true // it may be a secret under a misspelt key
			continue
		}
		s.look(e.node, f.Type, at.key(e.name))
	}
}

func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if n := yamlName(f); n != "" && n == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func fieldNames(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		if n := yamlName(f); n != "" {
			names = append(names, n)
		}
	}
	return names
}

func (s *strict) lookMap(n ast.Node, t reflect.Type, at place) {
	list, ok := s.src.entries(n, deepMerge)
	if !ok {
		s.refuse(n, at, "want a mapping; write NAME: … below it, or {NAME: …}")
		return
	}
	for _, e := range list {
		s.look(e.node, t.Elem(), at.key(e.name))
	}
}

// lookValue checks a value that holds no others.
func (s *strict) lookValue(n ast.Node, t reflect.Type, at place) {
	text, ok := scalar(n)
	if !ok {
		if n.Type() == ast.MappingType || n.Type() == ast.MappingValueType {
			// Within { } the parser takes any colon for that of a key.
			s.refuse(n, at, "want one value, not a mapping; an address within { } stands in quotes: \"nats://a:4222\"")
			return
		}
		s.refuse(n, at, "want one value, not a list")
		return
	}
	number := n.Type() == ast.IntegerType
	shown := masked(cut(text))
	switch {
	case t == durationType:
		if _, err := time.ParseDuration(text); err != nil {
			s.refuse(n, at, "%q is not a time; write 35s, 2m or 1h", shown)
		}
	case t.Kind() == reflect.Bool:
		if n.Type() != ast.BoolType {
			s.refuse(n, at, "%q is neither true nor false", shown)
		}
	case t.Kind() == reflect.String:
		if n.Type() != ast.StringType && n.Type() != ast.LiteralType && !plainText(n) {
			s.refuse(n, at, "would be read as a number; put it in quotes")
		}
	case t.Kind() == reflect.Float64:
		if !number && n.Type() != ast.FloatType {
			s.refuse(n, at, "%q is not a number", shown)
		}
	default:
		if _, err := strconv.ParseInt(text, 10, t.Bits()); err != nil || !number {
			s.refuse(n, at, "%q is not a whole number", shown)
		}
	}
}

// scalar is the text of a node that is one value.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, true
	}
	return "", false
}

// plainText reports whether a value that is no text comes out as it was written.
func plainText(n ast.Node) bool {
	text := n.GetToken().Value
	i, err := strconv.ParseInt(text, 10, 64)
	return err == nil && strconv.FormatInt(i, 10) == text
}

// longestShown is how much of a value or a key an error shows.
const longestShown = 64

func cut(s string) string {
	if len(s) > longestShown {
		return s[:longestShown] + "…"
	}
	return s
}
