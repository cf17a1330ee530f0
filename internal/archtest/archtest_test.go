package archtest

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// finding is one place that breaks a rule.
type finding struct {
	where string // file:line, or a package's path
	what  string // what is wrong and what to do instead
	warn  bool   // said, but not refused
}

// rule looks at one package at a time.
type rule struct {
	name  string
	check func(*pkg) []finding
}

// rules are all of them. Each has its proof in prove_test.go.
var rules = []rule{
	{"import table", checkTable},
	{"library walls", checkWalls},
	{"test helpers", checkHelpers},
	{"doors apart", checkDoors},
	{"package comment", checkPackageComment},
	{"documented exports", checkExportsDocumented},
	{"names", checkNames},
	{"file size", checkFileSize},
	{"function size", checkFunctionSize},
	{"struct size", checkStructSize},
	{"parameters", checkParameters},
	{"no init", checkInit},
	{"no exit", checkExit},
	{"no sleep", checkSleep},
	{"no panic", checkPanic},
	{"no print", checkPrint},
	{"no fresh context", checkContext},
	{"no embedded mutex", checkMutex},
	{"nothing running at package level", checkGlobals},
}

// TestShape runs every rule over the whole module.
func TestShape(t *testing.T) {
	t.Parallel()
	pkgs := readTree(t)
	if len(pkgs) < 5 {
		t.Fatalf("found %d packages below %s: the walk looks at the wrong place", len(pkgs), rootDir)
	}
	used := make([]bool, len(allowances))
	for _, r := range rules {
		for _, p := range pkgs {
			for _, f := range r.check(p) {
				switch {
				case allowed(allowances, f, r.name, used):
				case f.warn:
					t.Logf("%s: %s: %s", r.name, f.where, f.what)
				default:
					t.Errorf("%s: %s: %s", r.name, f.where, f.what)
				}
			}
		}
	}
	for i, a := range allowances {
		if !used[i] {
			t.Errorf("allowance: %s in %s is not needed any more: take it out", a.rule, a.where)
		}
	}
	for _, f := range checkStaleLines(table, pkgs) {
		t.Errorf("import table: %s: %s", f.where, f.what)
	}
}

// allowed reports whether one of the allowances covers what rule found, and
// notes that it was needed.
func allowed(allowances []allowance, found finding, rule string, used []bool) bool {
	file, _, _ := strings.Cut(found.where, ":")
	for i, a := range allowances {
		if a.rule == rule && (file == a.where || strings.HasSuffix(a.where, "/") && strings.HasPrefix(file, a.where)) {
			used[i] = true
			return true
		}
	}
	return false
}

// checkStaleLines finds lines of the table whose package is gone, and lines
// that do not say why.
func checkStaleLines(table []line, pkgs []*pkg) []finding {
	there := map[string]bool{}
	for _, p := range pkgs {
		there[p.path] = true
	}
	var found []finding
	for _, l := range table {
		if !there[l.pkg] {
			found = append(found, finding{where: l.pkg, what: "has a line but no Go file: take the line out"})
		}
		if l.reason == "" {
			found = append(found, finding{where: l.pkg, what: "its line gives no reason"})
		}
	}
	return found
}

// Direct imports are the table's affair; this looks at everything a program
// links in the end.
func TestWhatProgramsLink(t *testing.T) {
	t.Parallel()
	module := readModulePath(t)
	tests := []struct {
		program string
		refused []string
		reason  string
	}{
		{"client", []string{module + "/internal/", "github.com/nats-io/"}, "a user's program must not link the server"},
		{"internal/presence", []string{module + "/internal/", "golang.org/x/", "github.com/", "google.golang.org/"}, "the core is the standard library and rules"},
		{"porchlighttest", []string{"go.uber.org/goleak", "pgregory.net/rapid", "github.com/google/go-cmp", "github.com/rogpeppe/", "github.com/stretchr/", "github.com/alecthomas/"}, "users' tests get a server, not our tools"},
		{"cmd/porchlight", []string{"go.uber.org/goleak", "pgregory.net/rapid", "github.com/google/go-cmp", "github.com/rogpeppe/"}, "test libraries stay in tests"},
	}
	for _, tt := range tests {
		t.Run(tt.program, func(t *testing.T) {
			t.Parallel()
			for _, f := range refuse(linked(t, module+"/"+tt.program), module+"/"+tt.program, tt.refused) {
				t.Errorf("%s links %s: %s", tt.program, f, tt.reason)
			}
		})
	}
}

// linked lists the import paths of everything that pkg needs.
func linked(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg)
	cmd.Dir = rootDir
	out, err := cmd.Output()
	if err != nil {
		detail := ""
		if exit, ok := err.(*exec.ExitError); ok {
			detail = string(exit.Stderr)
		}
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, detail)
	}
	return strings.Fields(string(out))
}

// refuse returns the members of deps, self aside, that begin with a refused
// prefix.
func refuse(deps []string, self string, refused []string) []string {
	var bad []string
	for _, d := range deps {
		for _, r := range refused {
			if d != self && strings.HasPrefix(d, r) {
				bad = append(bad, d)
			}
		}
	}
	return bad
}

func TestRefuseCanFail(t *testing.T) {
	t.Parallel()
	got := refuse([]string{"fmt", "m/client", "m/internal/hub"}, "m/client", []string{"m/"})
	if want := []string{"m/internal/hub"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("refuse: got %v, want %v", got, want)
	}
}
