package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// disk is a model of what a file system keeps when the power goes, fed with
// the system calls of a process. It is the model of ext4 with data=ordered, and
// of XFS:
//
//   - what was written to a file is there after a successful fsync or
//     fdatasync of that file (or a write with O_SYNC); of later writes any
//     first part may be there, the last one of them torn, or nothing;
//   - names (create, rename, unlink, mkdir, rmdir) are kept in the order of the
//     calls; all that were done before a successful sync of any file or folder
//     began are there after it; of later ones any first part may be there.
//
// It does not model disks that lie about syncs, bits that rot, or file systems
// without a journal.
type disk struct {
	root    string
	files   map[string]*inode // by path, as the process sees them
	base    map[string]*inode // by path, before the first of names
	names   []change
	kept    int // how many of names are surely there
	open    map[int64]*descriptor
	started map[int]int64 // for syncs under way: by call, what they cover
	covered map[int]int   // the same for names
}

// inode is a file or folder.
type inode struct {
	folder  bool
	synced  []byte  // content that is surely there
	later   []write // done since
	done    int64   // writes so far
	applied int64   // those in synced
}

// write is one change of content.
type write struct {
	at       int64
	bytes    []byte
	truncate bool // to the length at
}

// change is one change of names.
type change struct {
	from, to string // from == "": create at to; to == "": remove
	node     *inode
}

// descriptor is an open file or folder.
type descriptor struct {
	path string
	node *inode // nil outside root
	at   int64
	sync bool // O_SYNC or O_DSYNC
	end  bool // O_APPEND
}

// newDisk returns the model of a disk that holds what is in root now, all of
// it kept.
func newDisk(root string) (*disk, error) {
	d := &disk{
		root: root, files: map[string]*inode{}, open: map[int64]*descriptor{},
		started: map[int]int64{}, covered: map[int]int{},
	}
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n := &inode{folder: e.IsDir()}
		if !n.folder {
			if n.synced, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		d.files[path] = n
		return nil
	})
	d.base = maps.Clone(d.files)
	return d, err
}

func (d *disk) inside(path string) bool {
	return path == d.root || strings.HasPrefix(path, d.root+"/")
}

// create makes a name for a new file or folder.
func (d *disk) create(path string, folder bool) *inode {
	n := &inode{folder: folder}
	d.names = append(d.names, change{to: path, node: n})
	d.files[path] = n
	return n
}

// move renames, and remove (with to == "") removes; a folder takes what is in
// it along.
func (d *disk) move(from, to string) {
	c := change{from: from, to: to}
	d.names = append(d.names, c)
	c.apply(d.files)
}

// apply changes the names in files.
func (c change) apply(files map[string]*inode) {
	switch {
	case c.from == "":
		files[c.to] = c.node
		return
	case c.to == "":
		delete(files, c.from)
		return
	}
	for path, n := range maps.Clone(files) {
		if path == c.from || strings.HasPrefix(path, c.from+"/") {
			delete(files, path)
			files[c.to+strings.TrimPrefix(path, c.from)] = n
		}
	}
}

// write notes a change of content.
func (n *inode) write(w write) {
	n.later = append(n.later, w)
	n.done++
}

// sync applies the first writes, up to the given count of all.
func (n *inode) sync(upTo int64) {
	for n.applied < upTo {
		n.synced = n.later[0].apply(n.synced)
		n.later = n.later[1:]
		n.applied++
	}
}

// apply returns content after the write; content may be changed.
func (w write) apply(content []byte) []byte {
	size := w.at + int64(len(w.bytes))
	if w.truncate {
		size = w.at
	}
	if grow := size - int64(len(content)); grow > 0 {
		content = append(content, make([]byte, grow)...)
	}
	if w.truncate {
		return content[:size]
	}
	copy(content[w.at:], w.bytes)
	return content
}

// state is one of the states that the power could leave, chosen by rnd: the
// content of each file by its path below root, nil for folders.
func (d *disk) state(rnd *rand.Rand) map[string][]byte {
	files := maps.Clone(d.base)
	for _, c := range d.names[:d.kept+rnd.IntN(len(d.names)-d.kept+1)] {
		c.apply(files)
	}
	state := map[string][]byte{}
	for _, path := range slices.Sorted(maps.Keys(files)) { // the same for the same rnd
		below := strings.TrimPrefix(strings.TrimPrefix(path, d.root), "/")
		if n := files[path]; n.folder {
			state[below] = nil
		} else {
			state[below] = n.cut(rnd)
		}
	}
	return state
}

// unpack writes a state into folder to.
func unpack(state map[string][]byte, to string) error {
	for _, below := range slices.Sorted(maps.Keys(state)) { // folders before what is in them
		var err error
		if content := state[below]; content == nil {
			err = os.MkdirAll(filepath.Join(to, below), 0o700)
		} else {
			err = os.WriteFile(filepath.Join(to, below), content, 0o600)
		}
		if err != nil {
			return fmt.Errorf("storetest: a state after the loss of power: %w", err)
		}
	}
	return nil
}

// cut is one of the contents that the power could leave, never nil.
func (n *inode) cut(rnd *rand.Rand) []byte {
	content := append([]byte{}, n.synced...)
	some := 0
	switch rnd.IntN(3) {
	case 0: // nothing of what was not synced
		return content
	case 1: // all of it
		some = len(n.later)
	case 2: // part of it
		some = rnd.IntN(len(n.later) + 1)
	}
	for _, w := range n.later[:some] {
		content = w.apply(content)
	}
	if some < len(n.later) { // the next one torn
		w := n.later[some]
		if !w.truncate {
			w.bytes = w.bytes[:rnd.IntN(len(w.bytes)+1)]
			content = w.apply(content)
		}
	}
	return content
}
