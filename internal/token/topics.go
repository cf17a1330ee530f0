package token

import "encoding/json"

// TopicsClaim is the claim of an access token that says to which topics a device
// may subscribe, and where its user's attributes are published:
//
//	"presence_topics": {"subscribe": ["agents"], "attributes": [{"attribute": "onlineStatus", "topic": "agents"}]}
//
// What may stand in the lists is package topic's affair.
const TopicsClaim = "presence_topics"

// Topics are what TopicsClaim says.
type Topics struct {
	Subscribe  []string      `json:"subscribe,omitempty"`
	Attributes []Publication `json:"attributes,omitempty"`
}

// Publication says that an attribute is published to a topic.
type Publication struct {
	Attribute string `json:"attribute"`
	Topic     string `json:"topic"`
}

// readTopics reads TopicsClaim of verified claims; nil when there is none.
func readTopics(claim any) (*Topics, error) {
	if claim == nil {
		return nil, nil
	}
	b, err := json.Marshal(claim)
	if err != nil {
		return nil, invalid(wrongTopics)
	}
	t := &Topics{}
	if json.Unmarshal(b, t) != nil {
		return nil, invalid(wrongTopics)
	}
	return t, nil
}

const wrongTopics = `the claim ` + TopicsClaim + ` of the access token must be {"subscribe": [TOPIC, …], "attributes": [{"attribute": NAME, "topic": TOPIC}, …]}`
