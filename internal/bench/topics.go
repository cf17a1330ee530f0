package bench

import (
	"encoding/json"
	"fmt"
)

// The load of topics: every device is subscribed to one topic, and in turn sets
// an attribute of its user that is published there. So each change is delivered
// to all devices, its own included.
const (
	// LoadTopic and LoadAttribute are what access tokens of this load say.
	LoadTopic     = "bench"
	LoadAttribute = "load"
)

// everybody is the graph in which each user hears all users.
func everybody(users int) [][]int32 {
	all := make([]int32, users)
	for i := range all {
		all[i] = int32(i)
	}
	graph := make([][]int32, users)
	for i := range graph {
		graph[i] = all
	}
	return graph
}

// newTopicChange is a change of the attribute as a message of the live door.
func newTopicChange() (*change, error) {
	type setting struct {
		Name  string         `json:"name"`
		Value map[string]any `json:"value"`
	}
	b, err := json.Marshal(struct {
		T   string    `json:"t"`
		ID  int       `json:"id"`
		Set []setting `json:"set"`
	}{"attributes", 1, []setting{{LoadAttribute, liveStatus(marker)}}})
	if err != nil {
		return nil, fmt.Errorf("bench: encode the change: %w", err)
	}
	return stamped(b)
}

// newTopicFrame is the topic message of a user's change, as a whole frame.
func newTopicFrame(name string, now int64) ([]byte, error) {
	type message struct {
		Topic string         `json:"topic"`
		U     string         `json:"u"`
		Name  string         `json:"name"`
		Value map[string]any `json:"value"`
		At    int64          `json:"at"`
	}
	b, err := json.Marshal(struct {
		T string    `json:"t"`
		M []message `json:"m"`
	}{"topic", []message{{LoadTopic, name, LoadAttribute, liveStatus(marker), now}}})
	return appendText(nil, b), err
}
