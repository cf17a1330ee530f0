package mailbox

import (
	"math"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A plan says what calls do to queues as they are now, so that an entry has the
// outcome: which messages were put, and which one gave way to each. Who folds the
// stream after its beginning was cut does not know how many messages a queue had,
// nor which ids; he need not.
type plan struct {
	index *index
	at    presence.Time
	// through is up to which number a user's messages have left by earlier records
	// of the entry.
	through map[presence.User]uint64
	queues  map[shadowName]*shadow
	rank    int // of the next message put
	records []byte
}

type shadowName struct {
	user      presence.User
	publisher string
}

// shadow is a queue as it will be.
type shadow struct {
	left []shade
}

type shade struct {
	number  uint64 // of one of this entry its rank
	fresh   bool   // it is of this entry
	expires presence.Time
	hash    uint64
}

func newPlan(x *index, at presence.Time) *plan {
	return &plan{index: x, at: at, through: map[presence.User]uint64{}, queues: map[shadowName]*shadow{}}
}

// queue is a queue as it is after the records so far.
func (p *plan) queue(user presence.User, publisher string) *shadow {
	name := shadowName{user, publisher}
	s := p.queues[name]
	if s == nil {
		s = &shadow{}
		p.queues[name] = s
		if b := p.index.boxes[user]; b != nil && b.queues[publisher] != nil {
			for _, h := range b.queues[publisher].held {
				if h.number > p.through[user] {
					s.left = append(s.left, shade{number: h.number, expires: h.expires, hash: h.hash})
				}
			}
		}
	}
	alive := s.left[:0]
	for _, o := range s.left {
		if o.expires == 0 || o.expires > p.at {
			alive = append(alive, o)
		}
	}
	s.left = alive
	return s
}

// add plans one record and returns the size of its queue after a put.
func (p *plan) add(r *record) (size int) {
	switch r.kind {
	case recordPut:
		return p.put(r)
	case recordTaken:
		p.through[r.user] = r.number // these come first
	case recordPurge:
		p.queue(r.user, r.publisher).left = nil
	case recordErase:
		p.through[r.user] = math.MaxUint64
		for name, s := range p.queues {
			if name.user == r.user {
				s.left = nil
			}
		}
	}
	p.records = appendRecord(p.records, r)
	return 0
}

func (p *plan) put(r *record) (size int) {
	s := p.queue(r.user, r.publisher)
	for _, o := range s.left {
		if o.hash == r.hash {
			return len(s.left)
		}
	}
	r.at, r.dropped = p.at, dropped{}
	if len(s.left) >= Capacity {
		oldest := s.left[0]
		s.left = s.left[1:]
		r.dropped = dropped{some: true, here: oldest.fresh, number: oldest.number}
	}
	s.left = append(s.left, shade{number: uint64(p.rank), fresh: true, expires: r.expires(), hash: r.hash})
	p.rank++
	p.records = appendRecord(p.records, r)
	return len(s.left)
}

// dropped names the message that gave way to one that was put.
type dropped struct {
	some   bool
	here   bool   // number is its rank in the same entry
	number uint64 // else its number
}

// append writes it as one number: 0 is none.
func (d dropped) append(b []byte) []byte {
	switch {
	case !d.some:
		return presence.AppendNumber(b, 0)
	case d.here:
		return presence.AppendNumber(presence.AppendNumber(b, 1), d.number)
	}
	return presence.AppendNumber(presence.AppendNumber(b, 2), d.number)
}

func parseDropped(b []byte) (d dropped, rest []byte, err error) {
	how, b, err := presence.ParseNumber(b)
	if err != nil || how == 0 {
		return d, b, err
	}
	if how > 2 {
		return d, nil, errEntry
	}
	d.some, d.here = true, how == 1
	d.number, b, err = presence.ParseNumber(b)
	return d, b, err
}
