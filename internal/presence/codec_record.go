package presence

import (
	"fmt"
)

// maxRecords is the most records of one message (design §2, group commit).
const maxRecords = 256

// The second byte of a record. The policy stands above the flags.
const (
	recordInvisible = 1 << iota
	recordSeen      // LastSeen is not zero
	recordStatus    // a status follows
	recordPolicy    // bits from here on
)

// leastRecord is the least size of a record in bytes: kind, flags, reason, two
// ids, two numbers of the epoch, revision, time, and the lengths of the texts.
const leastRecord = 3 + 32 + 4 + 2 + 7

// AppendRecords appends rs, 1 to 256 records, as one message and returns the
// longer dst. Each must have a known kind, reason and policy, names within
// MaxAppID and MaxUserID, and a status that passes Check; ParseRecords refuses
// the whole message otherwise. Texts of a Device are cut after 1,024 bytes.
func AppendRecords(dst []byte, rs []Record) []byte {
	dst = AppendNumber(append(dst, codecVersion), uint64(len(rs)))
	for i := range rs {
		dst = appendRecord(dst, &rs[i])
	}
	return dst
}

// ParseRecords reads the one message that AppendRecords wrote. The records
// keep nothing of b. It refuses anything that AppendRecords would not write
// for records within their bounds, bytes after the end included.
func ParseRecords(b []byte) ([]Record, error) {
	r := reader{b: b}
	r.version()
	n := r.count(maxRecords, leastRecord)
	if r.err == nil && n == 0 {
		r.fail(errCount)
	}
	if r.err != nil {
		return nil, fmt.Errorf("presence: records: %w", r.err)
	}
	rs := make([]Record, n)
	for i := range rs {
		r.record(&rs[i])
		if r.err != nil {
			return nil, fmt.Errorf("presence: record %d of %d: %w", i, n, r.err)
		}
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("presence: records: %w", err)
	}
	return rs, nil
}

func appendRecord(dst []byte, rec *Record) []byte {
	flags := byte(rec.Policy) * recordPolicy
	if rec.Invisible {
		flags |= recordInvisible
	}
	if rec.LastSeen != 0 {
		flags |= recordSeen
	}
	if rec.Status != nil {
		flags |= recordStatus
	}
	dst = append(dst, byte(rec.Kind), flags, byte(rec.Reason))
	dst = append(append(dst, rec.Session[:]...), rec.Public[:]...)
	dst = AppendNumber(appendEpoch(dst, rec.Epoch), rec.Revision)
	dst = appendSigned(dst, int64(rec.Time))
	if rec.LastSeen != 0 {
		dst = appendSigned(dst, int64(rec.LastSeen))
	}
	dst = appendDevice(appendUser(dst, rec.User), &rec.Device)
	if rec.Status != nil {
		dst = appendStatus(dst, rec.Status)
	}
	return dst
}

func (r *reader) record(rec *Record) {
	rec.Kind = RecordKind(r.byte())
	flags := r.byte()
	rec.Reason = r.reason()
	rec.Policy = MultiDevice(flags / recordPolicy)
	if rec.Kind == RecordNone || rec.Kind >= recordKindCount || rec.Policy >= multiDeviceCount {
		r.fail(errKind)
	}
	rec.Invisible = flags&recordInvisible != 0
	r.id((*[16]byte)(&rec.Session))
	r.id((*[16]byte)(&rec.Public))
	rec.Epoch = r.epoch()
	rec.Revision = r.number()
	rec.Time = Time(r.signed())
	if flags&recordSeen != 0 {
		if rec.LastSeen = Time(r.signed()); rec.LastSeen == 0 {
			r.fail(errNumber)
		}
	}
	rec.User = r.user()
	r.device(&rec.Device)
	if flags&recordStatus != 0 {
		if rec.Status = r.status(); rec.Status == nil {
			r.fail(errEmpty)
		}
	}
}

func (r *reader) reason() Reason {
	reason := Reason(r.byte())
	if reason >= reasonCount {
		r.fail(errKind)
	}
	return reason
}

func appendUser(dst []byte, u User) []byte {
	return appendTexts(dst, string(u.App), string(u.ID))
}

// user and device are separate texts: a user is kept for long, a device only
// as long as its session.
func (r *reader) user() (u User) {
	r.texts(MaxUserID, (*string)(&u.App), (*string)(&u.ID))
	if len(u.App) > MaxAppID {
		r.fail(errTooLong)
	}
	return u
}

func appendDevice(dst []byte, d *Device) []byte {
	return appendTexts(dst, cut(d.Platform, maxDeviceText), cut(d.Product, maxDeviceText),
		cut(d.Locale, maxDeviceText), cut(d.ID, maxDeviceText), cut(d.Version, maxDeviceText),
		cut(d.Addr, maxDeviceText), cut(d.Door, maxDeviceText))
}

func (r *reader) device(d *Device) {
	r.texts(maxDeviceText, &d.Platform, &d.Product, &d.Locale, &d.ID, &d.Version, &d.Addr, &d.Door)
}
