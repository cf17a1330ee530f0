package archtest

import (
	"fmt"
	"go/ast"
)

// The sizes. From warn on a reader should think of a split; above most the
// test refuses.
const (
	warnFileLines, mostFileLines         = 500, 800
	warnFunctionLines, mostFunctionLines = 60, 120
	warnFields, mostFields               = 15, 30
	mostParameters                       = 4 // besides the context; said, not refused
)

// size makes a finding of a number above its bounds, or none.
func size(where, what string, got, warn, most int) []finding {
	if got <= warn {
		return nil
	}
	if got <= most {
		return []finding{{where, fmt.Sprintf("%s %d, over %d: split it when you touch it next", what, got, warn), true}}
	}
	return []finding{{where, fmt.Sprintf("%s %d, over %d: split it by idea", what, got, most), false}}
}

func checkFileSize(p *pkg) []finding {
	var found []finding
	for _, f := range p.files {
		if !f.generated {
			found = append(found, size(f.path, "lines:", f.lines, warnFileLines, mostFileLines)...)
		}
	}
	return found
}

func checkFunctionSize(p *pkg) []finding {
	var found []finding
	eachDecl(p, func(f *file, d ast.Decl) {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil || f.generated {
			return
		}
		lines := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1
		found = append(found, size(f.at(fn), "lines of "+fn.Name.Name+":", lines, warnFunctionLines, mostFunctionLines)...)
	})
	return found
}

func checkStructSize(p *pkg) []finding {
	var found []finding
	eachStruct(p, func(f *file, name string, s *ast.StructType) {
		found = append(found, size(f.at(s), "fields of "+name+":", s.Fields.NumFields(), warnFields, mostFields)...)
	})
	return found
}

func checkParameters(p *pkg) []finding {
	var found []finding
	eachDecl(p, func(f *file, d ast.Decl) {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || f.test || f.generated {
			return
		}
		n := fn.Type.Params.NumFields()
		for _, field := range fn.Type.Params.List {
			if sel, ok := field.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" {
				n--
			}
		}
		if n > mostParameters {
			found = append(found, finding{f.at(fn), fmt.Sprintf("%s takes %d parameters: a Params struct reads better from the fifth on", fn.Name.Name, n), true})
		}
	})
	return found
}

// eachDecl calls visit with the top-level declarations of p.
func eachDecl(p *pkg, visit func(*file, ast.Decl)) {
	for _, f := range p.files {
		for _, d := range f.tree.Decls {
			visit(f, d)
		}
	}
}

// eachStruct calls visit with every struct type that is written by hand.
func eachStruct(p *pkg, visit func(f *file, name string, s *ast.StructType)) {
	for _, f := range p.files {
		if f.generated {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					visit(f, spec.Name.Name, s)
				}
			}
			return true
		})
	}
}
