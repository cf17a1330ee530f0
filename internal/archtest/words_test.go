package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// drawers are names that say nothing: everyone opens such a drawer and nobody
// tidies it.
var drawers = []string{
	"util", "utils", "common", "types", "type", "helper", "helpers", "misc", "base", "shared", "core", "lib",
	"general", "stuff", "manager", "models", "interfaces", "impl",
}

func checkNames(p *pkg) []finding {
	var found []finding
	for dir := range strings.SplitSeq(p.path, "/") {
		if slices.Contains(drawers, dir) {
			found = append(found, finding{where: p.path, what: "the folder name " + dir + " says nothing: name it by what it gives"})
		}
	}
	for _, f := range p.files {
		name := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".go"), "_test")
		if slices.Contains(drawers, name) {
			found = append(found, finding{where: f.path, what: "the file name says nothing: name it by the idea inside"})
		}
		if clause := f.tree.Name.Name; slices.Contains(drawers, clause) {
			found = append(found, finding{where: f.path, what: "the package name " + clause + " says nothing: name it by what it gives"})
		}
	}
	return found
}

// shortestComment is too short for a package comment that says what the
// package is for and what it is not.
const shortestComment = 80

// checkPackageComment wants one package comment, in one file.
func checkPackageComment(p *pkg) []finding {
	var comments []*file
	ours := 0
	for _, f := range p.files {
		if f.generated {
			continue
		}
		ours++
		if f.tree.Doc != nil && !strings.HasSuffix(f.tree.Name.Name, "_test") {
			comments = append(comments, f)
		}
	}
	switch {
	case ours == 0:
		return nil
	case len(comments) == 0:
		return []finding{{where: p.path, what: "no package comment: say what it is for and what it is not"}}
	case len(comments) > 1:
		return []finding{{where: comments[1].path, what: "a second package comment; the first is in " + comments[0].path}}
	}
	f := comments[0]
	text := f.tree.Doc.Text()
	want := "Package " + f.tree.Name.Name + " "
	if f.tree.Name.Name == "main" {
		want = "Command " + path.Base(p.path) + " "
	}
	if !strings.HasPrefix(text, want) {
		return []finding{{where: f.path, what: "the package comment should begin with: " + want}}
	}
	if len(text) < shortestComment {
		return []finding{{where: f.path, what: "the package comment is too short to say what the package is for and what it is not"}}
	}
	return nil
}

// checkExportsDocumented wants a comment on whatever other packages can name.
// String methods need none: there is only one thing they can do.
func checkExportsDocumented(p *pkg) []finding {
	var found []finding
	say := func(f *file, n ast.Node, name string) {
		found = append(found, finding{where: f.at(n), what: name + " is exported and has no comment: say in, out, units, limits, errors"})
	}
	eachDecl(p, func(f *file, d ast.Decl) {
		if f.test || f.generated || f.tree.Name.Name == "main" {
			return
		}
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && d.Name.Name != "String" {
				say(f, d, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				checkSpecDocumented(d, spec, func(n ast.Node, name string) { say(f, n, name) })
			}
		}
	})
	return found
}

// exportedReceiver reports whether fn is no method, or one of an exported type.
func exportedReceiver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	t := fn.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// checkSpecDocumented takes a comment on the group or on the line for
// constants and variables; a type needs its own, and so do the methods of an
// interface that has several.
func checkSpecDocumented(group *ast.GenDecl, spec ast.Spec, say func(ast.Node, string)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && group.Doc == nil && s.Doc == nil && s.Comment == nil {
				say(name, name.Name)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		if s.Doc == nil && s.Comment == nil && (group.Doc == nil || group.Lparen.IsValid()) {
			say(s, s.Name.Name)
		}
		if i, ok := s.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > 1 {
			for _, m := range i.Methods.List {
				if len(m.Names) == 1 && m.Names[0].IsExported() && m.Doc == nil && m.Comment == nil {
					say(m, s.Name.Name+"."+m.Names[0].Name)
				}
			}
		}
	}
}
