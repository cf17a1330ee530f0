package store

import (
	"errors"
	"fmt"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Shards is the number of shards of the checkpoint.
const Shards = 1024

// Shard places a user in the checkpoint: the same at every start.
func Shard(user presence.User) int {
	h := uint32(2166136261) // FNV-1a: stable over starts, versions and machines
	for i := range len(user.App) {
		h = (h ^ uint32(user.App[i])) * 16777619
	}
	h *= 16777619
	for i := range len(user.ID) {
		h = (h ^ uint32(user.ID[i])) * 16777619
	}
	return int(h % Shards)
}

// A shard's state begins with the folds of its users; what else its writer
// keeps in it follows. Versions that are read: later ones changed what follows.
const (
	leastShardVersion = 1
	ShardVersion      = 2 // as it is written
)

// Errors of a shard's state.
var (
	errShardVersion = errors.New("store: checkpoint shard of an unknown version; it was written by a newer Porchlight")
	errShardCount   = errors.New("store: checkpoint shard is cut short")
)

// AppendShard begins the state of a shard with so many users; that many
// presence.AppendFolded must follow.
func AppendShard(dst []byte, users int) []byte {
	return presence.AppendNumber(append(dst, ShardVersion), uint64(users))
}

// ParseShard calls f with the fold of each user of a shard's state and returns
// what follows them. What f is given keeps nothing of b.
func ParseShard(b []byte, f func(user presence.User, folded *presence.Folded) error) (rest []byte, err error) {
	if len(b) == 0 || b[0] < leastShardVersion || b[0] > ShardVersion {
		return nil, errShardVersion
	}
	count, b, err := presence.ParseNumber(b[1:])
	if err != nil {
		return nil, err
	}
	if count > uint64(len(b)) {
		return nil, errShardCount
	}
	for i := range count {
		var user presence.User
		var folded *presence.Folded
		if user, folded, b, err = presence.ParseFolded(b); err != nil {
			return nil, fmt.Errorf("store: user %d of %d of a checkpoint shard: %w", i, count, err)
		}
		if err := f(user, folded); err != nil {
			return nil, err
		}
	}
	return b, nil
}
