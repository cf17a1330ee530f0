package bench

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// A change carries the time at which it was sent inside its rich text: a
// marker and sixteen hexadecimal digits of nanoseconds since the start of the
// run. A watcher finds it in the bytes of the notification without decoding
// them. A status set at login has the silent marker, so that snapshots are not
// taken for changes.
const (
	marker       = "#pl:"
	silentMarker = "#--:"
	stampDigits  = 16
)

// userName is the id of the i-th user of the load.
func userName(i int) string { return fmt.Sprintf("bench-%06d", i) }

// loadUpdate is the status of the standard load: about 160 bytes encoded.
func loadUpdate(mark string) *isonlinev1.IsOnlineUpdate {
	text := func(s string) *isonlinev1.Value {
		return &isonlinev1.Value{Kind: &isonlinev1.Value_Text{Text: s}}
	}
	return &isonlinev1.IsOnlineUpdate{
		Status: isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY,
		RichText: &isonlinev1.RichText{Kind: &isonlinev1.RichText_Literal{
			Literal: "In the old harbour, " + mark + "0000000000000000",
		}},
		Properties: map[string]*isonlinev1.Value{
			"map":   text("the-old-harbour-by-night"),
			"mode":  text("ranked-pairs"),
			"group": text("5d1f0c9a-7be2-4e66-b4d1"),
			"score": {Kind: &isonlinev1.Value_Integer{Integer: 120_417}},
		},
	}
}

// liveStatus is the same status in the words of the live door.
func liveStatus(mark string) map[string]any {
	return map[string]any{
		"show": "busy",
		"text": loadUpdate(mark).GetRichText().GetLiteral(),
		"properties": map[string]any{
			"map": "the-old-harbour-by-night", "mode": "ranked-pairs", "group": "5d1f0c9a-7be2-4e66-b4d1", "score": 120_417,
		},
	}
}

// change is an encoded update with the place of its time stamp.
type change struct {
	update []byte // gRPC: field 2 of UpdateIsOnlineSessionRequest, tag and length included; live: the message
	stamp  []byte // the digits in it
}

func newChange() (*change, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(loadUpdate(marker))
	if err != nil {
		return nil, fmt.Errorf("bench: encode the change: %w", err)
	}
	return stamped(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), b))
}

// newLiveChange is the change as a message of the live door.
func newLiveChange() (*change, error) {
	b, err := json.Marshal(struct {
		T      string         `json:"t"`
		ID     int            `json:"id"`
		Status map[string]any `json:"status"`
	}{"set", 1, liveStatus(marker)})
	if err != nil {
		return nil, fmt.Errorf("bench: encode the change: %w", err)
	}
	return stamped(b)
}

// stamped finds the place of the time stamp.
func stamped(b []byte) (*change, error) {
	slot := stampOf(b)
	if slot == nil {
		return nil, fmt.Errorf("bench: the change has no time stamp")
	}
	return &change{update: b, stamp: slot}, nil
}

// at sets the time stamp and returns the encoded update, valid until the next
// call.
func (c *change) at(now int64) []byte {
	putStamp(c.stamp, now)
	return c.update
}

// putStamp writes now as digits into slot, which has stampDigits bytes.
func putStamp(slot []byte, now int64) {
	var raw [stampDigits / 2]byte
	for i := range raw {
		raw[i] = byte(now >> (8 * (len(raw) - 1 - i)))
	}
	hex.Encode(slot, raw[:])
}

// stampOf returns the digits after the marker in msg, or nil.
func stampOf(msg []byte) []byte {
	i := bytes.Index(msg, []byte(marker))
	if i < 0 || len(msg) < i+len(marker)+stampDigits {
		return nil
	}
	i += len(marker)
	return msg[i : i+stampDigits : i+stampDigits]
}

// sentAt reads the time stamp of a notification; ok is false when it has none.
func sentAt(msg []byte) (now int64, ok bool) {
	digits := stampOf(msg)
	if digits == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(digits), 16, 64)
	return n, err == nil
}

// The kinds of events of the stream, by their field number in
// ConnectToIsOnlineSessionResponse.
const (
	eventConnected    = 2
	eventNotification = 3
	eventSnapshotDone = 6
	eventClosing      = 7
)

// eventOf finds the kind of an event and its body, without decoding it.
func eventOf(msg []byte) (kind protowire.Number, body []byte, err error) {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return 0, nil, fmt.Errorf("the server sent an event that is no protobuf: %w", protowire.ParseError(n))
		}
		msg = msg[n:]
		if typ == protowire.BytesType && num >= eventConnected {
			body, n := protowire.ConsumeBytes(msg)
			if n < 0 {
				return 0, nil, fmt.Errorf("the server sent an event that is no protobuf: %w", protowire.ParseError(n))
			}
			return num, body, nil
		}
		if n = protowire.ConsumeFieldValue(num, typ, msg); n < 0 {
			return 0, nil, fmt.Errorf("the server sent an event that is no protobuf: %w", protowire.ParseError(n))
		}
		msg = msg[n:]
	}
	return 0, nil, nil
}
