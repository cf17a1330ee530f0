package config

import (
	"errors"
	"reflect"
	"strconv"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// source is where the values of a configuration come from, so that what is
// wrong with one can be shown where it stands. The zero value knows nothing.
type source struct {
	file    string // as the caller named it
	text    string
	root    ast.Node            // nil: no text, or nothing in it
	anchors map[string]ast.Node // by name
	env     map[string]string   // places to the variables that set them
}

// readSource reads a text as YAML. What is wrong with it is added to p.
func readSource(file, text string, p *problems) *source {
	s := &source{file: file, text: text, anchors: map[string]ast.Node{}}
	f, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		p.wrong(err)
		return s
	}
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil:
		case s.root != nil:
			p.addToken(doc.Body.GetToken(), nil, "a second document (---); a configuration is one")
		default:
			s.root = doc.Body
		}
	}
	if s.root != nil {
		ast.Walk(anchorFinder(s.anchors), s.root)
	}
	return s
}

// wrong adds an error of the YAML reader.
func (p *problems) wrong(err error) {
	if e, ok := errors.AsType[yaml.Error](err); ok {
		p.addToken(e.GetToken(), nil, "%s", masked(e.GetMessage()))
		return
	}
	p.add(nil, "%s", masked(err.Error()))
}

// addToken adds what is wrong at a token of the text.
func (p *problems) addToken(t *token.Token, at place, format string, args ...any) {
	p.add(at, format, args...)
	if t != nil && t.Position != nil {
		one := &p.list[len(p.list)-1]
		one.line, one.column = t.Position.Line, t.Position.Column
	}
}

// anchorFinder notes the anchors of a tree.
type anchorFinder map[string]ast.Node

// Visit is called with each node.
func (a anchorFinder) Visit(n ast.Node) ast.Visitor {
	if n, ok := n.(*ast.AnchorNode); ok && n.Name != nil {
		a[n.Name.GetToken().Value] = n.Value
	}
	return a
}

// plain follows aliases to the node that has the value, and leaves out what
// only decorates it. It returns nil for none, and for one that contains itself.
func (s *source) plain(n ast.Node) ast.Node {
	for range 16 {
		switch d := n.(type) {
		case *ast.AnchorNode:
			n = d.Value
		case *ast.TagNode:
			n = d.Value
		case *ast.AliasNode:
			if d.Value == nil {
				return nil
			}
			n = s.anchors[d.Value.GetToken().Value]
		case *ast.NullNode, nil:
			return nil
		default:
			return n
		}
	}
	return nil
}

// entry is one key of a mapping.
type entry struct {
	name string
	key  *token.Token
	node ast.Node
}

// entries lists the keys of a mapping; what it merges (<<) comes after its own.
// ok is false when n is no mapping.
func (s *source) entries(n ast.Node, depth int) (list []entry, ok bool) {
	var values []*ast.MappingValueNode
	switch m := s.plain(n).(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		return nil, false
	}
	var merged []entry
	for _, v := range values {
		if v.Key.IsMergeKey() {
			if depth > 0 {
				more, _ := s.entries(v.Value, depth-1)
				merged = append(merged, more...)
			}
			continue
		}
		list = append(list, entry{keyName(v.Key), v.Key.GetToken(), v.Value})
	}
	return append(list, merged...), true
}

// lateMerge is the merge key of a mapping that has keys before it, or nil.
func (s *source) lateMerge(n ast.Node) *token.Token {
	m, ok := s.plain(n).(*ast.MappingNode)
	if !ok {
		return nil
	}
	for i, v := range m.Values {
		if i > 0 && v.Key.IsMergeKey() {
			return v.Key.GetToken()
		}
	}
	return nil
}

// deepMerge bounds mappings that merge mappings that merge mappings.
const deepMerge = 8

func keyName(k ast.MapKeyNode) string {
	if q, ok := k.(*ast.MappingKeyNode); ok && q.Value != nil {
		return q.Value.GetToken().Value
	}
	return k.GetToken().Value
}

// find returns the token that is closest to a place: its key, or the key of
// what it is missing in. It is nil when the text has nothing of it.
func (s *source) find(at place) *token.Token {
	if s == nil || s.root == nil {
		return nil
	}
	var best *token.Token
	n := s.root
	for _, name := range at {
		next, t, ok := s.step(n, name)
		if !ok {
			break
		}
		n, best = next, t
	}
	return best
}

// step goes from a node to what it has under a name.
func (s *source) step(n ast.Node, name string) (next ast.Node, at *token.Token, ok bool) {
	if i, ok := index(name); ok {
		list, ok := s.plain(n).(*ast.SequenceNode)
		if !ok || i >= len(list.Values) || list.Values[i] == nil {
			return nil, nil, false
		}
		return list.Values[i], list.Values[i].GetToken(), true
	}
	list, _ := s.entries(n, deepMerge)
	for _, e := range list {
		if e.name == name {
			return e.node, e.key, true
		}
	}
	return nil, nil, false
}

// index reads the name of an item.
func index(name string) (int, bool) {
	if len(name) < 3 || name[0] != '[' {
		return 0, false
	}
	i, err := strconv.Atoi(name[1 : len(name)-1])
	return i, err == nil && i >= 0
}

// yamlName is the key of a field; empty for a field that has none.
func yamlName(f reflect.StructField) string { return f.Tag.Get("yaml") }
