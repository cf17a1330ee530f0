package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// checkTable holds each import of this module against the package's line.
func checkTable(p *pkg) []finding {
	i := slices.IndexFunc(table, func(l line) bool { return l.pkg == p.path })
	if i < 0 {
		return []finding{{where: p.path, what: "has no line in table_test.go: add one, with its reason"}}
	}
	var found []finding
	for _, f := range p.files {
		if f.test {
			continue
		}
		for _, spec := range f.imports() {
			inner := p.inner(importPath(spec))
			if inner == "" || matches(table[i].may, inner) {
				continue
			}
			found = append(found, finding{where: f.at(spec), what: fmt.Sprintf("must not import %s (%s)", inner, table[i].reason)})
		}
	}
	return found
}

// checkWalls keeps libraries with their owners.
func checkWalls(p *pkg) []finding {
	var found []finding
	for _, f := range p.files {
		for _, spec := range f.imports() {
			imp := importPath(spec)
			if matches(testLibraries, imp) && !f.test && !p.forTests() {
				found = append(found, finding{where: f.at(spec), what: "imports " + imp + ", which is for tests only"})
			}
			for _, w := range walls {
				if !matches(w.imports, imp) || matches(w.owners, p.path) || strings.HasPrefix(p.path, "test/") ||
					f.test && matches(w.inTests, imp) {
					continue
				}
				found = append(found, finding{where: f.at(spec), what: fmt.Sprintf("imports %s; %s stays in %s: %s",
					imp, w.library, strings.Join(w.owners, ", "), w.reason)})
			}
		}
	}
	return found
}

// checkHelpers keeps packages that end in "test" out of everything that ships.
func checkHelpers(p *pkg) []finding {
	if p.forTests() {
		return nil
	}
	var found []finding
	for _, f := range p.files {
		if f.test {
			continue
		}
		for _, spec := range f.imports() {
			if inner := p.inner(importPath(spec)); inner != "" && (isHelper(inner) || strings.HasPrefix(inner, "test/")) {
				found = append(found, finding{where: f.at(spec), what: inner + " is for tests only: its libraries would end up in users' programs"})
			}
		}
	}
	return found
}

// checkDoors keeps doors apart, in their tests too: what two doors share
// belongs to the core, or to doortest.
func checkDoors(p *pkg) []finding {
	const doors = "internal/door/"
	if !strings.HasPrefix(p.path, doors) || isHelper(p.path) {
		return nil
	}
	var found []finding
	for _, f := range p.files {
		for _, spec := range f.imports() {
			inner := p.inner(importPath(spec))
			if strings.HasPrefix(inner, doors) && inner != p.path && !isHelper(inner) && !strings.HasPrefix(p.path, inner+"/") && !strings.HasPrefix(inner, p.path+"/") {
				found = append(found, finding{where: f.at(spec), what: "a door imports another door, " + inner + ": share through the core"})
			}
		}
	}
	return found
}
