package topic

import (
	"encoding/json"
	"errors"
	"math"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// The stored form. Numbers and texts are package presence's.
//
//	record   version, attributes, call, calls, maps; each list after its count
//	attr     name, at, value
//	call     state + 1, at; 0 when there never was one
//	running  id, state, at
//	map      since, mappings (attribute, topic), sessions (16 bytes each)
const recordVersion = 1

// errStored is what is wrong with a value that cannot be read.
var errStored = errors.New("the stored attributes are of a newer version, or damaged; restore the data directory from a backup, or start the version that wrote it")

// encode returns nil for a record that holds nothing: then none is stored.
func (r *record) encode() []byte {
	if len(r.attributes)+len(r.calls)+len(r.maps) == 0 && r.call.Value == nil {
		return nil
	}
	b := presence.AppendNumber([]byte{recordVersion}, uint64(len(r.attributes)))
	for _, a := range r.attributes {
		b = presence.AppendText(b, a.Name)
		b = appendTime(b, a.At)
		b = presence.AppendText(b, string(a.Value))
	}
	if r.call.Value == nil {
		b = presence.AppendNumber(b, 0)
	} else {
		b = presence.AppendNumber(b, uint64(stateOf(r.call.Value))+1)
		b = appendTime(b, r.call.At)
	}
	b = presence.AppendNumber(b, uint64(len(r.calls)))
	for _, c := range r.calls {
		b = presence.AppendText(b, c.id)
		b = presence.AppendNumber(b, uint64(c.state))
		b = appendTime(b, c.at)
	}
	b = presence.AppendNumber(b, uint64(len(r.maps)))
	for _, m := range r.maps {
		b = appendTime(b, m.since)
		b = presence.AppendNumber(b, uint64(len(m.mappings)))
		for _, one := range m.mappings {
			b = presence.AppendText(presence.AppendText(b, one.Attribute), one.Topic)
		}
		b = presence.AppendNumber(b, uint64(len(m.sessions)))
		for _, id := range m.sessions {
			b = append(b, id[:]...)
		}
	}
	return b
}

func appendTime(b []byte, t presence.Time) []byte { return presence.AppendNumber(b, uint64(max(0, t))) }

// parseRecord reads what encode wrote; nothing is an empty record.
func parseRecord(b []byte) (*record, error) {
	r := &record{}
	if len(b) == 0 {
		return r, nil
	}
	if b[0] != recordVersion {
		return nil, errStored
	}
	in := &reader{rest: b[1:]}
	for range in.count(3, MaxAttributes) {
		r.attributes = append(r.attributes, Attribute{Name: in.text(), At: in.time(), Value: json.RawMessage(in.text())})
	}
	if n := in.number(); n > uint64(Ended)+1 {
		in.fail()
	} else if n > 0 {
		r.call = Attribute{Name: Call, Value: CallState(n - 1).value(), At: in.time()}
	}
	for range in.count(3, maxCalls) {
		c := call{id: in.text(), state: CallState(min(in.number(), math.MaxUint8)), at: in.time()}
		if c.state >= Ended {
			in.fail()
		}
		r.calls = append(r.calls, c)
	}
	for range in.count(3, maxMaps) {
		m := deviceMap{since: in.time()}
		for range in.count(2, MaxMappings) {
			m.mappings = append(m.mappings, Mapping{in.text(), in.text()})
		}
		for range in.count(len(presence.PublicID{}), maxMapSessions) {
			m.sessions = append(m.sessions, presence.PublicID(in.bytes(len(presence.PublicID{}))))
		}
		r.maps = append(r.maps, m)
	}
	if in.bad || len(in.rest) > 0 {
		return nil, errStored
	}
	return r, nil
}

// reader reads from the front of rest. The first thing wrong makes bad true and
// rest empty; what is read after it is zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) fail() { r.bad, r.rest = true, nil }

func (r *reader) number() uint64 {
	n, rest, err := presence.ParseNumber(r.rest)
	if err != nil {
		r.fail()
		return 0
	}
	r.rest = rest
	return n
}

// count reads how many things of at least so many bytes follow; there may be
// so many at most.
func (r *reader) count(size, most int) int {
	n := r.number()
	if n > uint64(min(len(r.rest)/size, most)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) time() presence.Time {
	n := r.number()
	if n > math.MaxInt64 {
		r.fail()
		return 0
	}
	return presence.Time(n)
}

func (r *reader) text() string {
	s, rest, err := presence.ParseText(r.rest)
	if err != nil {
		r.fail()
		return ""
	}
	r.rest = rest
	return s
}

// bytes returns n bytes, zeros when there are none.
func (r *reader) bytes(n int) []byte {
	if len(r.rest) < n {
		r.fail()
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}
