package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ is 100 on
// every Linux architecture that Go supports (proc(5)).
const clockTick = 10 * time.Millisecond

// process reads what the kernel counted for one process.
type process int

// cpu returns the CPU time, user and system, of all threads of the process,
// ended ones included, in steps of 10 ms.
func (p process) cpu() (time.Duration, error) {
	b, err := p.read("stat")
	if err != nil {
		return 0, err
	}
	return parseStat(b)
}

// rss returns the resident memory of the process in KiB.
func (p process) rss() (int64, error) {
	b, err := p.read("status")
	if err != nil {
		return 0, err
	}
	return parseStatus(b)
}

func (p process) read(name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(int(p)), name))
	if err != nil {
		return nil, fmt.Errorf("bench: cannot measure the server (did it end?): %w", err)
	}
	return b, nil
}

// parseStat adds utime and stime, fields 14 and 15 of /proc/PID/stat. The
// second field is the command in parentheses and may itself hold spaces and
// parentheses, so fields are counted after the last of them.
func parseStat(b []byte) (time.Duration, error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, errors.New("bench: /proc/PID/stat has no command in it")
	}
	fields := bytes.Fields(b[i+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("bench: /proc/PID/stat has %d fields after the command, want 13 or more", len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil || n < 0 || n > 1<<50 {
			return 0, fmt.Errorf("bench: /proc/PID/stat: %q is no count of ticks", f)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// machineCPU returns the CPU time that all processes of the machine used, with
// what the hypervisor took away, without interrupts.
func machineCPU() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("bench: measure the machine: %w", err)
	}
	return parseMachine(b)
}

// parseMachine adds user, nice, system and steal of the first line of
// /proc/stat: fields 1, 2, 3 and 8 after "cpu".
func parseMachine(b []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 9 || string(f[0]) != "cpu" {
		return 0, errors.New("bench: /proc/stat does not begin with the CPU times of the machine")
	}
	var ticks int64
	for _, i := range [...]int{1, 2, 3, 8} {
		n, err := strconv.ParseInt(string(f[i]), 10, 64)
		if err != nil || n < 0 || n > 1<<55 {
			return 0, fmt.Errorf("bench: /proc/stat: %q is no count of ticks", f[i])
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// parseStatus finds VmRSS, which is always in kB there.
func parseStatus(b []byte) (int64, error) {
	for line := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(line, []byte("VmRSS:"))
		if !ok {
			continue
		}
		f := bytes.Fields(rest)
		if len(f) != 2 || string(f[1]) != "kB" {
			return 0, fmt.Errorf("bench: /proc/PID/status: VmRSS is %q, want a number of kB", bytes.TrimSpace(rest))
		}
		n, err := strconv.ParseInt(string(f[0]), 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("bench: /proc/PID/status: VmRSS is %q, want a number of kB", f[0])
		}
		return n, nil
	}
	return 0, errors.New("bench: /proc/PID/status has no VmRSS")
}
