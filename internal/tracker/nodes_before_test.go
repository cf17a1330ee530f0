package tracker

import (
	"testing"
	"testing/synctest"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// TestNodesOfBefore plays again what TestNodesModel once found faults with. Whether an
// old fault would show depends on which nodes the sessions' random names fall to, so each
// is played some times.
func TestNodesOfBefore(t *testing.T) {
	t.Parallel()
	times := 10
	if testing.Short() {
		times = 2 // one takes a second under the race detector
	}
	for name, steps := range map[string][]step{
		"a logout that only one node heard": {
			{"make", 61, 0, 949000000, false}, {"lose link", 53, 33, 13000000, true}, {"race", 1, 3, 20000000, true},
			{"isolate", 20, 10, 1000000, false}, {"connect", 23, 47, 1573000000, true}, {"hide", 76, 2, 6907000000, true},
			{"heal", 16, 17, 1728000000, false}, {"close", 45, 80, 4000000, true}, {"lose messages", 64, 56, 16000000, false},
			{"connect", 99, 57, 1166000000, false}, {"remove", 7, 99, 3000000, false},
		},
		"a last seen that one node told of, of a session that went on": {
			{"release", 19, 0, 2000000, false}, {"read late", 67, 83, 4000000, true}, {"make", 61, 1, 2000000000, true},
			{"race", 24, 3, 24000000, true}, {"kill and race", 26, 50, 2000000, true}, {"wait", 19, 14, 5000000, false},
			{"race", 24, 0, 57000000, true}, {"wait", 0, 0, 16000000, false}, {"isolate", 46, 1, 5000000, false},
			{"make", 3, 65, 12000000, false}, {"isolate", 2, 70, 1031000000, true}, {"make", 0, 31, 20000000, false},
			{"lose an answer", 47, 1, 43000000, true}, {"make", 0, 0, 2000000, true}, {"hold", 47, 0, 2000000, false},
			{"connect", 55, 10, 94000000, false}, {"make", 0, 4, 7000000, true}, {"read late", 62, 88, 10000000, true},
			{"wait", 46, 31, 1000000, true}, {"read late", 12, 47, 31000000, true}, {"connect", 64, 0, 9000000, true},
			{"make", 0, 1, 1318000000, true}, {"start", 1, 38, 12000000, false},
		},
		"a session taken up again beside one that replaced it": {
			{"make", 14, 4, 757000000, true}, {"connect", 97, 31, 6000000, true}, {"isolate", 37, 25, 6000000, true},
			{"update", 4, 4, 12000000, true}, {"connect", 74, 56, 4000000, true}, {"read on", 9, 3, 11000000, true},
			{"connect", 91, 61, 6000000, true}, {"make", 96, 78, 1000000, false}, {"lose messages", 47, 6, 3000000, true},
			{"race", 68, 57, 14000000, false}, {"make", 0, 80, 2000000, false}, {"connect", 71, 0, 11000000, true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range times {
				synctest.Test(t, func(t *testing.T) {
					if trouble := playNodes(t, presence.Single, steps); trouble != "" {
						t.Error(trouble)
					}
				})
			}
		})
	}
}
