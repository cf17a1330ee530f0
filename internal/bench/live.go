package bench

import "encoding/json"

// What a device says first at the live door.
type liveHello struct {
	T      string          `json:"t"`
	Token  string          `json:"token"`
	Device liveDevice      `json:"device"`
	Watch  []string        `json:"watch,omitempty"`
	Topics bool            `json:"topics,omitempty"`
	Status json.RawMessage `json:"status"`
}

type liveDevice struct {
	Platform string `json:"platform"`
	Product  string `json:"product"`
	Locale   string `json:"locale"`
	ID       string `json:"id"`
	Version  string `json:"version"`
}

// liveProtocol is the sub-protocol of the live door.
const liveProtocol = "porchlight.v1"
