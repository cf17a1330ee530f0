package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hexed writes s as strace does.
func hexed(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return `"` + b.String() + `"`
}

// states feeds a trace to the model, in which «…» stands for a string and ROOT
// for the folder, and returns all states that the loss of power could leave.
func states(t *testing.T, trace string) []string {
	t.Helper()
	root := t.TempDir()
	trace = strings.ReplaceAll(trace, "ROOT", root)
	for strings.Contains(trace, "«") {
		before, rest, _ := strings.Cut(trace, "«")
		text, after, _ := strings.Cut(rest, "»")
		trace = before + hexed(text) + after
	}
	d, err := newDisk(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := parseTrace(strings.NewReader(trace), d.feed); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for i := range 300 {
		all[listing(d.state(rand.New(rand.NewPCG(uint64(i), 1))))] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// listing is a state as text, such as "a=xy d/ d/b=z".
func listing(state map[string][]byte) string {
	var all []string
	for _, below := range slices.Sorted(maps.Keys(state)) {
		switch content := state[below]; {
		case below == "":
		case content == nil:
			all = append(all, below+"/")
		default:
			all = append(all, below+"="+string(content))
		}
	}
	return strings.Join(all, " ")
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	to := filepath.Join(t.TempDir(), "state")
	if err := unpack(map[string][]byte{"": nil, "a": {}, "d": nil, "d/b": []byte("x")}, to); err != nil {
		t.Fatal(err)
	}
	d, err := newDisk(to)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := listing(d.state(rand.New(rand.NewPCG(1, 1)))), "a= d/ d/b=x"; got != want {
		t.Errorf("unpacked and read again: got %q, want %q", got, want)
	}
}

// openA opens the file that most of the traces write to.
const openA = `1 openat(AT_FDCWD, «ROOT/a», O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3
`

// powerLosses are traces, and the states that the loss of power may leave.
var powerLosses = map[string]struct {
	trace string
	want  []string
}{
	"nothing synced": {
		openA + `1 write(3, «xy», 2) = 2
`, []string{"", "a=", "a=x", "a=xy"},
	},
	"synced": {
		openA + `1 write(3, «xy», 2) = 2
1 fsync(3) = 0
`, []string{"a=xy"},
	},
	"a failed sync keeps nothing": {
		openA + `1 write(3, «x», 1) = 1
1 fsync(3) = -1 EIO (Input/output error)
`, []string{"", "a=", "a=x"},
	},
	"written after the sync": {
		openA + `1 pwrite64(3, «xy», 2, 0) = 2
1 fdatasync(3) = 0
1 pwrite64(3, «z», 1, 3) = 1
`, []string{"a=xy", "a=xy\x00", "a=xy\x00z"},
	},
	"written while the sync ran": {
		openA + `1 write(3, «x», 1) = 1
1 fsync(3 <unfinished ...>
2 write(3, «y», 1) = 1
1 <... fsync resumed>) = 0
`, []string{"a=x", "a=xy"},
	},
	"a write that ended before the sync began": {
		openA + `2 write(3, «x», 1 <unfinished ...>
2 <... write resumed>) = 1
1 fsync(3 <unfinished ...>
1 <... fsync resumed>) = 0
`, []string{"a=x"},
	},
	"killed in the sync": {
		openA + `1 write(3, «x», 1) = 1
1 fsync(3)                                = ?
`, []string{"", "a=", "a=x"},
	},
	"written with O_SYNC": {
		`1 openat(AT_FDCWD, «ROOT/a», O_WRONLY|O_CREAT|O_SYNC, 0600) = 3
1 write(3, «x», 1) = 1
`, []string{"a=x"},
	},
	"truncated": {
		openA + `1 write(3, «xyz», 3) = 3
1 fsync(3) = 0
1 ftruncate(3, 1) = 0
`, []string{"a=x", "a=xyz"},
	},
	"names keep their order": {
		openA + `1 mkdirat(AT_FDCWD, «ROOT/d», 0700) = 0
1 renameat(AT_FDCWD, «ROOT/a», AT_FDCWD, «ROOT/d/b») = 0
1 unlinkat(AT_FDCWD, «ROOT/d/b», 0) = 0
`, []string{"", "a=", "a= d/", "d/", "d/ d/b="},
	},
	"a synced folder keeps the names before": {
		openA + `1 rename(«ROOT/a», «ROOT/b») = 0
1 openat(AT_FDCWD, «ROOT», O_RDONLY|O_CLOEXEC) = 4
1 fsync(4) = 0
1 unlink(«ROOT/b») = 0
`, []string{"", "b="},
	},
	"a folder's rename takes along what is in it": {
		`1 mkdir(«ROOT/d», 0700) = 0
1 openat(AT_FDCWD, «ROOT/d/a», O_RDWR|O_CREAT, 0600) = 3
1 write(3, «x», 1) = 1
1 renameat2(AT_FDCWD, «ROOT/d», AT_FDCWD, «ROOT/e», 0) = 0
1 fsync(3) = 0
`, []string{"e/ e/a=x"},
	},
	"relative to an open folder": {
		`1 mkdirat(AT_FDCWD, «ROOT/d», 0700) = 0
1 openat(AT_FDCWD, «ROOT/d», O_RDONLY) = 5
1 openat(5, «a», O_RDWR|O_CREAT, 0600) = 3
1 fsync(3) = 0
`, []string{"d/ d/a="},
	},
	"elsewhere": {
		`1 openat(AT_FDCWD, «/proc/a», O_RDWR) = 3
1 write(3, «x», 1) = 1
1 fsync(3) = 0
2 +++ killed by SIGKILL +++
`, []string{""},
	},
	"a descriptor given on before its close is noted": {
		`1 openat(AT_FDCWD, «/proc/a», O_RDWR) = 3
1 close(3 <unfinished ...>
2 openat(AT_FDCWD, «ROOT/a», O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3
1 <... close resumed>) = 0
2 write(3, «x», 1) = 1
2 fsync(3) = 0
`, []string{"a=x"},
	},
	"over a file": {
		openA + `1 write(3, «x», 1) = 1
1 fsync(3) = 0
1 close(3) = 0
1 openat(AT_FDCWD, «ROOT/a», O_WRONLY|O_TRUNC|O_APPEND) = 3
1 write(3, «y», 1) = 1
1 write(3, «z», 1) = 1
`, []string{"a=", "a=x", "a=y", "a=yz"},
	},
}

func TestDiskModel(t *testing.T) {
	t.Parallel()
	for name, c := range powerLosses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, states(t, c.trace)); diff != "" {
				t.Errorf("possible states (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDiskModelRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	open := "1 openat(AT_FDCWD, " + hexed(root+"/a") + ", O_RDWR|O_CREAT, 0600) = 3\n"
	for name, trace := range map[string]string{
		"a call on our file":       open + "1 fallocate(3, 0, 0, 100) = 0\n",
		"a call on our name":       "1 truncate(" + hexed(root+"/a") + ", 5) = 0\n",
		"an end without beginning": "1 <... fsync resumed>) = 0\n",
		"a file from nowhere":      "1 openat(AT_FDCWD, " + hexed(root+"/b") + ", O_RDWR) = 3\n",
		"a cut string":             open + `1 write(3, "\x61"..., 100) = 100` + "\n",
	} {
		d, err := newDisk(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := parseTrace(strings.NewReader(trace), d.feed); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
