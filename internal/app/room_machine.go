package app

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// memoryOf is how much memory a process may have of a machine with these files, in
// bytes: what the machine has, or less where its control group, or one above that, is
// limited (Linux: proc(5), and memory.max of the kernel's cgroup-v2.rst). 0: unknown.
func memoryOf(machine fs.FS) uint64 {
	all := machineMemory(machine)
	if all == 0 {
		return 0
	}
	group, first := groupOf(machine)
	for {
		all = min(all, groupLimit(machine, "sys/fs/cgroup"+group+"/memory.max"))
		if group == "" {
			break
		}
		if group = path.Dir(group); group == "/" {
			group = ""
		}
	}
	// Version 1 has a tree for each resource; a container sees its own on top.
	return min(all, groupLimit(machine, "sys/fs/cgroup/memory/memory.limit_in_bytes"),
		groupLimit(machine, "sys/fs/cgroup/memory"+first+"/memory.limit_in_bytes"))
}

// machineMemory reads "MemTotal:  16384 kB".
func machineMemory(machine fs.FS) uint64 {
	b, err := fs.ReadFile(machine, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			n, _ := strconv.ParseUint(f[1], 10, 53)
			return n << 10
		}
	}
	return 0
}

// groupOf is the control group of this process, in version 2 and in the tree for memory
// of version 1; "": the uppermost.
func groupOf(machine fs.FS) (second, first string) {
	b, err := fs.ReadFile(machine, "proc/self/cgroup")
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(b)) {
		// hierarchy:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		group := strings.TrimSuffix(path.Clean("/"+f[2]), "/")
		switch {
		case f[1] == "":
			second = group
		case strings.Contains(","+f[1]+",", ",memory,"):
			first = group
		}
	}
	return second, first
}

// groupLimit is the limit in a file; none, "max", is more than anything.
func groupLimit(machine fs.FS, name string) uint64 {
	b, err := fs.ReadFile(machine, name)
	if err != nil {
		return math.MaxUint64
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}
