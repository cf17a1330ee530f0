package natsstore

import (
	"bytes"
	"testing"
)

func FuzzLive(f *testing.F) {
	f.Add([]byte{liveVersion, 7})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseLive(b); err == nil && len(b) > 11 {
			t.Errorf("parseLive(%x): got %d, want an error for so many bytes", b, n)
		}
	})
}

// FuzzExport reads files that are no exports.
func FuzzExport(f *testing.F) {
	f.Add([]byte(exportMagic))
	f.Add([]byte(exportMagic + "\x00\x00\x00\x00"))
	f.Add([]byte(exportMagic + "\x00\x00\x00\x11{\"name\":\"PL_LOG\"}\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		headers, err := checkExport(bytes.NewReader(b))
		if err == nil && len(headers) > len(b) {
			t.Errorf("checkExport: got %d streams of %d bytes", len(headers), len(b))
		}
	})
}
