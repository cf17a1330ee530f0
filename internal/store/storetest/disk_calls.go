package storetest

import (
	"fmt"
	"path/filepath"
	"strings"
)

// feed takes one half of a system call into the model. Failed calls change
// nothing.
func (d *disk) feed(c call) error {
	if !c.end {
		return d.begin(c)
	}
	if c.ret < 0 {
		return nil
	}
	switch c.name {
	case "openat":
		return d.openat(c)
	case "close":
		return nil // see begin
	case "write", "pwrite64", "lseek", "ftruncate":
		return d.content(c)
	case "fsync", "fdatasync":
		return d.synced(c)
	case "mkdirat", "unlinkat", "renameat", "renameat2":
		return d.name(c)
	case "mkdir", "unlink", "rmdir", "rename":
		// The same as their newer forms, without folder descriptors.
		at := []string{"AT_FDCWD", c.args[0]}
		if c.name == "rename" {
			at = append(at, "AT_FDCWD", c.args[1])
		}
		c.name, c.args = map[string]string{"mkdir": "mkdirat", "unlink": "unlinkat", "rmdir": "unlinkat", "rename": "renameat"}[c.name], at
		return d.name(c)
	}
	return d.strange(c)
}

// strange refuses calls the model does not know, if they are about our files.
func (d *disk) strange(c call) error {
	for i := range c.args {
		if fd, err := c.number(i); err == nil && d.open[fd] != nil && d.open[fd].node != nil {
			return fmt.Errorf("storetest: the model of a disk does not know %s: teach it", c.name)
		}
		if path, err := c.text(i); err == nil && d.inside(string(path)) {
			return fmt.Errorf("storetest: the model of a disk does not know %s: teach it", c.name)
		}
	}
	return nil
}

// begin notes what a sync that begins now will cover.
func (d *disk) begin(c call) error {
	if c.name == "close" {
		// Once it has begun, another thread may be given the same descriptor before
		// this one's end is noted.
		fd, err := c.number(0)
		delete(d.open, fd)
		return err
	}
	if c.name != "fsync" && c.name != "fdatasync" && c.name != "write" && c.name != "pwrite64" {
		return nil
	}
	fd, err := c.number(0)
	if err != nil {
		return err
	}
	if f := d.open[fd]; f != nil && f.node != nil {
		d.started[c.id], d.covered[c.id] = f.node.done, len(d.names)
	}
	return nil
}

// synced ends a successful sync.
func (d *disk) synced(c call) error {
	fd, err := c.number(0)
	if err != nil {
		return err
	}
	f := d.open[fd]
	if f == nil || f.node == nil {
		return nil
	}
	f.node.sync(d.started[c.id])
	d.kept = max(d.kept, d.covered[c.id])
	return nil
}

// openat follows a descriptor from its opening.
func (d *disk) openat(c call) error {
	path, err := d.path(c, 0)
	if err != nil {
		return err
	}
	f := &descriptor{path: path}
	d.open[c.ret] = f
	if !d.inside(path) {
		return nil
	}
	flags := strings.Split(c.args[2], "|")
	has := func(flag string) bool {
		for _, f := range flags {
			if f == flag {
				return true
			}
		}
		return false
	}
	f.sync, f.end = has("O_SYNC") || has("O_DSYNC"), has("O_APPEND")
	if f.node = d.files[path]; f.node == nil {
		if !has("O_CREAT") {
			return fmt.Errorf("storetest: %s was opened, and the model of the disk has no such file", path)
		}
		f.node = d.create(path, false)
	} else if has("O_TRUNC") {
		f.node.write(write{truncate: true})
	}
	return nil
}

// content takes a call that changes a file, or where it is written next.
func (d *disk) content(c call) error {
	fd, err := c.number(0)
	if err != nil {
		return err
	}
	f := d.open[fd]
	if f == nil || f.node == nil {
		return nil
	}
	switch c.name {
	case "lseek":
		f.at = c.ret
		return nil
	case "ftruncate":
		size, err := c.number(1)
		f.node.write(write{at: size, truncate: true})
		return err
	}
	bytes, err := c.text(1)
	if err != nil {
		return err
	}
	w := write{at: f.at, bytes: bytes[:c.ret]}
	if c.name == "pwrite64" {
		if w.at, err = c.number(3); err != nil {
			return err
		}
	} else {
		if f.end {
			w.at = f.node.size()
		}
		f.at = w.at + c.ret
	}
	f.node.write(w)
	if f.sync {
		f.node.sync(f.node.done)
		d.kept = max(d.kept, d.covered[c.id])
	}
	return nil
}

// size is the length of the file as the process sees it.
func (n *inode) size() int64 {
	size := int64(len(n.synced))
	for _, w := range n.later {
		if end := w.at + int64(len(w.bytes)); w.truncate || end > size {
			size = end
		}
	}
	return size
}

// name takes a call that changes names.
func (d *disk) name(c call) error {
	path, err := d.path(c, 0)
	if err != nil {
		return err
	}
	to := ""
	if strings.HasPrefix(c.name, "rename") {
		if to, err = d.path(c, 2); err != nil {
			return err
		}
	}
	switch {
	case !d.inside(path):
		if d.inside(to) {
			return fmt.Errorf("storetest: %s came from outside", to)
		}
	case c.name == "mkdirat":
		d.create(path, true)
	default:
		d.move(path, to)
	}
	return nil
}

// path is the path whose folder and name are arguments i and i+1.
func (d *disk) path(c call, i int) (string, error) {
	name, err := c.text(i + 1)
	if err != nil {
		return "", err
	}
	if path := string(name); filepath.IsAbs(path) || c.args[i] == "AT_FDCWD" {
		return filepath.Clean(path), nil // relative to nowhere of ours
	}
	fd, err := c.number(i)
	if err != nil {
		return "", err
	}
	if folder := d.open[fd]; folder != nil {
		return filepath.Join(folder.path, string(name)), nil
	}
	return "", fmt.Errorf("storetest: %s in an unknown folder", c.name)
}
