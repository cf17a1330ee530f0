package topic

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// FuzzRecord: what is read of any bytes is written as it was read.
func FuzzRecord(f *testing.F) {
	r := record{
		attributes: []Attribute{{"a", json.RawMessage(`1`), 5}}, call: Attribute{Call, Ringing.value(), 7}, calls: []call{{"c1", Ringing, 7}},
		maps: []deviceMap{{9, []Mapping{{"a", "T"}}, []presence.PublicID{{1}}}, {since: 10}},
	}
	f.Add(r.encode())
	f.Add([]byte{recordVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseRecord(b)
		if err != nil {
			return
		}
		again, err := parseRecord(got.encode())
		if err != nil {
			t.Fatalf("what was written of %+v cannot be read: %v", got, err)
		}
		if diff := cmp.Diff(got, again, cmp.AllowUnexported(record{}, call{}, deviceMap{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("read, written and read again (-first +second):\n%s", diff)
		}
	})
}

// FuzzMessage: what another node sends is read as it was written, or refused.
func FuzzMessage(f *testing.F) {
	f.Add(AppendMessage(nil, &Message{App: "demo", Topic: "T", User: "alice", Attribute: "a", Value: json.RawMessage(`{"x":1}`), At: 5, CallEnded: true, Revision: 9}))
	f.Add([]byte{messageVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		again, err := ParseMessage(AppendMessage(nil, m))
		if err != nil || !bytes.Equal(AppendMessage(nil, m), AppendMessage(nil, again)) {
			t.Fatalf("%q: %+v is not what it was: %v", b, m, err)
		}
	})
}
