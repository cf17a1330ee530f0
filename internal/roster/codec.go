package roster

import (
	"errors"
	"fmt"
	"math"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// The two stored forms. Numbers and texts are package presence's.
//
//	list    version, count of friends, their ids; count of former friends, veils
//	blocks  version, count, veils
//	veil    id, since, seen
const (
	listVersion   = 1
	blocksVersion = 1
)

// errStored is what is wrong with a value that cannot be read.
var errStored = errors.New("the stored value is of a newer version, or damaged; restore the data directory from a backup, or start the version that wrote it")

// veil is what somebody may know of one whom he may not see.
type veil struct {
	since presence.Time // when he went out of sight
	seen  presence.Time // the last seen that may be known; 0: none
}

// veiled is a veil with its user: one who is out of sight, or in a list of
// blocks one from whose sight the blocker is.
type veiled struct {
	id presence.UserID
	veil
}

func appendList(dst []byte, friends []presence.UserID, former []veiled) []byte {
	dst = presence.AppendNumber(append(dst, listVersion), uint64(len(friends)))
	for _, id := range friends {
		dst = presence.AppendText(dst, string(id))
	}
	return appendVeils(dst, former)
}

func appendBlocks(dst []byte, entries []veiled) []byte {
	return appendVeils(append(dst, blocksVersion), entries)
}

func appendVeils(dst []byte, all []veiled) []byte {
	dst = presence.AppendNumber(dst, uint64(len(all)))
	for _, v := range all {
		dst = presence.AppendText(dst, string(v.id))
		dst = presence.AppendNumber(dst, uint64(max(0, v.since)))
		dst = presence.AppendNumber(dst, uint64(max(0, v.seen)))
	}
	return dst
}

// parseList reads what appendList wrote. The ids share one piece of memory.
func parseList(b []byte) (friends []presence.UserID, former []veiled, err error) {
	r := newReader(b, listVersion)
	n := r.count(2) // an id takes two bytes at least
	friends = make([]presence.UserID, 0, n)
	seen := make(map[presence.UserID]struct{}, n)
	for range n {
		friends = append(friends, r.fresh(seen))
	}
	former = r.veils()
	if err := r.end(); err != nil {
		return nil, nil, fmt.Errorf("friend list: %w", err)
	}
	return friends, former, nil
}

// parseBlocks reads what appendBlocks wrote.
func parseBlocks(b []byte) ([]veiled, error) {
	r := newReader(b, blocksVersion)
	entries := r.veils()
	if err := r.end(); err != nil {
		return nil, err
	}
	return entries, nil
}

// reader reads from the front of rest. The first thing wrong makes bad true and
// rest empty; what is read after it is zero.
type reader struct {
	all  string
	rest []byte
	bad  bool
}

func newReader(b []byte, version byte) *reader {
	if len(b) == 0 || b[0] != version {
		return &reader{bad: true}
	}
	return &reader{all: string(b), rest: b[1:]}
}

func (r *reader) fail() { r.bad, r.rest = true, nil }

func (r *reader) end() error {
	if r.bad || len(r.rest) > 0 {
		return errStored
	}
	return nil
}

func (r *reader) number() uint64 {
	if r.bad {
		return 0
	}
	n, rest, err := presence.ParseNumber(r.rest)
	if err != nil {
		r.fail()
		return 0
	}
	r.rest = rest
	return n
}

// count reads how many things of at least so many bytes follow.
func (r *reader) count(size int) int {
	n := r.number()
	if n > uint64(len(r.rest)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) time() presence.Time {
	n := r.number()
	if n > math.MaxInt64 {
		r.fail()
		return 0
	}
	return presence.Time(n)
}

// fresh reads an id that is valid and not among those seen.
func (r *reader) fresh(seen map[presence.UserID]struct{}) presence.UserID {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.fail()
		return ""
	}
	at := len(r.all) - len(r.rest)
	id := presence.UserID(r.all[at : at+int(n)])
	r.rest = r.rest[n:]
	if _, twice := seen[id]; twice || !presence.ValidUserID(string(id)) {
		r.fail()
		return ""
	}
	seen[id] = struct{}{}
	return id
}

func (r *reader) veils() []veiled {
	n := r.count(4)
	all := make([]veiled, 0, n)
	seen := make(map[presence.UserID]struct{}, n)
	for range n {
		id := r.fresh(seen)
		all = append(all, veiled{id, veil{r.time(), r.time()}})
	}
	return all
}
