package store

import (
	"encoding/binary"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Nameless is the name that a base has for a user who was erased after it was
// made: no app, and the mark in place of the id. His number and which of his
// sessions were open stay under it, stripped of all else, because what follows
// in the log until his erasure can only be counted with them.
func Nameless(mark uint64) presence.User {
	return presence.User{ID: presence.UserID(binary.BigEndian.AppendUint64(nil, mark))}
}

// NamelessMark returns the UserMark of who stands under such a name.
func NamelessMark(user presence.User) (mark uint64, ok bool) {
	if user.App != "" || len(user.ID) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64([]byte(user.ID)), true
}

// Gone is a user who was erased, with his name: to be taken out of bases.
type Gone struct {
	Name presence.User
	Erasure
}

// StripShard returns a shard's state, good through a log sequence, as a base may
// have it: the folds of its users alone, and those of gone, as far as they are
// of before the erasure, under Nameless. changed tells whether anybody was taken
// out. A state that ParseShard cannot read is an error.
func StripShard(state []byte, through uint64, gone []Gone) (stripped []byte, changed bool, err error) {
	count, body := 0, []byte(nil)
	rest, err := ParseShard(state, func(user presence.User, folded *presence.Folded) error {
		for i := range gone {
			if g := &gone[i]; g.Name == user && g.voids(folded, through) {
				folded.Strip(g.Time, user)
				user, changed = Nameless(g.User), true
			}
		}
		count++
		body = presence.AppendFolded(body, user, folded)
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	if !changed && len(rest) == 0 {
		return state, false, nil
	}
	return append(AppendShard(nil, count), body...), changed, nil
}

// voids reports whether what is folded of the user, through a log sequence, is
// from before the erasure, or nothing but the memory of it.
func (g *Gone) voids(folded *presence.Folded, through uint64) bool {
	if folded.Erased < g.Time {
		return through < g.Sequence
	}
	return folded.Seq == 0 && len(folded.Sessions) == 0 && folded.LastSeen == 0 && folded.LastSeenShown == 0
}
