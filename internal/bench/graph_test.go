package bench

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGraphIsSymmetricAndRegular(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ users, friends int }{{2, 1}, {6, 3}, {50, 5}, {52, 51}, {51, 50}, {1000, 50}} {
		t.Run(fmt.Sprintf("%d users %d friends", c.users, c.friends), func(t *testing.T) {
			t.Parallel()
			g, err := newGraph(c.users, c.friends, 7)
			if err != nil {
				t.Fatal(err)
			}
			if len(g) != c.users {
				t.Fatalf("got %d users, want %d", len(g), c.users)
			}
			for u, list := range g {
				if len(list) != c.friends {
					t.Fatalf("user %d has %d friends, want %d", u, len(list), c.friends)
				}
				seen := make(map[int32]bool)
				for _, f := range list {
					switch {
					case int(f) == u:
						t.Fatalf("user %d is his own friend", u)
					case seen[f]:
						t.Fatalf("user %d has %d twice", u, f)
					case !slices.Contains(g[f], int32(u)):
						t.Fatalf("%d is a friend of %d, but not the other way round", f, u)
					}
					seen[f] = true
				}
			}
		})
	}
}

func TestGraphFollowsItsSeed(t *testing.T) {
	t.Parallel()
	graph := func(seed uint64) [][]int32 {
		g, err := newGraph(100, 10, seed)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	if diff := cmp.Diff(graph(1), graph(1)); diff != "" {
		t.Errorf("two graphs of one seed differ:\n%s", diff)
	}
	if cmp.Equal(graph(1), graph(2)) {
		t.Error("the graphs of two seeds are equal")
	}
}
