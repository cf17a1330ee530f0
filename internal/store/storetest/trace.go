package storetest

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// traced are the system calls that change what is on a disk, or say which file
// a number stands for. Those from writev on are here so that the harness fails
// when the engine begins to use them, instead of looking away.
const traced = "openat,close,write,pwrite64,lseek,ftruncate,fsync,fdatasync," +
	"mkdirat,mkdir,renameat,rename,renameat2,unlinkat,unlink,rmdir," +
	"open,creat,writev,pwritev,pwritev2,truncate,fallocate,sync_file_range," +
	"link,linkat,symlink,symlinkat,copy_file_range,sendfile,splice,dup,dup2,dup3"

// traceArgs are strace's: all threads, strings whole and in hex, no signals.
func traceArgs(out string) []string {
	return []string{"strace", "-f", "--seccomp-bpf", "-qqq", "-e", "signal=none", "-xx", "-s", "100000000", "-o", out, "-e", "trace=" + traced}
}

// call is one half of a system call: its beginning or its end.
type call struct {
	name string
	args []string
	ret  int64 // at the end
	end  bool
	id   int // the same for both halves
}

var (
	callLine    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumedLine = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	result      = regexp.MustCompile(`^(.*)\) += (-?\d+|\?)`)
)

const unfinished = " <unfinished ...>"

// parseTrace reads strace's output and calls f with each half of each call, in
// order. A last line that the kill cut is left out, and so is the end of a call
// that never ended.
func parseTrace(r io.Reader, f func(call) error) error {
	begun := map[string]call{} // by thread
	next := 0
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\n")
		if m := resumedLine.FindStringSubmatch(line); m != nil {
			c, ok := begun[m[1]]
			if !ok || c.name != m[2] {
				return fmt.Errorf("trace: %s ends on thread %s without a beginning", m[2], m[1])
			}
			delete(begun, m[1])
			if err := finish(c, strings.Join(c.args, ", ")+m[3], f); err != nil {
				return err
			}
			continue
		}
		m := callLine.FindStringSubmatch(line)
		if m == nil {
			continue // a thread that ends
		}
		next++
		c := call{name: m[2], id: next}
		if args, cut := strings.CutSuffix(m[3], unfinished); cut {
			c.args = splitArgs(args)
			begun[m[1]] = c
			if err := f(c); err != nil {
				return err
			}
			continue
		}
		if r := result.FindStringSubmatch(m[3]); r != nil {
			c.args = splitArgs(r[1])
		}
		if err := f(c); err != nil {
			return err
		}
		if err := finish(c, m[3], f); err != nil {
			return err
		}
	}
}

// finish calls f with the end of c, whose arguments and result are text.
func finish(c call, text string, f func(call) error) error {
	r := result.FindStringSubmatch(text)
	if r == nil {
		return fmt.Errorf("trace: cannot read the end of %s: %.200s", c.name, text)
	}
	if r[2] == "?" {
		return nil // the process was killed in it
	}
	c.args, c.end = splitArgs(r[1]), true
	ret, err := strconv.ParseInt(r[2], 10, 64)
	if err != nil {
		return err
	}
	c.ret = ret
	return f(c)
}

// splitArgs parts arguments; strings are in hex, so no comma stands in one.
func splitArgs(s string) []string {
	args := strings.Split(s, ",")
	for i := range args {
		args[i] = strings.TrimSpace(args[i])
	}
	return args
}

// text decodes a string argument.
func (c call) text(i int) ([]byte, error) {
	if i >= len(c.args) {
		return nil, fmt.Errorf("trace: %s lacks argument %d", c.name, i)
	}
	s := strings.TrimSuffix(strings.TrimPrefix(c.args[i], `"`), `"`)
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil || len(s) != 4*len(b) {
		return nil, fmt.Errorf("trace: argument %d of %s is no whole string: %.50s", i, c.name, c.args[i])
	}
	return b, nil
}

// number decodes a number argument.
func (c call) number(i int) (int64, error) {
	if i >= len(c.args) {
		return 0, fmt.Errorf("trace: %s lacks argument %d", c.name, i)
	}
	n, err := strconv.ParseInt(c.args[i], 0, 64)
	if err != nil {
		return 0, fmt.Errorf("trace: argument %d of %s: %w", i, c.name, err)
	}
	return n, nil
}
