package presence

import (
	"slices"
	"strings"
	"time"
	"unique"
)

// KeepAbsent is how long the fold remembers that a user disconnected without
// logging out.
const KeepAbsent = 7 * 24 * time.Hour

// maxAbsent bounds the platforms of one user; the one left longest ago goes first.
const maxAbsent = 8

// Absence says that others saw a user disconnect on a platform without logging
// out, and that he did not come back on it: he may still be reached by push.
type Absence struct {
	Platform string // as the device gave it; the case does not count
	At       Time   // when
}

// KeepsLogin reports whether a device is still logged in after others saw it go
// for this reason (design §4, table of reasons: what is a Disconnect at
// Tencent's callback, and no Logout).
func (r Reason) KeepsLogin() bool {
	switch r {
	case ReasonLeft, ReasonLinkLost, ReasonTimedOut, ReasonExpired, ReasonNodeLost, ReasonHidden:
		return true
	}
	return false
}

// noteAbsence keeps what a fact about s means for where the user is absent: only what
// others see counts.
func (u *Folded) noteAbsence(kind RecordKind, reason Reason, s *FoldedSession, at Time) {
	switch {
	case kind == RecordShown,
		kind == RecordOpened && !s.Hidden,
		kind == RecordClosed && !s.Hidden && !reason.KeepsLogin():
		u.dropAbsences(func(a Absence) bool { return strings.EqualFold(a.Platform, s.Device.Platform) })
	case kind == RecordHidden, kind == RecordClosed && !s.Hidden:
		u.addAbsence(s.Device.Platform, at)
	}
}

// addAbsence makes a new list: pictures share the old one.
func (u *Folded) addAbsence(platform string, at Time) {
	list := make([]Absence, 0, len(u.Absent)+1)
	for _, a := range u.Absent {
		if strings.EqualFold(a.Platform, platform) {
			at = max(at, a.At)
			continue
		}
		list = append(list, a)
	}
	if len(list) == maxAbsent {
		list = slices.Delete(list, 0, 1)
	}
	// Most users have one of a few platforms: they share its name.
	u.Absent = append(list, Absence{unique.Make(cut(platform, maxDeviceText)).Value(), at})
}

// dropAbsences takes out what gone reports true for, in a new list.
func (u *Folded) dropAbsences(gone func(Absence) bool) {
	if !slices.ContainsFunc(u.Absent, gone) {
		return
	}
	list := slices.DeleteFunc(slices.Clone(u.Absent), gone)
	if u.Absent = list; len(list) == 0 {
		u.Absent = nil
	}
}

// appendAbsences and absences are the part of a folded user's form that has a list of
// them; there is one at least.
func appendAbsences(dst []byte, list []Absence) []byte {
	dst = AppendNumber(dst, uint64(len(list)))
	for _, a := range list {
		dst = appendSigned(AppendText(dst, cut(a.Platform, maxDeviceText)), int64(a.At))
	}
	return dst
}

func (r *reader) absences() []Absence {
	n := r.count(maxAbsent, 2)
	if n == 0 {
		r.fail(errCount)
		return nil
	}
	list := make([]Absence, 0, n)
	for range n {
		a := Absence{Platform: unique.Make(r.text(maxDeviceText)).Value(), At: Time(r.signed())}
		if slices.ContainsFunc(list, func(o Absence) bool { return o.Platform == a.Platform }) {
			r.fail(errOrder)
		}
		list = append(list, a)
	}
	return list
}
