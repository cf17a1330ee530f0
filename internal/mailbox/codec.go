package mailbox

import (
	"encoding/binary"
	"errors"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// An entry is a version, a name by which its writer knows it again, the time of its
// writer, and records to the end. All numbers and texts are as in package presence.
const entryVersion = 1

// recordKind is what a record says. The kinds are stored: never renumber them.
type recordKind byte

const (
	recordPut   recordKind = 1 // a message: where it goes, what gave way to it, its life, its text
	recordTaken recordKind = 2 // the user's messages through a number were handed over
	recordPurge recordKind = 3 // a publisher's queue for the user is emptied
	recordErase recordKind = 4 // all queues of the user are
	recordMove  recordKind = 5 // a message stands here from now on, under its number
)

// record is one of an entry, parsed.
type record struct {
	kind      recordKind
	user      presence.User
	publisher string
	number    uint64 // of recordTaken and recordMove
	at        presence.Time
	life      uint64 // milliseconds; 0 is for ever
	body      []byte // as appendBody made it; shares the entry's memory
	offset    int    // of body in the entry
	hash      uint64 // of the id in body
	dropped   dropped
}

// cost is about how many bytes the record of a message takes.
func (r *record) cost() uint32 {
	return uint32(recordMargin + len(r.user.App) + len(r.user.ID) + len(r.publisher) + len(r.body))
}

func (r *record) expires() presence.Time {
	if r.life == 0 {
		return 0
	}
	return r.at + presence.Time(r.life)
}

var errEntry = errors.New("mailbox: a stored entry is of a newer version, or damaged")

func appendEntry(dst []byte, name uint64, at presence.Time) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, entryVersion), name)
	return presence.AppendNumber(dst, uint64(at))
}

func appendRecord(dst []byte, r *record) []byte {
	dst = append(dst, byte(r.kind))
	dst = presence.AppendText(presence.AppendText(dst, string(r.user.App)), string(r.user.ID))
	switch r.kind {
	case recordTaken:
		return presence.AppendNumber(dst, r.number)
	case recordPurge:
		return presence.AppendText(dst, r.publisher)
	case recordMove:
		dst = presence.AppendNumber(presence.AppendNumber(dst, r.number), uint64(r.at))
	case recordErase:
		return dst
	case recordPut:
		dst = r.dropped.append(dst)
	}
	dst = presence.AppendNumber(presence.AppendText(dst, r.publisher), r.life)
	return append(presence.AppendNumber(dst, uint64(len(r.body))), r.body...)
}

// appendBody makes the part of a message that nobody needs before it is handed over.
func appendBody(dst []byte, m *Message) []byte {
	for _, s := range []string{m.ID, m.Alias, m.Source, m.Text, m.Action} {
		dst = presence.AppendText(dst, s)
	}
	return dst
}

func parseBody(b []byte) (m Message, err error) {
	for _, s := range []*string{&m.ID, &m.Alias, &m.Source, &m.Text, &m.Action} {
		if *s, b, err = presence.ParseText(b); err != nil {
			return Message{}, errEntry
		}
	}
	if len(b) > 0 {
		return Message{}, errEntry
	}
	return m, nil
}

// parseEntry calls f with each record of an entry, in order.
func parseEntry(entry []byte, head func(name uint64, at presence.Time), f func(r *record)) error {
	if len(entry) < 9 || entry[0] != entryVersion {
		return errEntry
	}
	at, b, err := presence.ParseNumber(entry[9:])
	if err != nil {
		return errEntry
	}
	head(binary.BigEndian.Uint64(entry[1:]), presence.Time(at))
	for len(b) > 0 {
		r := record{kind: recordKind(b[0]), at: presence.Time(at)}
		if b, err = r.parse(b[1:], len(entry)); err != nil {
			return errEntry
		}
		f(&r)
	}
	return nil
}

// parse reads a record from behind its kind; size is the entry's.
func (r *record) parse(b []byte, size int) (rest []byte, err error) {
	app, b, err := presence.ParseText(b)
	if err != nil {
		return nil, err
	}
	id, b, err := presence.ParseText(b)
	if err != nil {
		return nil, err
	}
	r.user = presence.User{App: presence.AppID(app), ID: presence.UserID(id)}
	switch r.kind {
	case recordTaken:
		r.number, b, err = presence.ParseNumber(b)
		return b, err
	case recordPurge:
		r.publisher, b, err = presence.ParseText(b)
		return b, err
	case recordErase:
		return b, nil
	case recordMove:
		var at uint64
		if r.number, b, err = presence.ParseNumber(b); err == nil {
			at, b, err = presence.ParseNumber(b)
		}
		r.at = presence.Time(at)
	case recordPut:
		r.dropped, b, err = parseDropped(b)
	default:
		return nil, errEntry
	}
	if err != nil {
		return nil, err
	}
	return r.parseMessage(b, size)
}

func (r *record) parseMessage(b []byte, size int) (rest []byte, err error) {
	if r.publisher, b, err = presence.ParseText(b); err != nil {
		return nil, err
	}
	if r.life, b, err = presence.ParseNumber(b); err != nil {
		return nil, err
	}
	length, b, err := presence.ParseNumber(b)
	if err != nil || length > uint64(len(b)) {
		return nil, errEntry
	}
	r.body, r.offset = b[:length], size-len(b)
	id, _, err := presence.ParseText(r.body)
	r.hash = hashID(id)
	return b[length:], err
}
