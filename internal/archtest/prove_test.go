package archtest

import (
	"slices"
	"strings"
	"testing"
)

const fixtureModule = "example.org/m"

// proof is a small source, and what one rule must say of it.
type proof struct {
	rule string
	name string
	path string // of the file below the module
	src  string // without the package clause, when it has none
	want string // in the finding; "" when there must be none
}

// TestEachRuleCanFail holds every rule against sources that keep it and
// sources that break it.
func TestEachRuleCanFail(t *testing.T) {
	t.Parallel()
	proofs := slices.Concat(importProofs, wordProofs, sizeProofs, habitProofs)
	for _, r := range rules {
		keeps, breaks := 0, 0
		for _, pr := range proofs {
			if pr.rule != r.name {
				continue
			}
			if pr.want == "" {
				keeps++
			} else {
				breaks++
			}
			t.Run(r.name+"/"+pr.name, func(t *testing.T) {
				t.Parallel()
				expect(t, r.check(fixture(t, pr)), pr.want)
			})
		}
		if keeps == 0 || breaks == 0 {
			t.Errorf("rule %q: %d sources that keep it and %d that break it, want both", r.name, keeps, breaks)
		}
	}
	for _, pr := range proofs {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == pr.rule }) {
			t.Errorf("proof %q names no rule: %q", pr.name, pr.rule)
		}
	}
}

func expect(t *testing.T, found []finding, want string) {
	t.Helper()
	if want == "" {
		if len(found) > 0 {
			t.Errorf("got %+v, want no finding", found)
		}
		return
	}
	if len(found) != 1 || !strings.Contains(found[0].what, want) {
		t.Errorf("got %+v, want one finding with %q", found, want)
	}
}

func fixture(t *testing.T, pr proof) *pkg {
	t.Helper()
	src := pr.src
	if !strings.Contains("\n"+src, "\npackage ") {
		src = "package p\n" + src
	}
	f, err := parse(pr.path, []byte(src))
	if err != nil {
		t.Fatalf("the fixture does not parse: %v", err)
	}
	dir, _, found := cutLast(pr.path)
	if !found {
		dir = "."
	}
	return &pkg{path: dir, module: fixtureModule, files: []*file{f}}
}

func cutLast(p string) (dir, name string, found bool) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p, false
	}
	return p[:i], p[i+1:], true
}

// imports writes a source that imports the given paths.
func imports(paths ...string) string {
	var b strings.Builder
	b.WriteString("package p\n")
	for _, p := range paths {
		b.WriteString("import _ \"" + p + "\"\n")
	}
	return b.String()
}

var importProofs = []proof{
	{"import table", "no line", "internal/newcomer/a.go", "", "has no line"},
	{"import table", "outsider's import", "internal/presence/a.go", imports("fmt", "golang.org/x/text"), ""},
	{"import table", "leaf imports core", "internal/presence/a.go", imports(fixtureModule + "/internal/store"), "must not import internal/store"},
	{"import table", "door imports engine", "internal/door/isonline/a.go", imports(fixtureModule + "/internal/natsbus"), "must not import internal/natsbus"},
	{"import table", "door imports core", "internal/door/isonline/a.go", imports(fixtureModule+"/internal/tracker", fixtureModule+"/api/gen/isonline/v1"), ""},
	{"import table", "client imports the root", "client/a.go", imports(fixtureModule), "must not import ."},
	{"import table", "app imports anyone", "internal/app/a.go", imports(fixtureModule + "/internal/store/natsstore"), ""},
	{"import table", "tests may", "internal/tracker/a_test.go", imports(fixtureModule + "/internal/store/natsstore"), ""},
	{"import table", "root", "porchlight.go", imports(fixtureModule + "/internal/hub"), "must not import internal/hub"},

	{"library walls", "engine in the core", "internal/tracker/a.go", imports("github.com/nats-io/nats.go/jetstream"), "NATS stays in"},
	{"library walls", "engine at home", "internal/natsbus/a.go", imports("github.com/nats-io/nats.go"), ""},
	{"library walls", "engine in a test", "internal/tracker/a_test.go", imports("github.com/nats-io/nats.go"), "NATS stays in"},
	{"library walls", "the bubble's line", "internal/tracker/a_test.go", imports("github.com/nats-io/nats-server/v2/server/ats"), ""},
	{"library walls", "the same outside tests", "internal/tracker/a.go", imports("github.com/nats-io/nats-server/v2/server/ats"), "NATS stays in"},
	{"library walls", "test/ meets all", "test/chaos/a_test.go", imports("github.com/nats-io/nats.go", "google.golang.org/grpc"), ""},
	{"library walls", "gRPC in the core", "internal/hub/a.go", imports("google.golang.org/grpc"), "gRPC and Connect stays in"},
	{"library walls", "codes of gRPC in the core", "internal/fault/a.go", imports("google.golang.org/grpc/codes"), "gRPC and Connect stays in"},
	{"library walls", "gRPC in the program", "cmd/porchlight/a.go", imports("google.golang.org/grpc"), "gRPC and Connect stays in"},
	{"library walls", "gRPC at its door", "internal/door/isonline/a.go", imports("google.golang.org/grpc", "google.golang.org/protobuf/proto"), ""},
	{"library walls", "protobuf in the core", "internal/presence/a.go", imports("google.golang.org/protobuf/proto"), "protobuf stays in"},
	{"library walls", "socket in a door", "internal/door/live/a.go", imports("github.com/coder/websocket"), "WebSocket stays in"},
	{"library walls", "metrics in the core", "internal/hub/a.go", imports("github.com/prometheus/client_golang/prometheus"), "metrics stays in"},
	{"library walls", "retry outside", "internal/app/a.go", imports("github.com/failsafe-go/failsafe-go"), "retry and breaker stays in"},
	{"library walls", "signals inside", "internal/app/a.go", imports("os/signal"), "os/signal stays in"},
	{"library walls", "signals in the program", "cmd/porchlight/a.go", imports("os/signal"), ""},
	{"library walls", "test library ships", "internal/hub/a.go", imports("go.uber.org/goleak"), "for tests only"},
	{"library walls", "testing ships", "internal/hub/a.go", imports("testing"), "for tests only"},
	{"library walls", "test library in a helper", "internal/store/storetest/a.go", imports("testing", "pgregory.net/rapid"), ""},

	{"test helpers", "helper ships", "internal/hub/a.go", imports(fixtureModule + "/internal/store/storetest"), "for tests only"},
	{"test helpers", "test tree ships", "internal/app/a.go", imports(fixtureModule + "/test/script"), "for tests only"},
	{"test helpers", "a test uses it", "internal/hub/a_test.go", imports(fixtureModule + "/internal/store/storetest"), ""},
	{"test helpers", "a helper uses it", "internal/door/doortest/a.go", imports(fixtureModule + "/internal/store/storetest"), ""},

	{"doors apart", "two doors", "internal/door/live/a.go", imports(fixtureModule + "/internal/door/isonline"), "imports another door"},
	{"doors apart", "two doors in a test", "internal/door/live/a_test.go", imports(fixtureModule + "/internal/door/isonline"), "imports another door"},
	{"doors apart", "what doors share", "internal/door/live/a_test.go", imports(fixtureModule + "/internal/door/doortest"), ""},
	{"doors apart", "app knows both", "internal/app/a.go", imports(fixtureModule+"/internal/door/live", fixtureModule+"/internal/door/isonline"), ""},
}

const longEnough = "is here to prove the rule, and it is not here for anything else that one could think of.\n"

var wordProofs = []proof{
	{"package comment", "none", "internal/hub/hub.go", "package hub", "no package comment"},
	{"package comment", "good", "internal/hub/hub.go", "// Package hub " + longEnough + "package hub", ""},
	{"package comment", "begins otherwise", "internal/hub/hub.go", "// This hub " + longEnough + "package hub", "begin with: Package hub"},
	{"package comment", "too short", "internal/hub/hub.go", "// Package hub is a hub.\npackage hub", "too short"},
	{"package comment", "a program", "cmd/porchlight/main.go", "// Command porchlight " + longEnough + "package main", ""},
	{"package comment", "a program called package", "cmd/porchlight/main.go", "// Package main " + longEnough + "package main", "begin with: Command porchlight"},
	{"package comment", "generated", "api/gen/a.go", "// Code generated by x. DO NOT EDIT.\n\npackage p", ""},

	{"documented exports", "function", "a.go", "func Open() {}", "Open is exported"},
	{"documented exports", "function with", "a.go", "// Open opens.\nfunc Open() {}", ""},
	{"documented exports", "unexported", "a.go", "func open() {}", ""},
	{"documented exports", "method", "a.go", "// T is.\ntype T struct{}\nfunc (t *T) Open() {}", "Open is exported"},
	{"documented exports", "method of a generic type", "a.go", "// T is.\ntype T[E any] struct{}\nfunc (t *T[E]) Open() {}", "Open is exported"},
	{"documented exports", "method of an inner type", "a.go", "type t struct{}\nfunc (t) Open() {}", ""},
	{"documented exports", "stringer", "a.go", "// T is.\ntype T struct{}\nfunc (T) String() string { return \"\" }", ""},
	{"documented exports", "type", "a.go", "type T struct{}", "T is exported"},
	{"documented exports", "type in a group", "a.go", "// Types.\ntype (\nT struct{}\n)", "T is exported"},
	{"documented exports", "constant", "a.go", "const Limit = 3", "Limit is exported"},
	{"documented exports", "constant in a group", "a.go", "// Limits.\nconst (\nA = 1\nB = 2\n)", ""},
	{"documented exports", "variable with a line", "a.go", "var ErrGone = 1 // it went", ""},
	{"documented exports", "interface's method", "a.go", "// I is.\ntype I interface {\nOne()\nTwo() // two\n}", "I.One is exported"},
	{"documented exports", "interface of one method", "a.go", "// I is.\ntype I interface { One() }", ""},
	{"documented exports", "in a test", "a_test.go", "func TestX() {}", ""},

	{"names", "folder", "internal/utils/a.go", "package x", "folder name utils"},
	{"names", "file", "internal/hub/types.go", "package hub", "file name"},
	{"names", "test file", "internal/hub/helpers_test.go", "package hub", "file name"},
	{"names", "clause", "internal/x/a.go", "package common", "package name common"},
	{"names", "good", "internal/hub/queue.go", "package hub", ""},
}

var sizeProofs = []proof{
	{"file size", "small", "a.go", "", ""},
	{"file size", "warned", "a.go", strings.Repeat("\n", warnFileLines+1), "split it when"},
	{"file size", "too long", "a.go", strings.Repeat("\n", mostFileLines+1), "split it by idea"},
	{"file size", "generated", "a.go", "// Code generated by x. DO NOT EDIT.\n\npackage p" + strings.Repeat("\n", mostFileLines+1), ""},

	{"function size", "small", "a.go", "func f() {}", ""},
	{"function size", "at the bound", "a.go", "func f() {" + strings.Repeat("\n", warnFunctionLines-1) + "}", ""},
	{"function size", "warned", "a.go", "func f() {" + strings.Repeat("\n", warnFunctionLines) + "}", "split it when"},
	{"function size", "too long", "a.go", "func f() {" + strings.Repeat("\n", mostFunctionLines) + "}", "split it by idea"},

	{"struct size", "small", "a.go", "type t struct { a, b int }", ""},
	{"struct size", "warned", "a.go", "type t struct {" + strings.Repeat("_ int;", warnFields+1) + "}", "split it when"},
	{"struct size", "too big", "a.go", "type t struct {" + strings.Repeat("_ int;", mostFields+1) + "}", "split it by idea"},

	{"parameters", "few", "a.go", "func f(a, b int, c, d string) {}", ""},
	{"parameters", "a context besides", "a.go", "import \"context\"\nfunc f(ctx context.Context, a, b int, c, d string) {}", ""},
	{"parameters", "many", "a.go", "func f(a, b, c, d, e int) {}", "takes 5 parameters"},
}

var habitProofs = []proof{
	{"no init", "init", "a.go", "func init() {}", "behind everyone's back"},
	{"no init", "method of that name", "a.go", "type t struct{}\nfunc (t) init() {}", ""},

	{"no exit", "os.Exit", "internal/app/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", "os.Exit"},
	{"no exit", "by another name", "internal/app/a.go", "import sys \"os\"\nfunc f() { sys.Exit(1) }", "os.Exit"},
	{"no exit", "log.Fatalf", "internal/app/a.go", "import \"log\"\nfunc f() { log.Fatalf(\"\") }", "log.Fatalf"},
	{"no exit", "in the program", "cmd/porchlight/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", ""},
	{"no exit", "in TestMain", "internal/app/a_test.go", "import \"os\"\nfunc f() { os.Exit(1) }", ""},

	{"no sleep", "in a test", "a_test.go", "import \"time\"\nfunc f() { time.Sleep(1) }", "time.Sleep"},
	{"no sleep", "elsewhere", "a.go", "import \"time\"\nfunc f() { time.Sleep(1) }", "time.Sleep"},
	{"no sleep", "a timer", "a_test.go", "import \"time\"\nfunc f() { <-time.After(1) }", ""},

	{"no panic", "panic", "a.go", "func f() { panic(1) }", "panic"},
	{"no panic", "in a test", "a_test.go", "func f() { panic(1) }", ""},

	{"no print", "fmt", "internal/hub/a.go", "import \"fmt\"\nfunc f() { fmt.Println() }", "fmt.Println"},
	{"no print", "log", "internal/hub/a.go", "import \"log\"\nfunc f() { log.Printf(\"\") }", "log.Printf"},
	{"no print", "builtin", "internal/hub/a.go", "func f() { println() }", "println"},
	{"no print", "to a writer", "internal/hub/a.go", "import \"fmt\"\nfunc f() { fmt.Fprintln(nil) }", ""},
	{"no print", "the program", "cmd/porchlight/a.go", "import \"fmt\"\nfunc f() { fmt.Println() }", ""},

	{"no fresh context", "background", "internal/hub/a.go", "import \"context\"\nfunc f() { context.Background() }", "context.Background"},
	{"no fresh context", "todo", "client/a.go", "import \"context\"\nfunc f() { context.TODO() }", "context.TODO"},
	{"no fresh context", "in a test", "internal/hub/a_test.go", "import \"context\"\nfunc f() { context.Background() }", ""},
	{"no fresh context", "without cancel", "internal/hub/a.go", "import \"context\"\nfunc f(ctx context.Context) { context.WithoutCancel(ctx) }", ""},

	{"no embedded mutex", "embedded", "a.go", "import \"sync\"\ntype t struct { sync.Mutex }", "embeds a mutex"},
	{"no embedded mutex", "embedded pointer", "a.go", "import \"sync\"\ntype t struct { *sync.RWMutex }", "embeds a mutex"},
	{"no embedded mutex", "exported", "a.go", "import \"sync\"\ntype t struct { Mu sync.Mutex }", "for everyone"},
	{"no embedded mutex", "named", "a.go", "import \"sync\"\ntype t struct { mu sync.Mutex }", ""},

	{"nothing running at package level", "mutex", "a.go", "import \"sync\"\nvar mu sync.Mutex", "shared by all servers"},
	{"nothing running at package level", "atomic", "a.go", "import \"sync/atomic\"\nvar p atomic.Pointer[int]", "shared by all servers"},
	{"nothing running at package level", "channel", "a.go", "var c chan int", "shared by all servers"},
	{"nothing running at package level", "made channel", "a.go", "var c = make(chan int)", "shared by all servers"},
	{"nothing running at package level", "table", "a.go", "var names = map[int]string{}", ""},
	{"nothing running at package level", "inside a function", "a.go", "import \"sync\"\nfunc f() { var mu sync.Mutex; mu.Lock() }", ""},
}

// A finding that an allowance covers is let through, and only that.
func TestAllowancesAreNarrow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, rule, where string
		allowance         allowance
		want              bool
	}{
		{"same file", "no panic", "internal/hub/a.go:7", allowance{rule: "no panic", where: "internal/hub/a.go"}, true},
		{"another file", "no panic", "internal/hub/b.go:7", allowance{rule: "no panic", where: "internal/hub/a.go"}, false},
		{"another rule", "no print", "internal/hub/a.go:7", allowance{rule: "no panic", where: "internal/hub/a.go"}, false},
		{"folder", "no panic", "internal/hub/a.go:7", allowance{rule: "no panic", where: "internal/hub/"}, true},
		{"another folder", "no panic", "internal/hubs/a.go:7", allowance{rule: "no panic", where: "internal/hub/"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			used := make([]bool, 1)
			got := allowed([]allowance{tt.allowance}, finding{where: tt.where}, tt.rule, used)
			if got != tt.want || used[0] != tt.want {
				t.Errorf("allowed: got %v (used %v), want %v", got, used[0], tt.want)
			}
		})
	}
}

// A line of the table without its package is found, and so is one without a
// reason.
func TestStaleLinesAreFound(t *testing.T) {
	t.Parallel()
	lines := []line{{pkg: "here", reason: "r"}, {pkg: "gone", reason: "r"}, {pkg: "silent"}}
	got := checkStaleLines(lines, []*pkg{{path: "here"}, {path: "silent"}})
	if len(got) != 2 || got[0].where != "gone" || got[1].where != "silent" {
		t.Errorf("got %+v, want findings for gone and silent", got)
	}
}
