package natsstore_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// noise is what no compression makes small.
func noise(n, seed int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // only incompressible
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestLoadBesideWriters: a shard, and a node's notes, that another node replaces
// while they are read are not left out. More is stored than the engine sends ahead.
func TestLoadBesideWriters(t *testing.T) {
	t.Parallel()
	s, stop := openOn(t, natsbus.Config{Dir: t.TempDir()}, natsstore.Config{MaxBytes: 256 << 20})
	defer stop()
	const shards, size = 64, 500 << 10
	for n := range shards {
		if err := s.SaveShard(t.Context(), n, 10, noise(size, n)); err != nil {
			t.Fatal(err)
		}
	}
	through := map[int]uint64{}
	if _, err := s.Load(t.Context(), func(n int, at uint64, data []byte) error {
		if len(through) == 0 {
			for n := shards - 4; n < shards; n++ {
				if err := s.SaveShard(t.Context(), n, 20, noise(size, n)); err != nil {
					return err
				}
			}
		}
		through[n] = at
		return nil
	}, func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for n := range shards {
		if want := map[bool]uint64{false: 10, true: 20}[n >= shards-4]; through[n] != want {
			t.Errorf("shard %d: got through %d, want %d", n, through[n], want)
		}
	}

	for n := range shards {
		if err := s.SaveNotes(t.Context(), uint64(n+1), 3, true, noise(size, n)); err != nil {
			t.Fatal(err)
		}
	}
	read := map[uint64]bool{}
	if err := s.LoadNotes(t.Context(), 0, -1, func(incarnation uint64, b []byte) error {
		if len(read) == 0 {
			if err := s.SaveNotes(t.Context(), shards, 3, true, noise(size, 0)); err != nil {
				return err
			}
		}
		read[incarnation] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(read) != shards {
		t.Errorf("notes of %d nodes were read, want %d", len(read), shards)
	}
}

// TestLoadWhereWritersNeverRest ends, and gives all that was there when it began: each
// message that it reads brings another one.
func TestLoadWhereWritersNeverRest(t *testing.T) {
	t.Parallel()
	s, stop := openOn(t, natsbus.Config{Dir: t.TempDir()}, natsstore.Config{MaxBytes: 256 << 20})
	defer stop()
	const nodes, most = 5, 100
	save := func(incarnation uint64, b byte) error {
		return s.SaveNotes(t.Context(), incarnation, 3, true, []byte{b})
	}
	for n := range uint64(nodes) {
		if err := save(n+1, 0); err != nil {
			t.Fatal(err)
		}
	}
	newest, read := map[uint64]byte{}, 0
	err := s.LoadNotes(t.Context(), 0, -1, func(incarnation uint64, b []byte) error {
		if read++; read > most {
			return errors.New("it reads on and on")
		}
		if old, ok := newest[incarnation]; ok && b[0] <= old {
			t.Errorf("node %d: note %d after %d", incarnation, b[0], old)
		}
		newest[incarnation] = b[0]
		return save(incarnation%nodes+1, byte(read))
	})
	if err != nil || read <= nodes {
		t.Errorf("%d notes were read, then %v", read, err)
	}
	if len(newest) != nodes {
		t.Errorf("notes of %d nodes were read, want %d", len(newest), nodes)
	}
}
