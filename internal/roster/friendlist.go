package roster

import (
	"slices"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// friendList is one user's friends and former friends. It never changes.
type friendList struct {
	friends []presence.UserID // in the order they came
	former  []veiled          // in the order they went; kept where only friends see each other
	size    int               // about what it costs in memory; set when it is published
}

// entryCost is about what an id costs in memory beside its bytes, with its
// place in an index.
const entryCost = 48

// bytes is about what the list costs in memory.
func (l *friendList) bytes() int {
	n := 0
	for _, id := range l.friends {
		n += len(id) + entryCost
	}
	for _, v := range l.former {
		n += len(v.id) + 2*entryCost
	}
	return n
}

// encode is the list as it is stored; nil when there is nothing to store.
func (l *friendList) encode() []byte {
	if len(l.friends)+len(l.former) == 0 {
		return nil
	}
	return appendList(nil, l.friends, l.former)
}

func (l *friendList) index() map[presence.UserID]struct{} {
	m := make(map[presence.UserID]struct{}, len(l.friends))
	for _, id := range l.friends {
		m[id] = struct{}{}
	}
	return m
}

func (l *friendList) veils() map[presence.UserID]veil {
	if len(l.former) == 0 {
		return nil
	}
	m := make(map[presence.UserID]veil, len(l.former))
	for _, v := range l.former {
		m[v.id] = v.veil
	}
	return m
}

// difference says who is in after and not in before, and the other way round.
// Neither holds anybody twice.
func difference(before, after []presence.UserID) (added, removed []presence.UserID) {
	// Nearly always one came or went.
	for len(before) > 0 && len(after) > 0 && before[0] == after[0] {
		before, after = before[1:], after[1:]
	}
	for len(before) > 0 && len(after) > 0 && before[len(before)-1] == after[len(after)-1] {
		before, after = before[:len(before)-1], after[:len(after)-1]
	}
	return without(after, before), without(before, after)
}

// without returns who is in all and not in others.
func without(all, others []presence.UserID) (rest []presence.UserID) {
	if len(all) == 0 || len(others) == 0 {
		return slices.Clone(all)
	}
	in := make(map[presence.UserID]struct{}, len(others))
	for _, id := range others {
		in[id] = struct{}{}
	}
	for _, id := range all {
		if _, ok := in[id]; !ok {
			rest = append(rest, id)
		}
	}
	return rest
}

// distinct returns ids as a set in their order, without own.
func distinct(ids []presence.UserID, own presence.UserID) []presence.UserID {
	seen := make(map[presence.UserID]struct{}, len(ids))
	set := make([]presence.UserID, 0, len(ids))
	for _, id := range ids {
		if _, twice := seen[id]; !twice && id != own {
			seen[id] = struct{}{}
			set = append(set, id)
		}
	}
	return set
}
