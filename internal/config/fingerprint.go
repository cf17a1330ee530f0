package config

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Fingerprint is a number of what must be the same at all nodes of a cluster: the
// apps with their keys and limits, but for the names of files, which may lie
// elsewhere. Two configurations that differ there have another one, but for a
// chance of one in 2^64. A key that is not set adds nothing, so that a later
// version, which knows more keys, gives the same configuration the same number.
func (c *Config) Fingerprint() uint64 {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		// With defaults: written or not, they are the same.
		app, _ := c.App(name)
		p := app.policy()
		app.Policy.HeartbeatTimeout, app.Policy.Grace, app.Policy.ResumeWindow, app.Policy.ConnectBefore = p.HeartbeatTimeout, p.Grace, p.ResumeWindow, p.ConnectBefore
		fmt.Fprintf(h, "%q", name)
		write(h, reflect.ValueOf(app))
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// write gives a value to a hash so that different values give different bytes.
// Secrets are strings to it: their own methods hide them.
func write(h hash.Hash, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		fmt.Fprintf(h, "%q", v.String())
	case reflect.Bool:
		fmt.Fprintf(h, "%t", v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		fmt.Fprintf(h, "%d", v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		fmt.Fprintf(h, "%d", v.Uint())
	case reflect.Float32, reflect.Float64:
		fmt.Fprintf(h, "%g", v.Float())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			h.Write([]byte("nil"))
			return
		}
		write(h, v.Elem())
	case reflect.Slice, reflect.Array:
		fmt.Fprintf(h, "[%d", v.Len())
		for i := range v.Len() {
			write(h, v.Index(i))
		}
	case reflect.Map:
		fmt.Fprintf(h, "{%d", v.Len())
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			write(h, k)
			write(h, v.MapIndex(k))
		}
	case reflect.Struct:
		h.Write([]byte("("))
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() && !strings.HasSuffix(f.Name, "File") && !v.Field(i).IsZero() {
				fmt.Fprintf(h, ".%s", f.Name)
				write(h, v.Field(i))
			}
		}
		h.Write([]byte(")"))
	default: // no key has such a value
		fmt.Fprintf(h, "?%s", v.Kind())
	}
}
