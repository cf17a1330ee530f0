package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// graphTries bounds how often newGraph repairs the rest of a pairing. Each try
// leaves an order of magnitude fewer pairs over; four are enough as a rule.
const graphTries = 200

// newGraph returns who is a friend of whom: a uniform random symmetric graph of
// users with exactly friends edges each, no loops, no doubles. users*friends
// must be even and friends below users. The same seed gives the same graph.
//
// Each user has as many open ends as friends; ends are joined at random, and
// the few joints that would be loops or doubles are opened again together with
// some good ones and joined anew (the pairing model with repair).
func newGraph(users, friends int, seed uint64) ([][]int32, error) {
	if friends > users/2 { // few are strangers: choose those
		strangers, err := newGraph(users, users-1-friends, seed)
		return complement(strangers), err
	}
	r := rand.New(rand.NewPCG(seed, 0x67726170)) // a stream of its own
	g := make([][]int32, users)
	for i := range g {
		g[i] = make([]int32, 0, friends)
	}
	open := make([]int32, 0, users*friends)
	for u := range users {
		for range friends {
			open = append(open, int32(u))
		}
	}
	for range graphTries {
		open = join(g, open, r)
		if len(open) == 0 {
			return g, nil
		}
		open = reopen(g, open, r)
	}
	return nil, fmt.Errorf("bench: no graph of %d users with %d friends found; use more users or fewer friends", users, friends)
}

// complement returns the graph of all edges that g lacks.
func complement(g [][]int32) [][]int32 {
	all := make([][]int32, len(g))
	for a := range g {
		for b := range g {
			if a != b && !slices.Contains(g[a], int32(b)) {
				all[a] = append(all[a], int32(b))
			}
		}
	}
	return all
}

// join pairs the open ends at random and returns those it could not join.
func join(g [][]int32, open []int32, r *rand.Rand) []int32 {
	r.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	left := open[:0]
	for i := 0; i+1 < len(open); i += 2 {
		a, b := open[i], open[i+1]
		if a == b || slices.Contains(g[a], b) {
			left = append(left, a, b)
			continue
		}
		g[a] = append(g[a], b)
		g[b] = append(g[b], a)
	}
	return left
}

// reopen cuts one random edge for each pair of open ends and adds its ends to
// them, so that the next join has something to choose from.
func reopen(g [][]int32, open []int32, r *rand.Rand) []int32 {
	for range len(open) / 2 {
		a := int32(r.IntN(len(g)))
		if len(g[a]) == 0 {
			continue
		}
		b := g[a][r.IntN(len(g[a]))]
		g[a] = cut(g[a], b)
		g[b] = cut(g[b], a)
		open = append(open, a, b)
	}
	return open
}

func cut(list []int32, x int32) []int32 {
	i := slices.Index(list, x)
	list[i] = list[len(list)-1]
	return list[:len(list)-1]
}
