package cluster

import "slices"

// hashOf is FNV-1a, with its bits mixed so that similar keys share nothing.
func hashOf[T string | []byte](key T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finisher of SplitMix64: every bit of x changes half of the result's.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Owner returns the member that does for all what belongs to key: the same one on
// all nodes that know the same members (suspects are members still, who is lost is
// none). It never is 0, but it says nothing of whether that node, this one too, is
// able to: ask Joined before claiming.
func (c *Cluster) Owner(key []byte) Incarnation {
	h := hashOf(key)
	var best seat
	var most uint64
	for _, s := range *c.seats.Load() {
		if score := mix(h ^ s.hash); score > most || score == most && s.incarnation > best.incarnation {
			best, most = s, score
		}
	}
	return best.incarnation
}

// Heir returns the member that follows n-th (1 is the first) when the owner of key
// does not do it, or 0 when there are not so many.
func (c *Cluster) Heir(key []byte, n int) Incarnation {
	h := hashOf(key)
	seats := slices.Clone(*c.seats.Load())
	if n < 0 || n >= len(seats) {
		return 0
	}
	slices.SortFunc(seats, func(a, b seat) int {
		switch x, y := mix(h^a.hash), mix(h^b.hash); {
		case x > y || x == y && a.incarnation > b.incarnation:
			return -1
		case x == y && a.incarnation == b.incarnation:
			return 0
		}
		return 1
	})
	return seats[n].incarnation
}
