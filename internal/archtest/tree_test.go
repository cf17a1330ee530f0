package archtest

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const rootDir = "../.." // of the module, seen from this package

// pkg is one folder with Go files.
type pkg struct {
	path   string // below the module; "." is the root
	module string
	files  []*file
}

type file struct {
	path      string // below the module, with slashes
	test      bool   // named _test.go
	generated bool
	lines     int
	fset      *token.FileSet
	tree      *ast.File
}

// at says where n stands, for a finding.
func (f *file) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.path, f.fset.Position(n.Pos()).Line)
}

// imports returns the paths f imports.
func (f *file) imports() []*ast.ImportSpec { return f.tree.Imports }

func importPath(s *ast.ImportSpec) string { return strings.Trim(s.Path.Value, `"`) }

// forTests reports whether p exists for tests only.
func (p *pkg) forTests() bool {
	return strings.HasPrefix(p.path, "test/") || isHelper(p.path)
}

// isHelper reports whether a package path names test helpers: its last element
// ends in "test".
func isHelper(p string) bool { return strings.HasSuffix(path.Base(p), "test") }

// inner returns the path below the module that imp names, or "" when imp is
// not of this module.
func (p *pkg) inner(imp string) string {
	if imp == p.module {
		return "."
	}
	if rest, ok := strings.CutPrefix(imp, p.module+"/"); ok {
		return rest
	}
	return ""
}

// matches reports whether a path is named by one of the patterns; a pattern
// that ends in "…/" names everything below.
func matches(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if below, ok := strings.CutSuffix(pattern, "…/"); ok {
			return strings.HasPrefix(s, below)
		}
		return s == pattern
	})
}

// readTree parses every Go file of the module, whatever its build tags.
func readTree(t *testing.T) []*pkg {
	t.Helper()
	module := readModulePath(t)
	byPath := map[string]*pkg{}
	err := filepath.WalkDir(rootDir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(rootDir, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && skipDir(p, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parse(rel, src)
		if err != nil {
			return err
		}
		dir := path.Dir(rel)
		if byPath[dir] == nil {
			byPath[dir] = &pkg{path: dir, module: module}
		}
		byPath[dir].files = append(byPath[dir].files, f)
		return nil
	})
	if err != nil {
		t.Fatalf("reading the module's sources: %v", err)
	}
	pkgs := make([]*pkg, 0, len(byPath))
	for _, p := range byPath {
		pkgs = append(pkgs, p)
	}
	slices.SortFunc(pkgs, func(a, b *pkg) int { return strings.Compare(a.path, b.path) })
	return pkgs
}

// skipDir leaves out what is not this module's source: fixtures, other
// languages' packages, build results, and modules within the module (tools).
func skipDir(p, name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") ||
		name == "testdata" || name == "node_modules" || name == "vendor" {
		return true
	}
	_, err := os.Stat(filepath.Join(p, "go.mod"))
	return err == nil
}

func readModulePath(t *testing.T) string {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join(rootDir, "go.mod"))
	if err != nil {
		t.Fatalf("finding the module: %v", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(mod))
	for lines.Scan() {
		if m, ok := strings.CutPrefix(lines.Text(), "module "); ok {
			return strings.TrimSpace(m)
		}
	}
	t.Fatal("go.mod has no module line")
	return ""
}

func parse(rel string, src []byte) (*file, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, rel, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &file{
		path: rel, test: strings.HasSuffix(rel, "_test.go"), generated: ast.IsGenerated(tree),
		lines: bytes.Count(src, []byte("\n")), fset: fset, tree: tree,
	}, nil
}
