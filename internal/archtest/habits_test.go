package archtest

import (
	"go/ast"
	"path"
	"strings"
)

// inCmd reports whether p is a program: only there a process may end itself,
// print, or begin a context.
func inCmd(p *pkg) bool { return strings.HasPrefix(p.path, "cmd/") }

// eachCall calls visit with every call of p's files; callee is the import path
// and name ("os.Exit"), a bare name for builtins and the package's own, or ""
// for methods.
func eachCall(p *pkg, visit func(f *file, call *ast.CallExpr, callee string)) {
	for _, f := range p.files {
		if f.generated {
			continue
		}
		names := importNames(f)
		ast.Inspect(f.tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch fun := call.Fun.(type) {
			case *ast.Ident:
				visit(f, call, fun.Name)
			case *ast.SelectorExpr:
				if id, ok := fun.X.(*ast.Ident); ok && names[id.Name] != "" {
					visit(f, call, names[id.Name]+"."+fun.Sel.Name)
				}
			}
			return true
		})
	}
}

// importNames maps the names by which f calls its imports to their paths.
func importNames(f *file) map[string]string {
	names := map[string]string{}
	for _, spec := range f.imports() {
		imp := importPath(spec)
		name := path.Base(imp)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = imp
	}
	return names
}

func checkInit(p *pkg) []finding {
	var found []finding
	eachDecl(p, func(f *file, d ast.Decl) {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && !f.generated {
			found = append(found, finding{where: f.at(fn), what: "init runs behind everyone's back: make a value and pass it"})
		}
	})
	return found
}

func checkExit(p *pkg) []finding {
	if inCmd(p) {
		return nil
	}
	return calls(p, "only cmd may end the process: return an error", func(f *file, callee string) bool {
		if f.test && callee == "os.Exit" {
			return false // TestMain
		}
		return callee == "os.Exit" || callee == "syscall.Exit" || strings.HasPrefix(callee, "log.Fatal") || strings.HasPrefix(callee, "log.Panic")
	})
}

func checkSleep(p *pkg) []finding {
	return calls(p, "sleeping is slow and still a race: in tests use synctest, a signal, or poll with a limit; elsewhere a timer beside ctx.Done",
		func(_ *file, callee string) bool { return callee == "time.Sleep" })
}

func checkPanic(p *pkg) []finding {
	return calls(p, "return an error: a panic takes all users of the process along", func(f *file, callee string) bool {
		return callee == "panic" && !f.test && !p.forTests()
	})
}

func checkPrint(p *pkg) []finding {
	if inCmd(p) || p.path == "internal/bench" {
		return nil
	}
	return calls(p, "a library does not print: return it, or log it with the logger that was handed in", func(f *file, callee string) bool {
		if f.test || p.forTests() {
			return false
		}
		return callee == "print" || callee == "println" || callee == "fmt.Print" || callee == "fmt.Printf" || callee == "fmt.Println" ||
			strings.HasPrefix(callee, "log.Print")
	})
}

func checkContext(p *pkg) []finding {
	if inCmd(p) {
		return nil
	}
	return calls(p, "take the caller's ctx; for work that must outlive it, context.WithoutCancel and a comment", func(f *file, callee string) bool {
		return !f.test && !p.forTests() && (callee == "context.Background" || callee == "context.TODO")
	})
}

// calls makes a finding of each call that is refused.
func calls(p *pkg, what string, refused func(f *file, callee string) bool) []finding {
	var found []finding
	eachCall(p, func(f *file, call *ast.CallExpr, callee string) {
		if refused(f, callee) {
			found = append(found, finding{where: f.at(call), what: callee + ": " + what})
		}
	})
	return found
}

// checkMutex refuses mutexes that strangers could lock.
func checkMutex(p *pkg) []finding {
	var found []finding
	eachStruct(p, func(f *file, name string, s *ast.StructType) {
		for _, field := range s.Fields.List {
			if !isMutex(f, field.Type) {
				continue
			}
			if len(field.Names) == 0 {
				found = append(found, finding{where: f.at(field), what: name + " embeds a mutex and hands out its Lock: give it a name"})
			}
			for _, n := range field.Names {
				if n.IsExported() {
					found = append(found, finding{where: f.at(field), what: name + "." + n.Name + " is a mutex for everyone: make it unexported"})
				}
			}
		}
	})
	return found
}

func isMutex(f *file, t ast.Expr) bool {
	name := typeName(f, t)
	return name == "sync.Mutex" || name == "sync.RWMutex"
}

// typeName returns the import path and name of a type of another package,
// through a pointer too, or "".
func typeName(f *file, t ast.Expr) string {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch x := t.(type) {
	case *ast.IndexExpr: // atomic.Pointer[T]
		return typeName(f, x.X)
	case *ast.SelectorExpr:
		if id, ok := x.X.(*ast.Ident); ok {
			if imp := importNames(f)[id.Name]; imp != "" {
				return imp + "." + x.Sel.Name
			}
		}
	}
	return ""
}

// checkGlobals refuses package-level variables that goroutines meet at: two
// servers in one process would share them, and a channel made at program start
// stops the fake clock.
func checkGlobals(p *pkg) []finding {
	var found []finding
	eachDecl(p, func(f *file, d ast.Decl) {
		group, ok := d.(*ast.GenDecl)
		if !ok || f.test || f.generated {
			return
		}
		for _, spec := range group.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok {
				continue
			}
			name := typeName(f, v.Type)
			_, channel := v.Type.(*ast.ChanType)
			if channel || makesChannel(v) || strings.HasPrefix(name, "sync.") || strings.HasPrefix(name, "sync/atomic.") {
				found = append(found, finding{where: f.at(v), what: v.Names[0].Name + " is shared by all servers of the process: hang it on a value made in app"})
			}
		}
	})
	return found
}

func makesChannel(v *ast.ValueSpec) bool {
	for _, e := range v.Values {
		if call, ok := e.(*ast.CallExpr); ok && len(call.Args) > 0 {
			if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "make" {
				if _, ok := call.Args[0].(*ast.ChanType); ok {
					return true
				}
			}
		}
	}
	return false
}
